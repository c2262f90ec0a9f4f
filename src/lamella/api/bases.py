"""Pulls base images into the store: from a registry, an OCI layout or an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from lamella.values import dataclass, replace

__all__ = ["BasePuller", "fetch_layers", "layer_blobs"]

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
        layers = layer_blobs(found)
        done = 0

        def progress(more: int, total: int) -> None:
            nonlocal done
            done += more
            name = work.vertex.info.name
            work.emit(VertexProgress(work.key, name, self.clock.monotonic(), done, total, "pulling"))

        fetch_layers(self.store, source, found, progress)
        return BaseImage(layers, found.config.runtime)

    def _source(self, op: ImageOp) -> tuple[ImageSource, bool]:
        local = open_local(op.location, self.root)
        if local is not None:
            return local, True
        reference = replace(parse_reference(op.location), tag="", digest=op.digest)
        return self.client.image(reference), False


def layer_blobs(found: Resolved) -> tuple[LayerBlob, ...]:
    """The layers of an image, lowest first; raises HostileInputError for one that is no archive."""
    for descriptor, _ in found.layers:
        if not media.is_layer(descriptor.media_type):
            raise HostileInputError(f"a base's layer has media type {descriptor.media_type!r}, which cannot be read")
    return tuple(LayerBlob(d.digest, d.size, d.media_type, diff_id) for d, diff_id in found.layers)


def fetch_layers(store: Store, source: ImageSource, found: Resolved, progress: Callable[[int, int], None]) -> None:
    """Brings the layers that the store lacks, a few at a time, and notes each as a variant of its diff_id.

    ``progress`` is told of every piece: its bytes, and the bytes of all that is missing.
    """
    missing = {d.digest: d for d, _ in found.layers if not store.blobs.has(d.digest, d.size)}
    total = sum(descriptor.size for descriptor in missing.values())

    def sink(digest: str, size: int, chunks: Iterator[bytes]) -> None:
        with store.blobs.writer(needed=size) as out:
            for piece in chunks:
                out.write(piece)
                progress(len(piece), total)
            out.commit(digest, size)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        for job in [pool.submit(source.fetch, descriptor, sink) for descriptor in missing.values()]:
            job.result()
    for descriptor, diff_id in found.layers:
        described = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
        store.variants.put(diff_id, media.compression_of(descriptor.media_type), 0, described)
