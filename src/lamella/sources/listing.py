"""What lies in a tree: columns of directories and files with their stat rows and digests.

Columns instead of objects: a tree of 100,000 files is loaded, compared and stored in tens of milliseconds and
some 15 MB. Directories stand parents first, each subtree in one piece, so that "all below" is a range.
"""

from __future__ import annotations

import stat
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lamella.graph.fileset import Entry, EntryType, directory_digest

if TYPE_CHECKING:
    from lamella.sources.hashing import StatRow
    from lamella.sources.selection import Selector

__all__ = ["KNOWN", "OWN", "RACY", "Columns", "DirectoryRows", "Listing", "Picked"]

KNOWN = 1
"""The digest is there and belongs to the stat row."""
OWN = 2
"""Version control does not vouch for this file: its stat row is compared by us."""
RACY = 4
"""It changed so shortly before it was looked at that its times may hide a later change."""

_IS_OWN = bytes(1 if flags & OWN else 0 for flags in range(256))
_IS_RACY = bytes(1 if flags & RACY else 0 for flags in range(256))
_CODES = "QQQqqI"
_DIGEST = 32


class Columns:
    """Stat rows, one array per part."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[array[int], ...] | None = None) -> None:
        self.parts = parts if parts is not None else tuple(array(code) for code in _CODES)

    def __len__(self) -> int:
        return len(self.parts[0])

    def extend(self, rows: Iterable[StatRow]) -> None:
        """Appends rows."""
        for part, values in zip(self.parts, zip(*rows, strict=True), strict=False):
            part.extend(values)

    def row(self, index: int) -> StatRow:
        """One row."""
        device, inode, size, mtime, ctime, mode = self.parts
        return device[index], inode[index], size[index], mtime[index], ctime[index], mode[index]

    def rows(self, start: int, stop: int) -> list[StatRow]:
        """A range of rows."""
        device, inode, size, mtime, ctime, mode = self.parts
        pieces = (device, inode, size, mtime, ctime, mode)
        return list(zip(*(piece[start:stop] for piece in pieces), strict=True))

    def put(self, index: int, row: StatRow) -> None:
        """Replaces one row."""
        for part, value in zip(self.parts, row, strict=True):
            part[index] = value


class DirectoryRows:
    """One directory while a listing is made: its own stat row, then names, stat rows and flags of its files."""

    __slots__ = ("files", "mark", "racy")

    def __init__(self, mark: StatRow, *, racy: bool = False) -> None:
        self.mark = mark
        self.racy = racy
        self.files: dict[str, tuple[StatRow, int, str]] = {}
        """Name to (stat row, flags, target of a symlink)."""


class Picked:
    """What a selection takes: whole subtrees as ranges of directories, and single files of the others."""

    __slots__ = ("files", "whole")

    def __init__(self) -> None:
        self.whole: list[int] = []
        """First directories of subtrees that are selected altogether."""
        self.files: dict[int, list[int]] = {}
        """Directory to file numbers, for directories that are selected in part."""


class Listing:
    """All files of a tree. Built by :meth:`of`, or by ``sources.scan_cache`` from stored columns.

    ``directories`` are paths, the root (empty) first; ``first`` the number of each one's first file, with the total
    at the end. ``digests`` holds 32 bytes per file; ``trees`` the merkle digest of each whole directory, empty where
    it is not known. ``links`` are targets of symlinks by file number.
    """

    __slots__ = (
        "children", "digests", "directories", "ends", "first", "flags", "links", "marks", "names", "number", "racy",
        "stats", "trees",
    )  # fmt: skip

    def __init__(
        self,
        *,
        directories: list[str],
        marks: Columns,
        racy: bytearray,
        first: array[int],
        names: list[str],
        stats: Columns,
        flags: bytearray,
        digests: bytearray,
        links: dict[int, str],
        trees: list[str],
    ) -> None:
        self.directories = directories
        self.marks = marks
        self.racy = racy
        self.first = first
        self.names = names
        self.stats = stats
        self.flags = flags
        self.digests = digests
        self.links = links
        self.trees = trees
        self.number = {path: index for index, path in enumerate(directories)}
        self.ends, self.children = _subtrees(directories, self.number)

    @classmethod
    def of(cls, found: dict[str, DirectoryRows]) -> Listing:
        """A listing without digests from directories by path; parents must be there."""
        directories = sorted(found, key=lambda path: f"{path}/" if path else "")
        marks, stats, first = Columns(), Columns(), array("I", [0])
        marks.extend(found[path].mark for path in directories)
        names: list[str] = []
        flags, links = bytearray(), {}
        for path in directories:
            rows = found[path].files
            ordered = sorted(rows)
            stats.extend(rows[name][0] for name in ordered)
            flags.extend(rows[name][1] for name in ordered)
            links.update({len(names) + at: rows[name][2] for at, name in enumerate(ordered) if rows[name][2]})
            names += ordered
            first.append(len(names))
        return cls(
            directories=directories,
            marks=marks,
            racy=bytearray(found[path].racy for path in directories),
            first=first,
            names=names,
            stats=stats,
            flags=flags,
            digests=bytearray(_DIGEST * len(names)),
            links=links,
            trees=[""] * len(directories),
        )

    def __len__(self) -> int:
        return len(self.names)

    # -- looking ---------------------------------------------------------------------------------------------------

    def files_of(self, directory: int) -> range:
        """Numbers of the files directly in a directory."""
        return range(self.first[directory], self.first[directory + 1])

    def files_below(self, directory: int) -> range:
        """Numbers of all files in a subtree."""
        return range(self.first[directory], self.first[self.ends[directory]])

    def find(self, path: str) -> int | None:
        """The number of a file; None when it is not there."""
        directory, _, name = path.rpartition("/")
        number = self.number.get(directory)
        if number is None:
            return None
        stop = self.first[number + 1]
        file = bisect_left(self.names, name, self.first[number], stop)
        return file if file < stop and self.names[file] == name else None

    def has_files(self, directory: str) -> bool:
        """Whether ``directory`` holds a file, at any depth."""
        number = self.number.get(directory)
        return number is not None and len(self.files_below(number)) > 0

    def own_files(self) -> Sequence[int]:
        """Numbers of the files that nobody else vouches for, growing."""
        wanted = self.flags.translate(_IS_OWN)
        count = wanted.count(1)
        if count == len(wanted):
            return range(count)
        return [file for file, own in enumerate(wanted) if own] if count else ()

    def racy_files(self) -> list[tuple[int, int]]:
        """(directory, file) numbers of the files that are RACY."""
        marks = self.flags.translate(_IS_RACY)
        found, file = [], marks.find(1)
        while file >= 0:
            found.append((bisect_right(self.first, file) - 1, file))
            file = marks.find(1, file + 1)
        return found

    def is_link(self, file: int) -> bool:
        """Whether a file is a symlink."""
        return stat.S_ISLNK(self.stats.parts[5][file])

    def mode(self, file: int) -> int:
        """0755 or 0644 by the owner's execute bit; 0777 for a symlink."""
        mode = self.stats.parts[5][file]
        if stat.S_ISLNK(mode):
            return 0o777
        return 0o755 if mode & stat.S_IXUSR else 0o644

    def digest(self, file: int) -> str:
        """The digest of a file that is KNOWN."""
        return f"sha256:{self.digests[_DIGEST * file : _DIGEST * (file + 1)].hex()}"

    # -- changing --------------------------------------------------------------------------------------------------

    def set_digest(self, file: int, directory: int, row: StatRow, digest: bytes, *, racy: bool) -> None:
        """A file was hashed in the state ``row``."""
        if self.flags[file] & KNOWN and self.digests[_DIGEST * file : _DIGEST * (file + 1)] != digest:
            self.forget_trees(directory)  # of a file that was not known, no tree is
        if self.stats.row(file) != row:
            self.stats.put(file, row)
            self.forget_trees(directory)
        self.set_new_digest(file, digest, racy=racy)

    def set_new_digest(self, file: int, digest: bytes, *, racy: bool) -> None:
        """A file that was not KNOWN was hashed in the state that it was looked at in."""
        self.digests[_DIGEST * file : _DIGEST * (file + 1)] = digest
        self.flags[file] = self.flags[file] & ~RACY | KNOWN | (RACY | OWN if racy else 0)

    def forget(self, file: int, directory: int, row: StatRow, *, racy: bool) -> None:
        """A file was found in another state; its digest is not known any more."""
        self.stats.put(file, row)
        self.flags[file] = self.flags[file] & ~(KNOWN | RACY) | OWN | (RACY if racy else 0)
        self.forget_trees(directory)

    def forget_trees(self, directory: int) -> None:
        """The merkle digests of a directory and all above it are not known any more."""
        path = self.directories[directory]
        while True:
            self.trees[self.number[path]] = ""
            if not path:
                return
            path = path.rpartition("/")[0]

    # -- selecting -------------------------------------------------------------------------------------------------

    def pick(self, patterns: tuple[str, ...]) -> Picked:
        """What globs of ``graph.patterns`` take."""
        from lamella.sources.selection import Coverage, Selector  # a state that answers were kept for needs none

        selector = Selector(patterns)
        picked, pending = Picked(), [0]
        while pending:
            number = pending.pop()
            directory = self.directories[number]
            coverage = selector.coverage(directory)
            if coverage is Coverage.ALL:
                picked.whole.append(number)
            if coverage is not Coverage.SOME:
                continue
            leads = selector.leads(directory)
            picked.files[number] = self._chosen(number, selector, leads)
            if leads is None:
                pending += self.children[number]
            else:
                paths = (f"{directory}/{name}" if directory else name for name in leads)
                pending += [self.number[path] for path in paths if path in self.number]
        return picked

    def _chosen(self, number: int, selector: Selector, leads: list[str] | None) -> list[int]:
        """The files directly in a directory that ``selector`` takes; ``leads`` are the only names to look at."""
        start, stop = self.first[number], self.first[number + 1]
        files: Sequence[int] = range(start, stop)
        if leads is not None:
            found = (bisect_left(self.names, name, start, stop) for name in sorted(leads))
            files = [at for at, name in zip(found, sorted(leads), strict=True) if at < stop and self.names[at] == name]
        names = [self.names[file] for file in files] if leads is not None else self.names[start:stop]
        return [files[index] for index in selector.files(self.directories[number], names)]

    def located(self, picked: Picked) -> Iterator[tuple[int, int]]:
        """(directory, file) numbers of a selection."""
        for number in picked.whole:
            for below in range(number, self.ends[number]):
                for file in self.files_of(below):
                    yield below, file
        for number, files in picked.files.items():
            for file in files:
                yield number, file

    def path(self, directory: int, file: int) -> str:
        """The path of a file."""
        parent = self.directories[directory]
        return f"{parent}/{self.names[file]}" if parent else self.names[file]

    def entry(self, directory: int, file: int) -> Entry:
        """The entry of a file that is KNOWN or a symlink."""
        path = self.path(directory, file)
        if self.is_link(file):
            return Entry(path, EntryType.SYMLINK, 0o777, link=self.links[file])
        size = self.stats.parts[2][file]
        return Entry(path, EntryType.FILE, self.mode(file), size=size, digest=self.digest(file))

    # -- digests ---------------------------------------------------------------------------------------------------

    def selection_digest(self, picked: Picked) -> str:
        """``graph.fileset.merkle_digest`` of a selection whose files are all KNOWN."""
        below: dict[int, dict[str, str]] = {}
        roots: dict[int, str] = {}
        for number in picked.whole:
            if len(self.files_below(number)):
                roots[number] = self._tree(number)
        for number, digest in roots.items():
            self._hand_up(number, digest, below)
        for number in sorted(picked.files, reverse=True):  # children before parents, the root last
            rows = self._rows(picked.files[number], below.get(number, {}))
            if not number:
                return directory_digest(rows)
            if rows:
                self._hand_up(number, directory_digest(rows), below)
        return roots.get(0) or directory_digest({})

    def _hand_up(self, number: int, digest: str, below: dict[int, dict[str, str]]) -> None:
        """Gives a directory's digest to its parent."""
        parent, _, name = self.directories[number].rpartition("/")
        if number:
            below.setdefault(self.number[parent], {})[name] = digest

    def _rows(self, files: Iterable[int], directories: dict[str, str]) -> dict[str, list[object]]:
        """The rows of one directory, as ``graph.fileset.merkle_digest`` defines them."""
        rows: dict[str, list[object]] = {}
        names, modes, digests = self.names, self.stats.parts[5], self.digests
        for file in files:
            name, mode = names[file], modes[file]
            if stat.S_ISLNK(mode):
                rows[name] = [name, "l", 0o777, self.links[file]]
            else:
                content = f"sha256:{digests[_DIGEST * file : _DIGEST * (file + 1)].hex()}"
                rows[name] = [name, "f", 0o755 if mode & stat.S_IXUSR else 0o644, content]
        for name, digest in directories.items():
            rows[name] = [name, "d", digest]
        return rows

    def _tree(self, top: int) -> str:
        """The merkle digest of a whole subtree that holds files."""
        for number in range(self.ends[top] - 1, top - 1, -1):
            if self.trees[number] or not len(self.files_below(number)):
                continue
            names = {
                self.directories[child].rpartition("/")[2]: self.trees[child]
                for child in self.children[number]
                if self.trees[child]
            }
            self.trees[number] = directory_digest(self._rows(self.files_of(number), names))
        return self.trees[top]


def _subtrees(directories: list[str], number: dict[str, int]) -> tuple[array[int], list[list[int]]]:
    """For each directory the number after its subtree, and its children."""
    ends = array("I", range(1, len(directories) + 1))
    children: list[list[int]] = [[] for _ in directories]
    for index in range(len(directories) - 1, 0, -1):
        parent = number[directories[index].rpartition("/")[0]]
        ends[parent] = max(ends[parent], ends[index])
        children[parent].append(index)
    return ends, children
