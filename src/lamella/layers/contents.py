"""A layer kept without a tree: the bytes of its files by digest, everything else in its file set.

That takes no rights and nothing of the file system: no owners, modes, links or device nodes, no names that differ in
case alone. ``<folder>/<two digits>/<sha256>`` are the bytes, ``<folder>/root`` what the layer's root directory is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lamella.canonical import canonical_json
from lamella.errors import IntegrityError
from lamella.graph.fileset import Entry, EntryType
from lamella.layers.content import CHUNK
from lamella.layers.resolution import DIRECTORY_TYPES, resolve

__all__ = ["ContentsTarget", "kept_bytes", "kept_root"]

_ROOT = "root"
_NEW = ".new"
_NAME_LIMIT = 255
"""Bytes of one part of a path (limits.h, NAME_MAX)."""


def kept_bytes(folder: Path, entry: Entry) -> Iterator[bytes]:
    """The bytes of a file by its entry's digest. Raises IntegrityError when they are not kept in ``folder``."""
    try:
        with _place(folder, entry.digest).open("rb") as file:
            while data := file.read(CHUNK):
                yield data
    except FileNotFoundError as error:
        raise IntegrityError(f"the bytes of {entry.path!r} are not kept", hint="run: lamella cache repair") from error


def kept_root(folder: Path) -> Entry:
    """What the root directory of the layer in ``folder`` is."""
    mode, uid, gid = json.loads((folder / _ROOT).read_bytes())
    return Entry("", EntryType.DIRECTORY, mode, uid, gid)


def _place(folder: Path, digest: str) -> Path:
    name = digest.partition(":")[2]
    return folder / name[:2] / name


class ContentsTarget:
    """``targets.Target`` that keeps bytes below an existing ``folder`` and knows all else by entries."""

    def __init__(self, folder: Path) -> None:
        self.warnings: list[str] = []
        self._folder = folder
        self._objects: dict[str, Entry] = {}
        self._made: set[str] = set()

    def close(self) -> None:
        """See ``Target``."""

    def real_directory(self, path: str) -> str:
        """See ``Target``."""
        real = resolve(path, self._objects.get)
        if real and self._objects[real].type not in DIRECTORY_TYPES:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return real

    def is_directory(self, place: str) -> bool | None:
        """See ``Target``."""
        found = self._objects.get(place)
        return None if found is None else found.type in DIRECTORY_TYPES

    def names(self, place: str) -> list[str]:
        """See ``Target``."""
        cut = len(place) + 1 if place else 0
        return sorted(path[cut:] for path in self.below(place) if "/" not in path[cut:])

    def below(self, place: str) -> Iterator[str]:
        """See ``Target``."""
        prefix = f"{place}/" if place else ""
        return iter([path for path in self._objects if path.startswith(prefix)])

    def remove(self, place: str) -> None:
        """See ``Target``. Bytes stay: another name may have them, and nobody finds them without one."""
        for path in self.below(place):
            del self._objects[path]
        del self._objects[place]

    def directory(self, place: str) -> None:
        """See ``Target``."""
        self._add(Entry(place, EntryType.DIRECTORY, 0o755))

    def whiteout(self, place: str) -> None:
        """See ``Target``."""
        self._add(Entry(place, EntryType.WHITEOUT, 0))

    def file(self, entry: Entry, mtime_ns: int, chunks: Iterable[bytes]) -> str:
        """See ``Target``."""
        self._add(entry)
        digest = hashlib.sha256()
        fresh = self._folder / _NEW
        with fresh.open("wb") as out:
            for chunk in chunks:
                digest.update(chunk)
                out.write(chunk)
        fresh.chmod(0o444)
        found = f"sha256:{digest.hexdigest()}"
        place = _place(self._folder, found)
        if place.parent.name not in self._made:
            place.parent.mkdir(exist_ok=True)
            self._made.add(place.parent.name)
        fresh.replace(place)
        return found

    def special(self, entry: Entry, mtime_ns: int) -> None:
        """See ``Target``."""
        self._add(entry)

    def link(self, source: str, place: str) -> None:
        """See ``Target``."""
        if source not in self._objects:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
        self._add(self._objects[source], place)

    def finish(self, entry: Entry, mtime_ns: int, *, opaque: bool) -> None:
        """See ``Target``."""
        if not entry.path:
            (self._folder / _ROOT).write_bytes(canonical_json([entry.mode, entry.uid, entry.gid]))

    def _add(self, entry: Entry, place: str = "") -> None:
        """Notes an object; a name that no file system takes is refused as one would."""
        place = place or entry.path
        if len(os.fsencode(place.rpartition("/")[2])) > _NAME_LIMIT:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), place)
        if place in self._objects:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place)
        self._objects[place] = entry
