"""File sets: what a tree of files is, without its bytes (DESIGN 3b: "tree manifest").

A path is relative, with ``/`` between its parts, without ``.`` or ``..`` and without a leading slash.
The root directory itself is not an entry. Times are not part of a file set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap, canonical_json, digest_bytes
from lamella.errors import HostileInputError
from lamella.graph.patterns import compile_patterns
from lamella.oci.digest import check_digest
from lamella.values import dataclass

__all__ = [
    "EMPTY_FILESET",
    "Entry",
    "EntryType",
    "FileSet",
    "check_path",
    "directory_digest",
    "merkle_digest",
    "parse_fileset",
]

FILESET_FORMAT = 1
"""Major version of the stored form."""


class EntryType(Enum):
    """What an entry is; the value is its letter in the stored form."""

    FILE = "f"
    DIRECTORY = "d"
    SYMLINK = "l"
    WHITEOUT = "w"
    """Removes the path of a lower layer."""
    OPAQUE = "o"
    """A directory that hides what lower layers have below it."""
    FIFO = "p"
    CHAR_DEVICE = "c"
    BLOCK_DEVICE = "b"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a file set.

    ``mode`` holds the twelve permission bits. ``size`` (bytes) and ``digest`` are of regular files.
    ``link`` is a symlink's target as stored. ``uid`` and ``gid`` are what the image shall see.
    ``device`` is (major, minor) of a device node. ``xattrs`` are kept extended attributes, hex-encoded.
    """

    path: str
    type: EntryType
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    digest: str = ""
    link: str = ""
    device: tuple[int, int] | None = None
    xattrs: FrozenMap[str, str] = EMPTY_MAP

    def to_row(self) -> list[Any]:
        """The stored form: a list without trailing empty values."""
        row: list[Any] = [self.path, self.type.value, self.mode, self.uid, self.gid, self.size, self.digest, self.link]
        if self.device is not None or self.xattrs:
            row += [list(self.device) if self.device else None, dict(self.xattrs)]
        while row and row[-1] in ("", 0):
            row.pop()
        return row


@lru_cache(maxsize=4096)
def check_path(path: str) -> str:
    """``path`` when it is a legal relative path; raises HostileInputError otherwise."""
    if not path or path.startswith("/") or "\0" in path:
        raise HostileInputError(f"path {path[:80]!r} is empty, absolute or holds a NUL")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise HostileInputError(f"path {path[:80]!r} has an empty, '.' or '..' part")
    return path


