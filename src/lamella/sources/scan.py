"""The present state of a tree at the price of a look: stored listing, checked, updated, or made anew.

A stored listing holds when the settings are the same, every directory that may get a file is unchanged, and every file
outside it that matters (git's index, exclude files) is. Then files are compared by stat row; in a git work tree
only those that git does not vouch for.

Why git may vouch although it hashes other bytes than we do: with the settings that ``sources.git`` forces, an entry
is "unchanged" exactly when the file's stat data equals the index's, and the index is the one of our last look.
So the file has not changed since that look, whatever filters, line endings or object ids say; git's own comparison
of content (of entries as young as the index) cannot say "unchanged" for a file with other times. Git compares
whole seconds; a file that changed shortly before we looked is therefore not left to git (``OWN``), nor are
assume-unchanged and skip-worktree entries, for which git looks at nothing.
"""

from __future__ import annotations

import os
import stat
import threading
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lamella.canonical import digest_value
from lamella.errors import LamellaError
from lamella.sources.cuts import Cuts
from lamella.sources.git import Git, find_git
from lamella.sources.hashing import StatRow, first_racy, hash_file, hash_unchanged, is_racy, stat_row, witness
from lamella.sources.listing import KNOWN, OWN, RACY, Listing
from lamella.sources.scan_cache import Answer, Scan, load_scan, save_scan

if TYPE_CHECKING:
    from lamella.graph.protocols import Clock

__all__ = ["Scanner"]

_LARGE = 1 << 20
"""Files above this many bytes are hashed side by side: then hashing runs without the interpreter's lock."""

_PLACE = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)

_ANSWERS, _LONG_ANSWER = 4096, 4096
"""How many answers are remembered, and how many paths the longest may have."""


class _Nominations:
    """What git believes changed, asked for in the background; leaving the ``with`` block ends what still runs."""

    def __init__(self, git: Git, root: Path) -> None:
        self._git = git
        self._root = root
        self._cancelled = threading.Event()
        self._turns = threading.Semaphore(2)
        self._threads: dict[str, threading.Thread] = {}
        self._answers: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._cancelled.set()
        for thread in self._threads.values():
            thread.join()

    def ask(self, top: str) -> None:
        """Asks the repository at ``top``, once."""
        if top not in self._threads:
            thread = self._threads[top] = threading.Thread(target=self._ask, args=(top,), name="lamella-git")
            thread.start()

    def _ask(self, top: str) -> None:
        with self._turns, suppress(LamellaError):
            if not self._cancelled.is_set():
                self._answers[top] = self._git.nominated(self._root / top, self._cancelled)

    def of(self, top: str) -> list[str] | None:
        """The answer of a repository that was asked; None when git failed."""
        self._threads[top].join()
        return self._answers.get(top)


