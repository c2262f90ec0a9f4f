"""Blobs and small documents as one deterministic tar: the outer form of OCI archives and Docker archives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO

from lamella.canonical import digest_bytes
from lamella.errors import IntegrityError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.images.stored import StoredLayer
from lamella.layers.budgets import DEFAULT_BUDGETS
from lamella.layers.content import CHUNK
from lamella.layers.decompress import HashingReader, open_decompressed
from lamella.layers.tar import ByteSink, write_layer
from lamella.oci import media
from lamella.oci.digest import short_digest
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["ArchiveFile", "blob_file", "layer_file", "open_layer", "small_file", "write_archive"]

Opener = Callable[[], AbstractContextManager[BinaryIO]]

_STORED = replace(DEFAULT_BUDGETS, ratio=1 << 40)
"""What is in the store was measured when it came in, and a model full of zeros may well shrink to nothing."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file of an archive: ``open`` gives its bytes, which must be as ``size`` and ``digest`` promise."""

    path: str
    size: int
    digest: str
    open: Opener


def small_file(path: str, data: bytes) -> ArchiveFile:
    """A file from bytes at hand."""
    import io

    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        yield io.BytesIO(data)

    return ArchiveFile(path, len(data), digest_bytes(data), opened)


def blob_file(store: Store, path: str, digest: str, size: int) -> ArchiveFile:
    """A blob of the store as it is."""
    return ArchiveFile(path, size, digest, lambda: store.blobs.open(digest))


def layer_file(store: Store, path: str, layer: StoredLayer) -> ArchiveFile:
    """A layer's uncompressed bytes.

    A header comes before its content and says how long that is, and no manifest knows the uncompressed size. So the
    layer is read once to measure it, which also proves its diff_id before anything is written, and once to copy it.
    """
    if media.compression_of(layer.descriptor.media_type) == "none":
        return blob_file(store, path, layer.descriptor.digest, layer.descriptor.size)
    plain = next((v.descriptor for v in store.variants.of(layer.diff_id) if v.compressor == "none"), None)
    if plain is not None:
        return blob_file(store, path, plain.digest, plain.size)
    return ArchiveFile(path, _measure(store, layer), layer.diff_id, lambda: open_layer(store, layer))


@contextmanager
def open_layer(store: Store, layer: StoredLayer) -> Iterator[BinaryIO]:
    """The uncompressed bytes of a layer."""
    with store.blobs.open(layer.descriptor.digest) as blob:
        yield open_decompressed(blob, layer.descriptor.media_type, _STORED)


def _measure(store: Store, layer: StoredLayer) -> int:
    with open_layer(store, layer) as stream:
        reader = HashingReader(stream)
        while reader.read(CHUNK):
            pass
    if reader.digest != layer.diff_id:
        raise IntegrityError(
            f"blob {short_digest(layer.descriptor.digest)} holds {short_digest(reader.digest)}, "
            f"its image promises layer {short_digest(layer.diff_id)}",
            hint="run: lamella cache repair, then build again",
        )
    return reader.size


def write_archive(files: Iterable[ArchiveFile], out: ByteSink, *, mtime: int = 0) -> None:
    """Writes the files, sorted by path, with the directories above them. Raises IntegrityError for wrong bytes."""
    by_path = {file.path: file for file in files}
    above = {str(parent) for path in by_path for parent in PurePosixPath(path).parents} - {"."}
    entries = [Entry(path, EntryType.DIRECTORY, 0o755) for path in above]
    entries += [Entry(f.path, EntryType.FILE, 0o644, size=f.size, digest=f.digest) for f in by_path.values()]

    def content(entry: Entry) -> Iterator[bytes]:
        with by_path[entry.path].open() as stream:
            while data := stream.read(CHUNK):
                yield data

    write_layer(FileSet.of(entries), content, out, mtime=mtime)
