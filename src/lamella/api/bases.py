"""Pulls base images into the store: from a registry, an OCI layout or an archive."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from lamella.engines.local.steps import BaseImage
from lamella.engines.local.values import LayerBlob
from lamella.engines.work import Work
from lamella.errors import HostileInputError, IntegrityError, RegistryError
from lamella.graph.events import VertexProgress
from lamella.graph.op import ImageOp
from lamella.graph.protocols import Clock
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.oci.platform import parse_platform
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.registry.documents import ImageSource, Resolved
from lamella.registry.layout import open_local
from lamella.store.store import Store

__all__ = ["BasePuller"]

_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class BasePuller:
    """``BaseSource`` over the registry client. ``root`` is what paths of layouts are relative to."""

    store: Store
    root: Path
    client: RegistryClient
    clock: Clock

    def pull(self, op: ImageOp, platform: str, work: Work) -> BaseImage:
        """All blobs of the manifest that the lock names, verified, with their variants noted."""
        source, local = self._source(op)
        if work.request.options.offline and not local:
            raise RegistryError(
                f"base {op.location} must be pulled, and --offline forbids it", hint="run once without --offline"
            )
        found = source.resolve(parse_platform(platform))
        if found.descriptor.digest != op.digest:
            raise IntegrityError(
                f"base {op.location} is {found.descriptor.digest} now, lamella.lock has {op.digest}",
                hint="run: lamella lock --upgrade all",
            )
        layers = tuple(self._blob(descriptor, diff_id) for descriptor, diff_id in found.layers)
        self._fetch(source, found, work)
        for blob in layers:
            described = Descriptor(blob.media_type, blob.digest, blob.size)
            self.store.variants.put(blob.diff_id, media.compression_of(blob.media_type), 0, described)
        return BaseImage(layers, found.config.runtime)

    def _source(self, op: ImageOp) -> tuple[ImageSource, bool]:
        local = open_local(op.location, self.root)
        if local is not None:
            return local, True
        reference = replace(parse_reference(op.location), tag="", digest=op.digest)
        return self.client.image(reference), False

    def _blob(self, descriptor: Descriptor, diff_id: str) -> LayerBlob:
        if not media.is_layer(descriptor.media_type):
            raise HostileInputError(f"a base's layer has media type {descriptor.media_type!r}, which cannot be read")
        return LayerBlob(descriptor.digest, descriptor.size, descriptor.media_type, diff_id)

    def _fetch(self, source: ImageSource, found: Resolved, work: Work) -> None:
        """What the store lacks, a few at a time, with one line of progress."""
        missing = {d.digest: d for d, _ in found.layers if not self.store.blobs.has(d.digest, d.size)}
        total, done = sum(d.size for d in missing.values()), 0

        def sink(digest: str, size: int, chunks: Iterator[bytes]) -> None:
            nonlocal done
            with self.store.blobs.writer(needed=size) as out:
                for piece in chunks:
                    out.write(piece)
                    done += len(piece)
                    name = work.vertex.info.name
                    work.emit(VertexProgress(work.key, name, self.clock.monotonic(), done, total, "pulling"))
                out.commit(digest, size)

        with ThreadPoolExecutor(_PARALLEL) as pool:
            for job in [pool.submit(source.fetch, descriptor, sink) for descriptor in missing.values()]:
                job.result()