@dataclass(frozen=True, slots=True)
class FileSet:
    """Entries sorted by path (by code point of the parts joined with ``/``), each path once."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> FileSet:
        """A file set from entries in any order; a path given twice raises HostileInputError."""
        ordered = sorted(entries, key=lambda entry: entry.path)
        for before, after in pairwise(ordered):
            if before.path == after.path:
                raise HostileInputError(f"path {after.path!r} is in a file set twice")
        for entry in ordered:
            check_path(entry.path)
        return cls(tuple(ordered))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def to_bytes(self) -> bytes:
        """Canonical bytes, which :func:`parse_fileset` reads."""
        return canonical_json({"format": FILESET_FORMAT, "entries": [entry.to_row() for entry in self.entries]})

    @property
    def digest(self) -> str:
        """Digest of :meth:`to_bytes`."""
        return digest_bytes(self.to_bytes())

    @property
    def size(self) -> int:
        """Bytes of all regular files."""
        return sum(entry.size for entry in self.entries)

    def get(self, path: str) -> Entry | None:
        """The entry of one path, by binary search."""
        low, high = 0, len(self.entries)
        while low < high:
            middle = (low + high) // 2
            if self.entries[middle].path < path:
                low = middle + 1
            else:
                high = middle
        found = low < len(self.entries) and self.entries[low].path == path
        return self.entries[low] if found else None

    def where(self, keep: Callable[[Entry], bool]) -> FileSet:
        """The entries for which ``keep`` is true."""
        return FileSet(tuple(entry for entry in self.entries if keep(entry)))

    def select(self, patterns: tuple[str, ...]) -> FileSet:
        """The entries that match one of the globs (``graph.patterns``), with what lies below a match."""
        matches = compile_patterns(patterns)
        return self.where(lambda entry: matches(entry.path))

    def below(self, directory: str) -> FileSet:
        """The entries below ``directory``, with paths relative to it; all when it is empty."""
        if directory in ("", "."):
            return self
        prefix = directory.strip("/") + "/"
        return FileSet(tuple(_renamed(e, e.path[len(prefix) :]) for e in self.entries if e.path.startswith(prefix)))

    def moved(self, directory: str) -> FileSet:
        """The same entries with ``directory`` put before each path. Parents are not added."""
        prefix = directory.strip("/")
        if not prefix:
            return self
        return FileSet(tuple(_renamed(entry, f"{prefix}/{entry.path}") for entry in self.entries))


def _renamed(entry: Entry, path: str) -> Entry:
    return Entry(
        path,
        entry.type,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.size,
        entry.digest,
        entry.link,
        entry.device,
        entry.xattrs,
    )


def merkle_digest(fileset: FileSet) -> str:
    """Digest of a file set built from digests per directory, bottom up.

    A directory's digest is that of the canonical JSON list of its rows, sorted by name: ``[name, type, mode,
    digest or link]`` for files and links (owners do not count), ``[name, "d", digest]`` for directories. So a
    scan cache that knows the digest of each directory needs to hash only what changed. The ``Tree`` gives this
    digest for sources.
    """
    rows: dict[str, dict[str, list[Any]]] = {"": {}}
    for entry in fileset.entries:
        directory, _, name = entry.path.rpartition("/")
        _ensure_directory(rows, directory)
        if entry.type is EntryType.DIRECTORY:
            _ensure_directory(rows, entry.path)
            continue
        content = entry.link if entry.type is EntryType.SYMLINK else entry.digest
        rows[directory][name] = [name, entry.type.value, entry.mode, content]
    for directory in sorted(rows, key=lambda path: (-path.count("/"), path), reverse=False):
        if directory:
            parent, _, name = directory.rpartition("/")
            rows[parent][name] = [name, "d", directory_digest(rows[directory])]
    return directory_digest(rows[""])


def _ensure_directory(rows: dict[str, dict[str, list[Any]]], directory: str) -> None:
    while directory and directory not in rows:
        rows[directory] = {}
        directory = directory.rpartition("/")[0]


_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def directory_digest(rows: dict[str, list[Any]]) -> str:
    """Digest of one directory from its rows by name; see :func:`merkle_digest`."""
    # rows hold strings and integers only, so this is canonical JSON without the pass that makes values plain
    text = _ENCODE([rows[name] for name in sorted(rows)])
    return digest_bytes(text.encode("utf-8", "surrogateescape"))


EMPTY_FILESET = FileSet(())
"""The file set without entries."""


def parse_fileset(data: bytes) -> FileSet:
    """A file set from its stored form; raises HostileInputError when it is malformed or of another format."""
    try:
        document = json.loads(data.decode("utf-8", "surrogateescape"))
        if document["format"] != FILESET_FORMAT:
            raise HostileInputError(f"file set has format {document['format']!r}, not {FILESET_FORMAT}")
        return FileSet.of(_entry_from_row(row) for row in document["entries"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise HostileInputError(f"file set is malformed: {error}") from error


_ROW_DEFAULTS: tuple[Any, ...] = ("", "", 0, 0, 0, 0, "", "", None, None)


def _entry_from_row(row: list[Any]) -> Entry:
    filled = [*row, *_ROW_DEFAULTS[len(row) :]]
    path, letter, mode, uid, gid, size, digest, link, device, xattrs = filled
    return Entry(
        str(path),
        EntryType(letter),
        int(mode),
        int(uid),
        int(gid),
        int(size),
        check_digest(digest) if digest else "",
        str(link),
        (int(device[0]), int(device[1])) if device else None,
        FrozenMap(xattrs) if xattrs else EMPTY_MAP,
    )
