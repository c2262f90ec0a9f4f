"""From directories to file sets: a step's product, and what an overlay's upper directory changed.

Everything is read by handles below the root, nothing is followed. Times, sockets and extended attributes other
than file capabilities are left out: they are no part of what a layer means.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import BoundedSemaphore
from typing import Self

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import HostileInputError, IntegrityError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Found, Rooted
from lamella.layers.capability import CAPABILITY, plain_capability
from lamella.layers.overlay import LowerView, check_upper_xattrs, is_opaque, is_whiteout
from lamella.values import dataclass, replace

__all__ = ["KEEP", "PRODUCT", "ScanOptions", "hard_links", "scan_tree", "scan_upper"]

_LARGE = 256 * 1024
"""Bytes from which hashing in a second thread is worth its hand-over: hashing frees the interpreter lock."""

_OPEN_FILES = 64
"""Large files open at once, waiting for a thread."""

_CHUNK = 1 << 20
_DIRECTORY_MODE, _FILE_MODE, _PROGRAM_MODE = 0o755, 0o644, 0o755

_Scanned = Entry | Future[Entry] | None
"""One object's entry, its future while it is hashed, or nothing where no layer can hold it."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """What a scan normalises: ``owners`` to 0:0, ``modes`` to 0755 for directories and programs, 0644 else."""

    owners: bool
    modes: bool
    threads: int = 4


PRODUCT = ScanOptions(owners=True, modes=True)
"""For products of steps: the same for two users and two umasks."""

KEEP = ScanOptions(owners=False, modes=False)
"""Owners and modes as they are: for changes of a root file system."""


def scan_tree(root: str | os.PathLike[str] | int, options: ScanOptions = PRODUCT, *, below: str = "") -> FileSet:
    """The file set of a directory (path or handle), or of ``below`` in it, with paths relative to that.

    Raises IntegrityError for a file that changes while it is read, HostileInputError below 256 directories.
    """
    with Rooted(root, links=False) as rooted, _Hasher(options.threads) as hasher:
        return _collect(_scan_one(item, options, hasher) for item in rooted.walk(below)).below(below)


def scan_upper(upper: str | os.PathLike[str] | int, lowers: Iterable[str | os.PathLike[str] | int]) -> FileSet:
    """What an overlay mount changed, as a layer: its upper directory against the lower ones, topmost first.

    A 0/0 character device, and a socket, which no layer holds, become a whiteout and an opaque directory an opaque
    one, but only over something that a lower directory shows there. Owners are as the caller sees them, so rootless
    results are read inside the user namespace. Raises HostileInputError for an upper directory made with redirect_dir
    or metacopy.
    """
    with ExitStack() as stack:
        rooted = stack.enter_context(Rooted(upper, links=False))
        below = LowerView(tuple(stack.enter_context(Rooted(lower, links=False)) for lower in lowers))
        changes = _Changes(below, stack.enter_context(_Hasher(KEEP.threads)))
        return _collect(changes.entry(item) for item in rooted.walk())


def hard_links(root: str | os.PathLike[str] | int, fileset: FileSet) -> tuple[tuple[str, ...], ...]:
    """Groups of a file set's paths that are one file below ``root``: what the tar writer takes as ``links``.

    Only entries that agree in everything are grouped, so options of the scan cannot make a wrong link.
    """
    groups: dict[tuple[int, int], list[str]] = {}
    with Rooted(root, links=False) as rooted:
        for item in rooted.walk():
            if stat.S_ISREG(item.stat.st_mode) and item.stat.st_nlink > 1:
                groups.setdefault((item.stat.st_dev, item.stat.st_ino), []).append(item.path)
    wanted = (tuple(sorted(path for path in paths if fileset.get(path))) for paths in groups.values())
    return tuple(sorted(group for group in wanted if len(group) > 1 and _agree(group, fileset)))


def _agree(group: tuple[str, ...], fileset: FileSet) -> bool:
    rows = [entry.to_row()[1:] for path in group if (entry := fileset.get(path)) is not None]
    return all(row == rows[0] for row in rows)


