"""What one layer has made of a directory so far: entries by real path, and handles of directories in use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Rooted

__all__ = ["Tree"]

_KNOWN_DIRECTORIES = 4096
_DIRECTORY = (EntryType.DIRECTORY, EntryType.OPAQUE)


class Tree:
    """Entries of one layer by real path. The empty path is the root, which is no entry of a file set."""

    def __init__(self, root: Rooted) -> None:
        self._root = root
        self._entries: dict[str, Entry] = {}
        self._times: dict[str, int | None] = {}
        self._above: set[str] = set()
        self._real: dict[str, str] = {"": ""}
        self._handle = -1
        self._handle_path = ""

    def close(self) -> None:
        """Gives the open handle back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    # -- entries ---------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Entry | None:
        """What this layer made at a real path."""
        return self._entries.get(path)

    def is_directory(self, path: str) -> bool:
        """Whether this layer made, or entered, a directory at a real path."""
        entry = self._entries.get(path)
        return entry.type in _DIRECTORY if entry is not None else self.has_below(path)

    def is_whiteout(self, path: str) -> bool:
        """Whether this layer removed what lower ones have at a real path."""
        entry = self._entries.get(path)
        return entry is not None and entry.type is EntryType.WHITEOUT

    def is_opaque(self, path: str) -> bool:
        """Whether this layer hides what lower ones have below a real path."""
        entry = self._entries.get(path)
        return entry is not None and entry.type is EntryType.OPAQUE

    def has_below(self, path: str) -> bool:
        """Whether this layer made anything below a real path."""
        return path in self._above

    def add(self, entry: Entry, mtime_ns: int | None = None) -> None:
        """Notes one object; directories keep their time for the end."""
        self._entries[entry.path] = entry
        self._note_above(entry.path)
        if entry.type in _DIRECTORY:
            self._times[entry.path] = mtime_ns
            self._remember(entry.path, entry.path)

    def set_root(self, entry: Entry, mtime_ns: int) -> None:
        """Notes what the root directory shall be."""
        self._entries[""] = entry
        self._times[""] = mtime_ns

    def make_opaque(self, path: str) -> None:
        """Hides what lower layers have below a directory of this layer."""
        entry = self._entries.get(path) or Entry(path, EntryType.DIRECTORY, 0o755)
        self._entries[path] = replace(entry, type=EntryType.OPAQUE)
        self._times.setdefault(path, None)

    def remove(self, path: str) -> None:
        """Forgets an object and what is below it, before it is removed from the disk, which says what that is."""
        self.forget_handles()
        if self.is_directory(path):
            for found in self._root.walk(path):
                self._forget(found.path)
        self._forget(path)

    def _forget(self, path: str) -> None:
        self._entries.pop(path, None)
        self._times.pop(path, None)
        self._above.discard(path)

    def _note_above(self, path: str) -> None:
        while path:
            path = path.rpartition("/")[0]
            if path in self._above:
                return
            self._above.add(path)

    def fileset(self) -> FileSet:
        """All entries, without the root."""
        return FileSet.of(entry for path, entry in self._entries.items() if path)

    def directories(self) -> Iterator[tuple[Entry, int | None]]:
        """All directories with their times, deepest first, so that finishing one does not touch another."""
        self.close()
        for path in sorted(self._times, key=lambda path: (-path.count("/"), path)):
            yield self._entries[path], self._times[path]

    # -- directories in use ----------------------------------------------------------------------------------------

    def real_directory(self, path: str) -> str | None:
        """The real path of a directory named by a member's path; None when it is not there as one."""
        known = self._real.get(path)
        if known is not None:
            return known
        try:
            return self.enter(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def enter(self, path: str) -> str:
        """The real path of an existing directory, which stays open. Raises OSError when it is none."""
        handle = self._root.open(path, os.O_RDONLY | os.O_DIRECTORY, follow=True)
        self.close()
        self._handle = handle
        self._handle_path = self._root.real_path(handle)
        self._remember(path, self._handle_path)
        return self._handle_path

    def handle(self, path: str) -> int:
        """The handle of a directory by its real path; valid until the next directory is entered."""
        if self._handle < 0 or self._handle_path != path:
            handle = self._root.open(path, os.O_RDONLY | os.O_DIRECTORY)
            self.close()
            self._handle, self._handle_path = handle, path
        return self._handle

    def forget_handles(self) -> None:
        """After a removal nothing that was resolved before may be trusted."""
        self.close()
        self._real = {"": ""}

    def _remember(self, path: str, real: str) -> None:
        if len(self._real) >= _KNOWN_DIRECTORIES:
            self._real = {"": ""}
        self._real[path] = real