class Scanner:
    """Knows one tree. ``cache`` is the file of the stored listing, None for none. Not thread-safe.

    ``declared`` are globs that may name ignored files.
    """

    def __init__(
        self, root: Path, *, cuts: Cuts, declared: tuple[str, ...], git: Git, clock: Clock, cache: Path | None
    ) -> None:
        self._root = str(root)
        self._cuts = cuts
        self._declared = declared
        self._git = git
        self._clock = clock
        self._cache = cache
        lines = [(line.taken_back, line.text) for line in cuts.rules.lines]
        self._settings = digest_value(["scan", self._root, lines, cuts.globs, declared])
        self._scan: Scan | None = None
        self._stale = False
        self._moved = False
        """Whether a file changed between the look and its reading: then answers may be of two states."""

    @property
    def listing(self) -> Listing:
        """The files as they were when this was first asked."""
        return self._current().listing

    def recall(self, key: str) -> Answer | None:
        """The remembered answer to a question about exactly this state."""
        return self._current().answers.get(key)

    def remember(self, key: str, answer: Answer) -> None:
        """Remembers an answer, unless it is a long one."""
        answers = self._current().answers
        if not isinstance(answer, str) and len(answer) > _LONG_ANSWER:
            return
        if len(answers) >= _ANSWERS:
            answers.clear()
        answers[key] = answer
        self._stale = True

    def save(self) -> None:
        """Stores what was learnt, when something was."""
        if self._cache is not None and self._scan is not None and self._stale:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            save_scan(self._cache, self._scan)
            self._stale = False

    def refresh(self) -> None:
        """Forgets the present state; the next question looks again."""
        self.save()
        self._scan = None
        self._moved = False

    def know(self, located: Iterable[tuple[int, int]]) -> None:
        """Hashes those of some files, (directory, file) numbers, whose digest is not known. Raises ConfigError."""
        listing = self.listing
        flags, modes = listing.flags, listing.stats.parts[5]
        wanted = [at for at in located if not flags[at[1]] & KNOWN and not stat.S_ISLNK(modes[at[1]])]
        if not wanted:
            return
        from concurrent.futures import ThreadPoolExecutor

        now = self._clock.now()
        sizes = listing.stats.parts[2]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            large = [at for at in wanted if sizes[at[1]] > _LARGE]
            running = [(at, pool.submit(hash_file, self._absolute(*at))) for at in large]
            self._hash([at for at in wanted if sizes[at[1]] <= _LARGE], now)
            for at, result in running:
                self._learn(at, *result.result(), now)
        self._stale = True

    def is_settled(self) -> bool:
        """Whether times alone will tell the next change of every file from the state that answers were given for."""
        listing = self.listing
        if self._moved or any(listing.racy):
            return False
        self.know(listing.racy_files())
        for _, file in listing.racy_files():
            if not listing.is_link(file):
                return False
            listing.flags[file] &= ~RACY  # another target would have changed the directory, which is settled
        return True

    def _hash(self, wanted: Iterable[tuple[int, int]], now: int) -> None:
        """Hashes files one after the other."""
        listing, young = self.listing, first_racy(now)
        names, stats, known, lead = listing.names, listing.stats, -1, ""
        for directory, file in wanted:
            if directory != known:
                known, lead = directory, f"{self._root}/{listing.directories[directory]}/"
            row = stats.row(file)
            digest = hash_unchanged(lead + names[file], row)
            if digest is None:
                self._learn((directory, file), *hash_file(lead + names[file]), now)
            else:
                listing.set_new_digest(file, digest, racy=row[4] >= young)

    def _learn(self, at: tuple[int, int], digest: bytes, found: os.stat_result, now: int) -> None:
        directory, file = at
        self._moved = self._moved or stat_row(found) != self.listing.stats.row(file)
        self.listing.set_digest(file, directory, stat_row(found), digest, racy=is_racy(found.st_ctime_ns, now))

    def _absolute(self, directory: int, file: int) -> str:
        return f"{self._root}/{self.listing.path(directory, file)}"

    # -- the present state -----------------------------------------------------------------------------------------

    def _current(self) -> Scan:
        if self._scan is None:
            with _Nominations(self._git, Path(self._root)) as nominations:
                dot_git = find_git(Path(self._root))
                if dot_git is not None and self._cache is not None and self._cache.exists():
                    nominations.ask("")  # git looks while the stored listing is loaded and directories are compared
                stored = load_scan(self._cache) if self._cache is not None else None
                holds = stored is not None and self._holds(stored, str(dot_git or ""), nominations)
            self._scan = stored if stored is not None and holds else self._anew(stored)
        return self._scan

    def _anew(self, stored: Scan | None) -> Scan:
        """Looks at everything; digests of files in the very same state are taken over."""
        from lamella.sources.census import take_census

        now = self._clock.now()
        census = take_census(Path(self._root), self._cuts, self._git, self._declared, now)
        listing = Listing.of(census.directories)
        if stored is not None:
            _take_over(stored.listing, listing)
        self._stale = True
        return Scan(listing, self._settings, census.git, census.repositories, census.witnesses)

    def _holds(self, scan: Scan, dot_git: str, nominations: _Nominations) -> bool:
        """Whether the stored listing is still complete; files in another state are marked in it."""
        if scan.settings != self._settings or scan.git != dot_git:
            return False
        for top in scan.repositories:
            nominations.ask(top)
        return self._directories_hold(scan) and self._files_hold(scan, nominations)

    def _directories_hold(self, scan: Scan) -> bool:
        listing = scan.listing
        if any(listing.racy) or any(witness(path) != state for path, state in scan.witnesses.items()):
            return False
        marks = listing.marks.rows(0, len(listing.marks))
        root = self._root
        try:
            for path, mark in zip(listing.directories, marks, strict=True):
                if not _same_directory(os.lstat(f"{root}/{path}" if path else root), mark):
                    return False
        except OSError:
            return False
        return True

    def _files_hold(self, scan: Scan, nominations: _Nominations) -> bool:
        """Looks at the files that nobody vouches for; false when a new listing is wanted."""
        listing = scan.listing
        changed = self._changed_own(listing)
        if changed is None:
            return False
        for top in scan.repositories:
            paths = nominations.of(top)
            if paths is None:
                return False
            for path in paths:
                file = listing.find(f"{top}/{path}" if top else path)
                if file is None or listing.flags[file] & OWN:
                    continue  # left out by the project's rules, gone since before, or looked at already
                parent, _, name = (f"{top}/{path}" if top else path).rpartition("/")
                rows, before = self._rows(parent, [name]), listing.stats.row(file)
                if rows is None or not _same_kind(rows[0], before):
                    return False
                if rows[0] != before:
                    changed.append((listing.number[parent], file, rows[0]))
        young = first_racy(self._clock.now())
        for directory, file, row in changed:
            listing.forget(file, directory, row, racy=row[4] >= young)
        if self._rehash(listing) or changed:
            scan.answers.clear()
            self._stale = True
        return True

    def _changed_own(self, listing: Listing) -> list[tuple[int, int, StatRow]] | None:
        """Files that git does not vouch for and whose stat row differs; None when one is gone or another thing."""
        changed: list[tuple[int, int, StatRow]] = []
        own = listing.own_files()
        number, stop = 0, 0
        while stop < len(own):
            while listing.first[number + 1] <= own[stop]:
                number += 1
            start, stop = stop, bisect_left(own, listing.first[number + 1], stop)
            files = own[start:stop]
            in_a_row = files[-1] - files[0] == len(files) - 1
            names = listing.names[files[0] : files[-1] + 1] if in_a_row else [listing.names[file] for file in files]
            found = self._rows(listing.directories[number], names)
            if found is None:
                return None
            stats = listing.stats
            expected = stats.rows(files[0], files[-1] + 1) if in_a_row else [stats.row(file) for file in files]
            if found == expected:
                continue
            for file, row, before in zip(files, found, expected, strict=True):
                if row != before:
                    if not _same_kind(row, before):
                        return None
                    changed.append((number, file, row))
        return changed

    def _rows(self, directory: str, names: list[str]) -> list[StatRow] | None:
        """Stat rows of files in one directory; None when one is gone."""
        try:
            top = os.open(f"{self._root}/{directory}" if directory else self._root, _PLACE)
            try:
                return [stat_row(os.stat(name, dir_fd=top, follow_symlinks=False)) for name in names]
            finally:
                os.close(top)
        except OSError:
            return None

    def _rehash(self, listing: Listing) -> bool:
        """Hashes again what was hashed too shortly after its last change; true when a digest differs."""
        racy = [at for at in listing.racy_files() if listing.flags[at[1]] & KNOWN]
        if not racy:
            return False
        differs = False
        now = self._clock.now()
        for directory, file in racy:
            before = listing.digest(file)
            digest, found = hash_file(f"{self._root}/{listing.path(directory, file)}")
            listing.set_digest(file, directory, stat_row(found), digest, racy=is_racy(found.st_ctime_ns, now))
            differs = differs or listing.digest(file) != before
        self._stale = True
        return differs