class _Hasher:
    """Hashes large files beside the walk; small ones at once, where handing over would cost more."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._open = BoundedSemaphore(_OPEN_FILES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def file(self, item: Found, mode: int, owner: tuple[int, int]) -> Entry | Future[Entry]:
        """The entry of a regular file with size, digest and capability."""
        try:
            handle = os.open(item.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=item.parent)
        except OSError as error:
            raise IntegrityError(f"file {item.path!r} cannot be read: {error.strerror}") from error
        if item.stat.st_size < _LARGE or self._threads < 2:
            return _read_file(handle, item, mode, owner)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="hash")
        self._open.acquire()
        future = self._pool.submit(_read_file, handle, item, mode, owner)
        future.add_done_callback(lambda _: self._open.release())
        return future


def _read_file(handle: int, item: Found, mode: int, owner: tuple[int, int]) -> Entry:
    """Reads by an open handle, which is closed; sees a change by the handle's own status before and after."""
    try:
        digest, size = hashlib.sha256(), 0
        while part := os.read(handle, _CHUNK):
            digest.update(part)
            size += len(part)
        xattrs = _capability(handle)
        after = os.fstat(handle)
    finally:
        os.close(handle)
    if size != after.st_size or _identity(after) != _identity(item.stat):
        raise IntegrityError(
            f"file {item.path!r} changed while it was read", hint="nothing may write there; run it again"
        )
    return Entry(item.path, EntryType.FILE, mode, *owner, size, f"sha256:{digest.hexdigest()}", xattrs=xattrs)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _capability(handle: int) -> FrozenMap[str, str]:
    """The file capability of an open file in its plain form; empty when there is none."""
    if not hasattr(os, "getxattr"):  # Linux has it, and file capabilities
        return EMPTY_MAP
    try:
        value = os.getxattr(handle, CAPABILITY)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return EMPTY_MAP
        raise
    return FrozenMap({CAPABILITY: plain_capability(value).hex()})


class _Changes:
    """Turns the objects of an upper directory into a layer's entries; they must come parents first."""

    def __init__(self, below: LowerView, hasher: _Hasher) -> None:
        self._below = below
        self._hasher = hasher
        self._hidden = ""

    def entry(self, item: Found) -> _Scanned:
        inside_opaque = bool(self._hidden) and item.path.startswith(self._hidden)
        if is_whiteout(item.stat) or stat.S_ISSOCK(item.stat.st_mode):
            needed = not inside_opaque and self._below.shows(item.path)
            return Entry(item.path, EntryType.WHITEOUT, 0) if needed else None
        entry = _scan_one(item, KEEP, self._hasher)
        if not (item.is_directory or stat.S_ISREG(item.stat.st_mode)):
            return entry
        path = f"/proc/self/fd/{item.parent}/{item.name}"
        names = check_upper_xattrs(item.path, os.listxattr(path, follow_symlinks=False))
        if isinstance(entry, Entry) and item.is_directory and not inside_opaque and is_opaque(path, names):
            self._hidden = f"{item.path}/"
            # The kernel marks every new directory; it means something only over one that was there.
            return replace(entry, type=EntryType.OPAQUE) if self._below.shows_directory(item.path) else entry
        return entry


def _collect(found: Iterable[_Scanned]) -> FileSet:
    """A file set of what was scanned, waiting for what is still being hashed."""
    scanned = [item for item in found if item is not None]
    return FileSet.of(item.result() if isinstance(item, Future) else item for item in scanned)


def _scan_one(item: Found, options: ScanOptions, hasher: _Hasher) -> _Scanned:
    """The entry of one object; a future for a large file, None for what no layer can hold."""
    status = item.stat
    kind = stat.S_IFMT(status.st_mode)
    uid, gid = (0, 0) if options.owners else (status.st_uid, status.st_gid)
    mode = stat.S_IMODE(status.st_mode)
    if kind == stat.S_IFREG:
        normal = _PROGRAM_MODE if mode & 0o100 else _FILE_MODE
        return hasher.file(item, normal if options.modes else mode, (uid, gid))
    if kind == stat.S_IFDIR:
        return Entry(item.path, EntryType.DIRECTORY, _DIRECTORY_MODE if options.modes else mode, uid, gid)
    if kind == stat.S_IFLNK:
        target = os.readlink(item.name, dir_fd=item.parent)
        return Entry(item.path, EntryType.SYMLINK, 0o777, uid, gid, link=target)
    if kind == stat.S_IFSOCK:
        return None
    if kind == stat.S_IFIFO:
        return Entry(item.path, EntryType.FIFO, mode, uid, gid)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        type_ = EntryType.CHAR_DEVICE if kind == stat.S_IFCHR else EntryType.BLOCK_DEVICE
        return Entry(item.path, type_, mode, uid, gid, device=device)
    raise HostileInputError(f"{item.path!r} is of an unknown kind")
