"""What one layer has made so far: entries by real path, and where directories in use really are."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.layers.resolution import DIRECTORY_TYPES
from lamella.layers.targets import Target
from lamella.values import replace

__all__ = ["Tree"]

_KNOWN_DIRECTORIES = 4096


class Tree:
    """Entries of one layer by real path. The empty path is the root, which is no entry of a file set."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._entries: dict[str, Entry] = {}
        self._times: dict[str, int | None] = {}
        self._above: set[str] = set()
        self._real: dict[str, str] = {"": ""}

    # -- entries ---------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Entry | None:
        """What this layer made at a real path."""
        return self._entries.get(path)

    def is_directory(self, path: str) -> bool:
        """Whether this layer made, or entered, a directory at a real path."""
        entry = self._entries.get(path)
        return entry.type in DIRECTORY_TYPES if entry is not None else self.has_below(path)

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
        if entry.type in DIRECTORY_TYPES:
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
        """Forgets an object and what is below it, before it is removed from the target, which says what that is."""
        self.forget_directories()
        if self.is_directory(path):
            for found in self._target.below(path):
                self._forget(found)
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
        self._target.close()
        for path in sorted(self._times, key=lambda path: (-path.count("/"), path)):
            yield self._entries[path], self._times[path]

    # -- directories in use ----------------------------------------------------------------------------------------

    def real_directory(self, path: str) -> str | None:
        """The real path of a directory named by a member's path; None when it is not there as one."""
        known = self._real.get(path)
        if known is not None:
            return known
        try:
            real = self._target.real_directory(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        self._remember(path, real)
        return real

    def forget_directories(self) -> None:
        """After a removal nothing that was resolved before may be trusted."""
        self._target.close()
        self._real = {"": ""}

    def _remember(self, path: str, real: str) -> None:
        if len(self._real) >= _KNOWN_DIRECTORIES:
            self._real = {"": ""}
        self._real[path] = real
