"""Layers of snapshots: written once, straight into the form that is wanted, wherever their files may be read."""

from __future__ import annotations

from pathlib import Path

from lamella.commit import StagedFile
from lamella.engines.local.jobs import ExportJob, ExportReply
from lamella.graph.fileset import parse_fileset
from lamella.graph.record import LayerResult
from lamella.host.probes import made_in_this_boot
from lamella.layers.compress import CompressingWriter, default_level
from lamella.layers.content import directory_content
from lamella.layers.snapshot import hard_links
from lamella.layers.tar import write_layer
from lamella.oci.manifest import Descriptor
from lamella.store.snapshots import Snapshot, StagedSnapshot
from lamella.store.store import Store

__all__ = ["export", "export_job", "keep_export"]


def export_job(snapshot: Snapshot, staged: StagedSnapshot, compressor: str) -> ExportJob:
    """The job that writes a snapshot's layer into a staged folder."""
    return ExportJob(str(snapshot.path), str(snapshot.folder / "manifest"), str(staged.folder), compressor)


def export(job: ExportJob) -> ExportReply:
    """Writes one element of a chain as the blob of a layer, in one pass over its files."""
    fileset = parse_fileset(Path(job.fileset).read_bytes())
    with StagedFile(Path(job.folder), needed=fileset.size, what="writing a layer") as out:
        with (
            directory_content(job.tree, hashed_at=made_in_this_boot(job.fileset)) as content,
            CompressingWriter(out, job.compressor) as writing,
        ):
            layer = write_layer(fileset, content, writing, links=hard_links(job.tree, fileset))
        path = Path(job.folder) / "layer"
        out.commit(path)
    blob = writing.result.descriptor
    return ExportReply(str(path), blob.media_type, blob.digest, blob.size, layer.diff_id, layer.size, layer.entries)


def keep_export(store: Store, made: ExportReply, compressor: str) -> LayerResult:
    """Takes the written layer into the store, blob and variant."""
    store.blobs.adopt(Path(made.path), made.digest, made.blob_size)
    blob = Descriptor(made.media_type, made.digest, made.blob_size)
    store.variants.put(made.diff_id, compressor, default_level(compressor), blob)
    return LayerResult(made.diff_id, made.size, made.entries)
