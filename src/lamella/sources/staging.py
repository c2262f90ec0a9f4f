"""Stages: a step's own persistent copy of the source files it may see (DESIGN 7b.2).

Files are copied or cloned (reflink), never hard-linked: a chmod inside a step would change the original. Every copy
is checked against its entry, so a file that changed after it was keyed is an error and never a wrong build. A stage
that is used again is brought up to date: only what differs is copied, what is no longer selected is removed.

The stage's ledger, a file beside it, holds what was put there and in which state it was left; what a step changed
behind our back is seen by that and put right.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lamella.commit import disk_errors, replace_file
from lamella.errors import ConfigError, InternalError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Rooted
from lamella.sources.hashing import open_regular, unreadable
from lamella.values import dataclass, field

__all__ = ["STABLE_BASE", "Staged", "Times", "stable_time", "stage_tree"]

STABLE_BASE = 1_000_000_000
"""Seconds since the epoch (2001-09-09) of the earliest stable time."""

_STABLE_SPAN = 1 << 29
"""Seconds, up to 2018: a file from the future would be newer than everything that is made of it."""

_FICLONE = 0x40049409
"""ioctl_ficlone(2)."""

_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Times:
    """Modification times in a stage: all ``at`` nanoseconds since the epoch, or, with None, stable ones.

    A stable time follows from the content (:func:`stable_time`): equal content has equal times in every stage, other
    content has, but for one chance in half a billion, other times. A constant would make tools that trust size and time
    (BuildKit's context transfer among them) take old bytes for new ones.
    """

    at: int | None = None

    def of(self, content: str) -> int:
        """Nanoseconds for something with this digest or link target."""
        return self.at if self.at is not None else stable_time(content)


@dataclass(frozen=True, slots=True)
class Staged:
    """What was done: files copied with their bytes, and paths removed."""

    copied: int
    bytes: int
    removed: int


def stable_time(content: str) -> int:
    """A time in nanoseconds that follows from a digest: a fixed base plus the digest modulo 2^29 seconds."""
    number = int(hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:16], 16)
    return (STABLE_BASE + number % _STABLE_SPAN) * 10**9


def stage_tree(files: FileSet, source: Path, destination: Path, *, times: Times, ledger: Path | None = None) -> Staged:
    """Makes ``destination`` hold exactly ``files``, copied from below ``source``. Directories get mode 0755.

    ``ledger`` is where the state of the stage is kept between uses, outside of it; without one all is compared by
    content. Files get their entry's mode and belong to the caller. The caller holds the stage for itself.

    Raises ConfigError when a file of ``source`` is no longer what its entry says, ResourceError when the disk is full.
    """
    with disk_errors("staging the sources of a step", destination, needed=files.size):
        destination.mkdir(mode=0o755, parents=True, exist_ok=True)
        known = _read_ledger(ledger)
        if ledger is not None:
            ledger.unlink(missing_ok=True)  # a stage that was left half way has none, and is compared by content
        with Rooted(destination, links=False) as stage:
            work = _Stage(stage, str(source), times, known)
            staged = work.fill(files)
        if ledger is not None:
            data = json.dumps(work.ledger, separators=(",", ":"), ensure_ascii=True).encode()
            replace_file(ledger, data, what="staging the sources of a step")
        return staged


_State = list[int]
"""inode, size, mtime_ns, ctime_ns of a staged file as it was left."""


@dataclass(slots=True)
class _Tree:
    """One directory of what is wanted."""

    directories: dict[str, _Tree] = field(default_factory=dict)
    files: dict[str, Entry] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """What the directory's own stable time follows from: the names in it."""
        return "\0".join(sorted([*self.directories, *self.files]))


def _tree(entries: Iterable[Entry]) -> _Tree:
    root = _Tree()
    for entry in entries:
        *parents, name = entry.path.split("/")
        node = root
        for part in parents:
            node = node.directories.setdefault(part, _Tree())
        if entry.type is EntryType.DIRECTORY:
            node.directories.setdefault(name, _Tree())
        elif entry.type in (EntryType.FILE, EntryType.SYMLINK):
            node.files[name] = entry
        else:
            raise InternalError(f"{entry.path}: a source tree holds files and symlinks only, not {entry.type.name}")
    return root


class _Stage:
    """One filling of a stage, directory by directory, each by its handle."""

    def __init__(self, stage: Rooted, source: str, times: Times, known: Mapping[str, tuple[str, _State]]) -> None:
        self.ledger: dict[str, tuple[str, _State]] = {}
        self._stage = stage
        self._source = source
        self._times = times
        self._known = known
        self._clones = True
        self._copied = self._bytes = self._removed = 0

    def fill(self, files: FileSet) -> Staged:
        pending: list[tuple[str, _Tree]] = [("", _tree(files))]
        visited: list[tuple[str, _Tree]] = []
        while pending:
            path, tree = pending.pop()
            self._directory(path, tree)
            visited.append((path, tree))
            pending += [(f"{path}/{name}".lstrip("/"), below) for name, below in tree.directories.items()]
        for path, tree in reversed(visited):  # last, because each file made in a directory moved its time
            with self._stage.handle(path, _DIRECTORY) as handle:
                moment = self._times.of(tree.content)
                os.utime(handle, ns=(moment, moment))
        return Staged(self._copied, self._bytes, self._removed)

    def _directory(self, path: str, tree: _Tree) -> None:
        with self._stage.handle(path, _DIRECTORY) as handle:
            if stat.S_IMODE(os.fstat(handle).st_mode) != 0o755:
                os.fchmod(handle, 0o755)
            there = {name: os.lstat(name, dir_fd=handle) for name in os.listdir(handle)}
            for name, found in there.items():
                if not _fits(name, found, tree):
                    self._stage.remove_tree(f"{path}/{name}".lstrip("/"))
                    self._removed += 1
            for name in tree.directories:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=handle)
            for name, entry in tree.files.items():
                if entry.type is EntryType.SYMLINK:
                    self._link(handle, name, entry)
                elif not self._untouched(entry, there.get(name)):
                    self._file(handle, name, entry)

    def _link(self, handle: int, name: str, entry: Entry) -> None:
        with suppress(FileNotFoundError):
            if os.readlink(name, dir_fd=handle) != entry.link:
                os.unlink(name, dir_fd=handle)
        with suppress(FileExistsError):
            os.symlink(entry.link, name, dir_fd=handle)
        moment = self._times.of(entry.link)
        os.utime(name, ns=(moment, moment), dir_fd=handle, follow_symlinks=False)

    def _untouched(self, entry: Entry, found: os.stat_result | None) -> bool:
        """Whether the stage has the file exactly as it was left and as it is wanted."""
        row = self._known.get(entry.path)
        if found is None or row is None or row != (entry.digest, _state(found)) or found.st_nlink != 1:
            return False
        if stat.S_IMODE(found.st_mode) != entry.mode or found.st_mtime_ns != self._times.of(entry.digest):
            return False
        self.ledger[entry.path] = row
        return True

    def _file(self, handle: int, name: str, entry: Entry) -> None:
        fd = self._kept(handle, name, entry)
        if fd is None:
            fd = self._copy(handle, name, entry)
        try:
            os.fchmod(fd, entry.mode)
            moment = self._times.of(entry.digest)
            os.utime(fd, ns=(moment, moment))
            self.ledger[entry.path] = (entry.digest, _state(os.fstat(fd)))
        finally:
            os.close(fd)

    def _kept(self, handle: int, name: str, entry: Entry) -> int | None:
        """A descriptor of the staged file when it already holds the entry's bytes."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
        except (FileNotFoundError, PermissionError):
            return None
        found = os.fstat(fd)
        same = found.st_size == entry.size and found.st_nlink == 1
        if same and self._known.get(entry.path) != (entry.digest, _state(found)):
            same = _digest(fd) == entry.digest
        if same:
            return fd
        os.close(fd)
        return None

    def _copy(self, handle: int, name: str, entry: Entry) -> int:
        """Copies one file under a new inode and gives a descriptor of it. Raises ConfigError when it has changed."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=handle)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=handle)
        try:
            with _opened(f"{self._source}/{entry.path}") as source:
                digest = _digest(fd) if self._clones and self._clone(source, fd) else _transfer(source, fd, entry)
            if digest != entry.digest:
                raise ConfigError(
                    f"{entry.path} changed after it was read for the key of this step",
                    hint="end what writes there, then run it again",
                )
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                os.unlink(name, dir_fd=handle)
            raise
        self._copied += 1
        self._bytes += entry.size
        return fd

    def _clone(self, source: int, target: int) -> bool:
        """Shares the bytes copy-on-write; false, and not tried again, where the file system cannot."""
        try:
            import fcntl

            fcntl.ioctl(target, _FICLONE, source)
        except (ImportError, OSError):
            self._clones = False  # a copy follows, and says what is wrong if that was a real fault
        return self._clones


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = open_regular(path)
    try:
        yield fd
    finally:
        os.close(fd)


