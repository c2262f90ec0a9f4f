"""Where the bytes of a file set's regular files come from, for whoever writes them out.

A :data:`Content` is a function from an entry to its bytes in chunks. It need not check anything: the writers
compare size and digest with the entry, the digest not where the content knows it and says so with :class:`KnownChunks`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

from lamella.errors import IntegrityError, InternalError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Rooted

__all__ = ["CHUNK", "Content", "KnownChunks", "bytes_content", "directory_content", "open_content"]

Content = Callable[[Entry], Iterable[bytes]]
"""The bytes of a regular file's entry, in order."""

CHUNK = 1 << 20
"""Bytes read at once from a large file."""


class KnownChunks:
    """The chunks of a file that was hashed before and has not changed since."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


@contextmanager
def directory_content(
    root: str | os.PathLike[str] | int, product: FileSet | None = None, *, hashed_at: int = 0
) -> Iterator[Content]:
    """Files below a directory (path or handle), without following any link.

    With ``product``, the file set of that directory, a file is found by its digest, so that entries may have
    been moved or renamed since (``lamella.layers.place``). A file whose status last changed (st_ctime, which nobody
    can set) before ``hashed_at``, in nanoseconds, is what was hashed then (``lamella.host.probes.made_in_this_boot``).
    """
    paths = None if product is None else {e.digest: e.path for e in product if e.type is EntryType.FILE}
    with Rooted(root, links=False) as rooted:
        source = _Directory(rooted, paths, hashed_at)
        try:
            yield source.chunks
        finally:
            source.close()


class _Directory:
    """Reads files of a root, keeping the handle of the last directory: entries come sorted."""

    def __init__(self, root: Rooted, paths: Mapping[str, str] | None, hashed_at: int) -> None:
        self._root = root
        self._paths = paths
        self._hashed_at = hashed_at
        self._parent_path: str | None = None
        self._parent = -1

    def close(self) -> None:
        if self._parent >= 0:
            os.close(self._parent)
            self._parent = -1

    def chunks(self, entry: Entry) -> Iterable[bytes]:
        path = entry.path if self._paths is None else self._paths.get(entry.digest, "")
        if not path:
            raise InternalError(f"the product holds no file with the digest of {entry.path!r}")
        directory, _, name = path.rpartition("/")
        try:
            if directory != self._parent_path:
                self._enter(directory)
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=self._parent)
        except OSError as error:
            raise IntegrityError(f"file {path!r} cannot be read: {error.strerror}") from error
        known = os.fstat(handle).st_ctime_ns < self._hashed_at if self._hashed_at else False
        chunks = _large(handle) if entry.size >= CHUNK else _small(handle, entry.size)
        return KnownChunks(chunks) if known else chunks

    def _enter(self, directory: str) -> None:
        self.close()
        self._parent_path = None
        self._parent = self._root.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._parent_path = directory


def _small(handle: int, size: int) -> tuple[bytes]:
    try:
        # One byte more than promised shows growth; a short read shows in the size.
        return (os.read(handle, size + 1),)
    finally:
        os.close(handle)


def _large(handle: int) -> Iterator[bytes]:
    try:
        while part := os.read(handle, CHUNK):
            yield part
    finally:
        os.close(handle)


def open_content(opener: Callable[[str], BinaryIO]) -> Content:
    """Files that ``opener`` opens by their path in the file set; each is closed after its last chunk."""

    def chunks(entry: Entry) -> Iterator[bytes]:
        with opener(entry.path) as stream:
            while part := stream.read(CHUNK):
                yield part

    return chunks


def bytes_content(files: Mapping[str, bytes]) -> Content:
    """Files held in memory, by path."""
    return lambda entry: (files[entry.path],)
