"""What a tree holds right now: by a walk, or by git's word with a walk of the directories.

Candidates are regular files and symlinks; sockets, FIFOs and devices are left out. ``.git`` and ``.lamella`` are
never looked into. In a git work tree a file counts when it is tracked, or neither tracked nor ignored; submodules
and nested repositories are asked on their own. An ignored path counts when a *declared* glob spells its own name
without a wildcard (``dist/**``, ``packages/*/dist``, ``models/big.bin``; not ``**`` and not ``*.bin``).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from lamella.graph.patterns import compile_patterns
from lamella.sources.cuts import Cuts
from lamella.sources.dockerignore import NO_STATE, State
from lamella.sources.git import Git, Repository, Tracked, find_git
from lamella.sources.hashing import first_racy, is_racy, stat_row, unreadable, witness
from lamella.sources.listing import OWN, RACY, DirectoryRows
from lamella.values import dataclass, field

__all__ = ["NEVER", "Census", "take_census"]

NEVER = frozenset({".git", ".lamella"})
"""Names that are no inputs at any depth."""

_WILD = re.compile(r"[*?\[]")


@dataclass(slots=True)
class Census:
    """The result: directories by path with their files, and what proves that it still holds.

    ``repositories`` are (path below the root, index file) of the repositories asked. ``witnesses`` map absolute paths
    of further files to their state; see :func:`lamella.sources.hashing.witness`. ``git`` is the ``.git`` that was
    found above, or empty.
    """

    directories: dict[str, DirectoryRows] = field(default_factory=dict)
    repositories: list[str] = field(default_factory=list)
    witnesses: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    git: str = ""


def take_census(root: Path, cuts: Cuts, git: Git, declared: tuple[str, ...], now: int) -> Census:
    """Looks at everything below ``root``. ``now`` is the present second. Raises ConfigError."""
    taker = _Taker(root, cuts, git, now)
    dot_git = find_git(root)
    repository = git.repository(root) if dot_git is not None else None
    if repository is not None and taker.is_project_of(repository):
        taker.census.git = str(dot_git)
        taker.from_git("", repository)
        for pattern in declared:
            taker.declare(pattern)
    else:
        taker.census.git = str(dot_git or "")
        taker.walk([("", NO_STATE)])
    return taker.census


class _Taker:
    def __init__(self, root: Path, cuts: Cuts, git: Git, now: int) -> None:
        self.census = Census()
        self._root = str(root)
        self._cuts = cuts
        self._git = git
        self._now = now

    # -- plain -----------------------------------------------------------------------------------------------------

    def walk(self, pending: list[tuple[str, State]]) -> None:
        """All files below some directories."""
        while pending:
            directory, state = pending.pop()
            rows = self._enter(directory)
            if rows is None:
                continue
            for entry, path in self._entries(directory):
                if entry.is_dir(follow_symlinks=False):
                    skip, below = self._cuts.directory(path, state)
                    if not skip:
                        pending.append((path, below))
                elif not self._cuts.file(path, state):
                    self._add(rows, path, entry.name, OWN)

    def _entries(self, directory: str) -> Iterator[tuple[os.DirEntry[str], str]]:
        prefix = f"{directory}/" if directory else ""
        for entry in self._listed(directory):
            if entry.name not in NEVER:
                yield entry, prefix + entry.name

    def _listed(self, directory: str) -> list[os.DirEntry[str]]:
        """What is in a directory; nothing when it vanished."""
        try:
            with os.scandir(self._absolute(directory)) as entries:
                return list(entries)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(directory or self._root, error) from error

    def _enter(self, directory: str) -> DirectoryRows | None:
        """The rows of a directory, its state taken before its names are read; None when it vanished."""
        found = self._lstat(directory)
        if found is None or not stat.S_ISDIR(found.st_mode):
            return None
        rows = DirectoryRows(stat_row(found), racy=is_racy(found.st_ctime_ns, self._now))
        return self.census.directories.setdefault(directory, rows)

    def _add(self, rows: DirectoryRows, path: str, name: str, flags: int) -> None:
        """A candidate, when it is there and a regular file or a symlink."""
        found = self._lstat(path)
        if found is None:
            return
        link = ""
        if not stat.S_ISREG(found.st_mode):
            if not stat.S_ISLNK(found.st_mode):
                return
            try:
                link = os.readlink(self._absolute(path))
            except OSError as error:
                raise unreadable(path, error) from error
        if is_racy(found.st_ctime_ns, self._now):
            flags |= OWN | RACY
        rows.files[name] = (stat_row(found), flags, link)

    def _lstat(self, path: str) -> os.stat_result | None:
        try:
            return os.lstat(f"{self._root}/{path}" if path else self._root)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(path, error) from error

    def _absolute(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    # -- git -------------------------------------------------------------------------------------------------------

    def is_project_of(self, repository: Repository) -> bool:
        """Whether the root belongs to a repository above it: not when that one ignores it and tracks nothing in it."""
        if str(repository.top) == os.path.realpath(self._root):
            return True
        root = Path(self._root)
        return bool(self._git.call(root, "ls-files", "-z").stdout) or not self._git.ignored(root, [self._root])

    def from_git(self, prefix: str, repository: Repository) -> None:
        """The files of one repository, at ``prefix`` below the root, and of those in it."""
        from concurrent.futures import ThreadPoolExecutor

        where = Path(self._absolute(prefix))
        self._testify(where, repository)
        with ThreadPoolExecutor(2) as both:
            others = both.submit(self._git.untracked, where)
            tracked = self._git.tracked(where)
        nested: list[str] = []
        names = _grouped(prefix, tracked, others.result(), nested)
        self.census.repositories.append(prefix)
        self._walk_named(prefix, where, names, set(nested))
        for path in nested:
            self._nested(path)

    def _testify(self, where: Path, repository: Repository) -> None:
        """Remembers the state of everything outside the tree that this listing depends on."""
        above = [
            directory / ".gitignore" for directory in (where, *where.parents) if _within(directory, repository.top)
        ]
        for path in (repository.index, *repository.witnesses, *above):
            self.census.witnesses[str(path)] = witness(str(path))

    def _nested(self, path: str) -> None:
        """A submodule or nested repository; one without ``.git`` is a plain directory."""
        skip, state = self._cuts.walk_down(path)
        if skip:
            return
        where = Path(self._absolute(path))
        repository = self._git.repository(where) if os.path.lexists(where / ".git") else None
        if repository is None:
            self.walk([(path, state)])
        else:
            self.from_git(path, repository)

    def _walk_named(self, top: str, where: Path, names: dict[str, dict[str, int]], nested: set[str]) -> None:
        """Visits the directories that hold candidates, and those where some may appear: all that are not ignored."""
        on_the_way = {parent for path in (*names, *nested) for parent in _parents(path)} | names.keys()
        pending, unknown = [(top, self._cuts.walk_down(top)[1] if top else NO_STATE)], list[tuple[str, State]]()
        while pending or unknown:
            if not pending:
                pending = self._not_ignored(top, where, unknown)
                unknown = []
                continue
            directory, state = pending.pop()
            rows = self._enter(directory)
            if rows is None:
                continue
            self._add_named(rows, directory, names.get(directory, {}), state)
            for path in self._folders(directory):
                skip, below = self._cuts.directory(path, state)
                if not skip and path not in nested:
                    (pending if path in on_the_way else unknown).append((path, below))

    def _folders(self, directory: str) -> list[str]:
        """The directories in one; a ``.gitignore`` beside them is a witness."""
        prefix = f"{directory}/" if directory else ""
        entries = self._listed(directory)
        if any(entry.name == ".gitignore" for entry in entries):
            absolute = self._absolute(f"{prefix}.gitignore")
            self.census.witnesses[absolute] = witness(absolute)
        folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [prefix + name for name in folders if name not in NEVER]

    def _add_named(self, rows: DirectoryRows, directory: str, names: dict[str, int], state: State) -> None:
        prefix, cuts = f"{directory}/" if directory else "", bool(self._cuts)
        lead, young = f"{self._root}/{prefix}", first_racy(self._now)
        for name, flags in names.items():
            if cuts and self._cuts.file(prefix + name, state):
                continue
            try:
                found = os.lstat(lead + name)
            except OSError:
                found = None
            if found is None or found.st_ctime_ns >= young or not stat.S_ISREG(found.st_mode):
                self._add(rows, prefix + name, name, flags)
            else:
                rows.files[name] = (stat_row(found), flags, "")

    def _not_ignored(self, top: str, where: Path, unknown: list[tuple[str, State]]) -> list[tuple[str, State]]:
        """Those of some directories without candidates that git does not ignore."""
        offset = len(top) + 1 if top else 0
        ignored = self._git.ignored(where, [path[offset:] for path, _ in unknown])
        return [(path, state) for path, state in unknown if path[offset:] not in ignored]

    # -- declared --------------------------------------------------------------------------------------------------

    def declare(self, pattern: str) -> None:
        """Adds the ignored files that a glob names; see the module's docstring."""
        if pattern.startswith("!"):
            return
        parts = [part for part in pattern.strip("/").split("/") if part != "."]
        places = [""]
        for depth, part in enumerate(parts, 1):
            if part == "**" or ".." in parts:
                return
            places = [below for place in places for below in self._expanded(place, part)]
            if not _WILD.search(part):
                ignored = self._ignored_of(places)
                for place in sorted(ignored):
                    self._take_declared(place, pattern, "/".join([place, *_literal(parts[depth:])]))
                places = [place for place in places if place not in ignored]

    def _expanded(self, place: str, part: str) -> list[str]:
        prefix = f"{place}/" if place else ""
        if not _WILD.search(part):
            return [prefix + part] if os.path.lexists(self._absolute(prefix + part)) else []
        fits = compile_patterns((part,))
        return [path for entry, path in self._entries(place) if fits(entry.name)] if self._is_directory(place) else []

    def _is_directory(self, path: str) -> bool:
        found = self._lstat(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def _ignored_of(self, places: list[str]) -> set[str]:
        """Those that the repository they are in ignores."""
        by_repository: dict[str, list[str]] = {}
        for place in places:
            owner = max((top for top in self.census.repositories if _within_path(place, top)), key=len)
            if place != owner:
                by_repository.setdefault(owner, []).append(place)
        found: set[str] = set()
        for owner, members in by_repository.items():
            offset = len(owner) + 1 if owner else 0
            ignored = self._git.ignored(Path(self._absolute(owner)), [place[offset:] for place in members])
            found |= {place for place in members if place[offset:] in ignored}
        return found

    def _take_declared(self, ignored: str, pattern: str, start: str) -> None:
        """The matching files at or below ``start``, which is at or below an ignored path."""
        matches = compile_patterns((pattern,))
        while start != ignored and not os.path.lexists(self._absolute(start)):
            start = start.rpartition("/")[0]  # watched, so that its appearance is noticed
        parent, _, name = start.rpartition("/")
        for above in ("", *_parents(parent)):
            self._enter(above)
        rows = self._enter(parent)
        if not self._is_directory(start):
            skip, state = self._cuts.walk_down(parent) if parent else (False, NO_STATE)
            if rows is not None and matches(start) and not skip and not self._cuts.file(start, state):
                self._add(rows, start, name, OWN)
            return
        skip, state = self._cuts.walk_down(start)
        pending = [] if skip else [(start, state)]
        while pending:
            directory, state = pending.pop()
            rows = self._enter(directory)
            for entry, path in self._entries(directory) if rows is not None else ():
                if entry.is_dir(follow_symlinks=False):
                    skip, below = self._cuts.directory(path, state)
                    pending += [] if skip else [(path, below)]
                elif rows is not None and matches(path) and not self._cuts.file(path, state):
                    self._add(rows, path, entry.name, OWN)


def _grouped(prefix: str, tracked: list[Tracked], others: list[str], nested: list[str]) -> dict[str, dict[str, int]]:
    """Names with their flags by directory; submodules and nested repositories go to ``nested``."""
    lead = f"{prefix}/" if prefix else ""
    names: dict[str, dict[str, int]] = {}
    for item in tracked:
        if item.submodule:
            nested.append(lead + item.path)
            continue
        directory, _, name = (lead + item.path).rpartition("/")
        names.setdefault(directory, {})[name] = 0 if item.vouched else OWN
    for path in others:
        if path.endswith("/"):
            nested.append(lead + path.rstrip("/"))
            continue
        directory, _, name = (lead + path).rpartition("/")
        names.setdefault(directory, {})[name] = OWN
    return names


def _parents(path: str) -> list[str]:
    return [path[:index] for index, char in enumerate(path) if char == "/"]


def _within(directory: Path, top: Path) -> bool:
    return directory == top or top in directory.parents


def _within_path(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(f"{top}/")


def _literal(parts: list[str]) -> list[str]:
    found: list[str] = []
    for part in parts:
        if _WILD.search(part):
            break
        found.append(part)
    return found