def _fits(name: str, found: os.stat_result, tree: _Tree) -> bool:
    """Whether what is there under a name is wanted, and of the right kind."""
    if stat.S_ISDIR(found.st_mode):
        return name in tree.directories
    entry = tree.files.get(name)
    if entry is None:
        return False
    return stat.S_ISLNK(found.st_mode) if entry.type is EntryType.SYMLINK else stat.S_ISREG(found.st_mode)


def _transfer(source: int, target: int, entry: Entry) -> str:
    """Copies the bytes and gives their digest; stops when there are more than the entry has."""
    running, length = hashlib.sha256(), 0
    while length <= entry.size:
        try:
            data = os.read(source, min(_CHUNK, entry.size + 1 - length))
        except OSError as error:
            raise unreadable(entry.path, error) from error
        if not data:
            break
        running.update(data)
        length += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
    return f"sha256:{running.hexdigest()}"


def _digest(fd: int) -> str:
    running, at = hashlib.sha256(), 0
    while data := os.pread(fd, _CHUNK, at):
        running.update(data)
        at += len(data)
    return f"sha256:{running.hexdigest()}"


def _state(found: os.stat_result) -> _State:
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _read_ledger(path: Path | None) -> Mapping[str, tuple[str, _State]]:
    """The ledger of a stage; empty when there is none or it is torn."""
    if path is None:
        return {}
    try:
        rows = json.loads(path.read_bytes())
        return {str(name): (str(digest), [int(part) for part in state]) for name, (digest, state) in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
