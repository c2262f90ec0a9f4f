"""Kernel locks on files: flock(2), which ends with its holder. No PID is ever asked whether it lives (RELIABILITY S6).

A lock belongs to an open file, so threads of one process exclude each other too. A lock file may be removed by
whoever holds it exclusively: a waiter notices that its file lost its name and opens the new one.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lamella.errors import ConfigError, ResourceError, StoreBusyError

__all__ = ["OnWait", "file_system_type", "hold", "holders", "is_network_type", "lock_directory", "try_lock"]

OnWait = Callable[[str, float], None]
"""Called with what is waited for and the seconds waited, at once and then every second; may raise to give up."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "smb3"}
)
"""Where flock may mean nothing to another machine, or nothing at all."""

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1
_OCTAL = re.compile(r"\\([0-7]{3})")


@contextmanager
def hold(
    path: Path,
    *,
    shared: bool = False,
    timeout: float | None = None,
    on_wait: OnWait | None = None,
    what: str = "",
) -> Iterator[int]:
    """Holds the lock file ``path``, made when missing; gives its descriptor.

    Raises StoreBusyError when it is not had within ``timeout`` seconds (None: waits as long as the holder lives).
    """
    fd = _acquire(path, shared, timeout, on_wait, what or path.name)
    try:
        yield fd
    finally:
        os.close(fd)


def try_lock(path: Path, *, shared: bool = False, create: bool = True) -> int | None:
    """The descriptor of a lock had at once, to be closed by the caller; None when somebody else has it.

    Without ``create`` a missing file raises FileNotFoundError.
    """
    while True:
        fd = _open(path, create)
        if not _flock(fd, shared):
            os.close(fd)
            return None
        if _still_named(fd, path):
            return fd
        os.close(fd)


def lock_directory(path: Path) -> int | None:
    """Locks an existing directory itself, without waiting; its descriptor, or None when somebody else has it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if _flock(fd, shared=False):
        return fd
    os.close(fd)
    return None


def _acquire(path: Path, shared: bool, timeout: float | None, on_wait: OnWait | None, what: str) -> int:
    start = told = time.monotonic()
    pause = _FIRST_PAUSE
    while True:
        fd = try_lock(path, shared=shared)
        if fd is not None:
            return fd
        now = time.monotonic()
        if timeout is not None and now - start >= timeout:
            raise _busy(path, what, timeout)
        if on_wait is not None and (told == start or now - told >= 1):
            on_wait(what, now - start)
            told = now
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _busy(path: Path, what: str, timeout: float) -> StoreBusyError:
    pids = ", ".join(map(str, holders(path)))
    return StoreBusyError(
        f"{what} is still in use after {timeout:g} s" + (f" by process {pids}" if pids else ""),
        hint="wait for the other run to end, or end it; a lock goes with its process",
    )


def _open(path: Path, create: bool) -> int:
    """A descriptor of the lock file; read-only where it may not be written, which is enough for flock(2)."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            with suppress(FileNotFoundError):
                return os.open(path, flags | os.O_RDONLY)
            raise ConfigError(f"lock file {path} cannot be made: {os.strerror(error.errno).lower()}") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
            raise ResourceError(f"lock file {path} cannot be opened: {os.strerror(error.errno).lower()}") from error
        raise


def _flock(fd: int, shared: bool) -> bool:
    import fcntl  # not on Windows, where this module must still import

    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_named(fd: int, path: Path) -> bool:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def holders(path: Path) -> tuple[int, ...]:
    """Processes that hold ``path``, for messages only: from proc_locks(5), empty where that is not to be had."""
    try:
        wanted = os.stat(path).st_ino
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return ()
    rows = [line.split() for line in lines if " FLOCK " in line and "->" not in line]
    return tuple(sorted({int(row[4]) for row in rows if row[5].rpartition(":")[2] == str(wanted)}))


def file_system_type(path: Path) -> str:
    """The type of the file system of an existing path as proc_pid_mountinfo(5) names it; empty when unknown."""
    try:
        device = os.stat(path).st_dev
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    wanted, real, best = f"{os.major(device)}:{os.minor(device)}", os.path.realpath(path), ("", "")
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if fields[2] == wanted:
            return right.split(" ")[0]
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, right.split(" ")[0])  # btrfs shows another device number in stat(2) than here
    return best[1]


def is_network_type(kind: str) -> bool:
    """Whether on a file system of this type locks may not hold against other machines."""
    return kind in NETWORK_FILE_SYSTEMS
