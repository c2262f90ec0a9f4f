"""A finished root file system to look at: on the disk (``host.rooted.Rooted`` is one), or a chain's file sets.

Both resolve links inside the root and give the same answers, so that facts do not depend on how a base is kept.
"""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from lamella.errors import HostileInputError
from lamella.graph.fileset import Entry, EntryType
from lamella.layers.content import Content
from lamella.layers.resolution import DIRECTORY_TYPES, resolve
from lamella.values import dataclass

__all__ = ["EntryStatus", "RootView", "Status", "TreeView"]


class Status(Protocol):
    """What ``os.stat_result`` has, as far as it is asked for."""

    @property
    def st_mode(self) -> int:
        """Type and permission bits (inode(7))."""


class RootView(Protocol):
    """A root that can be read. Methods raise OSError as the system calls do."""

    def read_bytes(self, path: str, *, limit: int) -> bytes:
        """All bytes of a regular file; raises HostileInputError for another kind or more than ``limit`` bytes."""

    def listdir(self, path: str = "", *, follow: bool = False) -> list[str]:
        """Sorted names in a directory; a symlink to one only with ``follow``."""

    def stat(self, path: str) -> Status:
        """Status of what ``path`` leads to."""

    def statuses(self, path: str = "") -> Sequence[tuple[str, Status]]:
        """Sorted names in a directory, or one that a symlink leads to, with the status of what each leads to. Those
        that lead nowhere are left out, and nothing comes of what is no directory.
        """

    def real_name(self, path: str) -> str:
        """Where what ``path`` leads to is, as a relative path without links."""


@dataclass(frozen=True, slots=True)
class EntryStatus:
    """Status of an entry of a file set."""

    st_mode: int


class TreeView:
    """:class:`RootView` of merged entries by path (no whiteouts), with the bytes of their files."""

    def __init__(self, entries: Mapping[str, Entry], content: Content, root: Entry) -> None:
        """``root`` is what the root directory itself is, which is no entry of a file set."""
        self.entries = entries
        self.root = root
        self._content = content
        self._names: dict[str, list[str]] | None = None

    def read_bytes(self, path: str, *, limit: int) -> bytes:
        """See :class:`RootView`."""
        entry = self._entry(resolve(path, self.entries.get))
        if entry.type is not EntryType.FILE:
            raise HostileInputError(f"{path!r} is not a regular file")
        if entry.size > limit:
            raise HostileInputError(f"file {path!r} is larger than {limit} bytes")
        return b"".join(self._content(entry))

    def listdir(self, path: str = "", *, follow: bool = False) -> list[str]:
        """See :class:`RootView`."""
        real = resolve(path, self.entries.get, follow=follow)
        if self._entry(real).type not in DIRECTORY_TYPES:
            raise NotADirectoryError(path)
        return self._children().get(real, [])

    def stat(self, path: str) -> EntryStatus:
        """See :class:`RootView`."""
        return entry_status(self._entry(resolve(path, self.entries.get)))

    def statuses(self, path: str = "") -> list[tuple[str, EntryStatus]]:
        """See :class:`RootView`."""
        found: list[tuple[str, EntryStatus]] = []
        with suppress(OSError):
            for name in self.listdir(path, follow=True):
                with suppress(OSError):
                    found.append((name, self.stat(f"{path}/{name}")))
        return found

    def real_name(self, path: str) -> str:
        """See :class:`RootView`."""
        return resolve(path, self.entries.get)

    def _entry(self, real: str) -> Entry:
        return self.entries[real] if real else self.root

    def _children(self) -> dict[str, list[str]]:
        """Sorted names by directory."""
        if self._names is None:
            names: dict[str, list[str]] = defaultdict(list)
            for path in sorted(self.entries):
                above, _, name = path.rpartition("/")
                names[above].append(name)
            self._names = {above: sorted(found) for above, found in names.items()}
        return self._names


def entry_status(entry: Entry) -> EntryStatus:
    """The status that an object made of an entry would have."""
    return EntryStatus(_BITS[entry.type] | entry.mode)


_BITS = {
    EntryType.FILE: stat.S_IFREG,
    EntryType.DIRECTORY: stat.S_IFDIR,
    EntryType.OPAQUE: stat.S_IFDIR,
    EntryType.SYMLINK: stat.S_IFLNK,
    EntryType.FIFO: stat.S_IFIFO,
    EntryType.CHAR_DEVICE: stat.S_IFCHR,
    EntryType.BLOCK_DEVICE: stat.S_IFBLK,
    EntryType.WHITEOUT: stat.S_IFCHR,
}
