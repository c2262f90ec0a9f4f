"""A step's product as one deterministic archive."""

from __future__ import annotations

from pathlib import Path

from lamella.errors import IntegrityError
from lamella.layers.compress import CompressingWriter
from lamella.layers.content import directory_content
from lamella.layers.decompress import open_decompressed
from lamella.layers.policy import MERGED_POLICY, UnpackMode
from lamella.layers.snapshot import scan_tree
from lamella.layers.tar import write_layer
from lamella.layers.unpack import unpack_layer
from lamella.oci import media
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor
from lamella.store.snapshots import Snapshot
from lamella.store.store import Store

__all__ = ["pack_product", "unpack_product"]


def pack_product(snapshot: Snapshot, media_type: str, target: Path) -> Descriptor:
    """Writes the files of a product to ``target``: the same bytes for the same files."""
    with (
        open(target, "wb", buffering=1 << 20) as out,
        directory_content(snapshot.path) as content,
        CompressingWriter(out, "zstd") as compressing,
    ):
        write_layer(snapshot.fileset(), content, compressing)
    made = compressing.result.descriptor
    return Descriptor(media_type, made.digest, made.size)


def unpack_product(store: Store, archive: Path, tree: str) -> None:
    """Makes the snapshot of the file set ``tree`` from an archive; raises IntegrityError when it holds other files."""
    with store.snapshots.stage() as staged:
        with open(archive, "rb") as file:
            stream = open_decompressed(file, media.LAYER_ZSTD)
            unpack_layer(stream, staged.path, mode=UnpackMode.MERGED, policy=MERGED_POLICY)
        fileset = scan_tree(staged.path)
        if fileset.digest != tree:
            raise IntegrityError(f"what came as product {short_digest(tree)} has other files")
        store.blobs.put_bytes(fileset.to_bytes())
        staged.commit(tree, fileset)