def _same_directory(found: os.stat_result, mark: StatRow) -> bool:
    """Whether the names in a directory are the ones of ``mark``; its size and mode do not tell."""
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns) == (mark[0], mark[1], mark[3], mark[4])


def _same_kind(one: StatRow, other: StatRow) -> bool:
    """Whether two rows are of the same kind of object and neither is a symlink, whose target would differ too."""
    return stat.S_IFMT(one[5]) == stat.S_IFMT(other[5]) == stat.S_IFREG


def _take_over(old: Listing, new: Listing) -> None:
    """Digests and merkle digests of what is in the same state in both listings."""
    same: set[int] = set()
    for number, directory in enumerate(new.directories):
        before = old.number.get(directory)
        if before is None:
            continue
        if _take_over_directory(old, before, new, number):
            same.add(number)
    for number in range(len(new.directories) - 1, -1, -1):
        before = old.number.get(new.directories[number])
        if number not in same or before is None:
            continue
        names_before = [old.directories[child] for child in old.children[before] if old.trees[child]]
        names_now = [new.directories[child] for child in new.children[number] if len(new.files_below(child))]
        kept = all(new.trees[new.number[path]] for path in names_now)
        if kept and sorted(names_before) == sorted(names_now):
            new.trees[number] = old.trees[before]


def _take_over_directory(old: Listing, before: int, new: Listing, number: int) -> bool:
    """The files of one directory; true when all are the same ones, in the same state, with known digests."""
    old_files, new_files = old.files_of(before), new.files_of(number)
    rows = {old.names[file]: file for file in old_files}
    whole = len(old_files) == len(new_files)
    for file in new_files:
        match = rows.get(new.names[file])
        if match is None or old.stats.row(match) != new.stats.row(file):
            whole = False
            continue
        if old.flags[match] & KNOWN and not old.flags[match] & RACY:
            new.flags[file] |= KNOWN
            new.flags[file] &= ~RACY
            new.digests[32 * file : 32 * (file + 1)] = old.digests[32 * match : 32 * (match + 1)]
        elif not new.is_link(file):
            whole = False
    return whole
