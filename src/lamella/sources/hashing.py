"""Digests of files that may change while they are read (RELIABILITY row 38)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from operator import attrgetter

from lamella.errors import ConfigError, ResourceError

__all__ = [
    "SETTLED_SECONDS",
    "StatRow",
    "first_racy",
    "hash_file",
    "hash_unchanged",
    "is_racy",
    "open_regular",
    "stat_row",
    "unreadable",
    "witness",
]

SETTLED_SECONDS = 2
"""A file is trusted by its times only when its last change is older: file systems tick in up to two seconds."""

StatRow = tuple[int, int, int, int, int, int]
"""device, inode, size in bytes, mtime_ns, ctime_ns, st_mode of one object."""

_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)  # planning runs where some of them are unknown
_TRIES = 4
_PAUSE = 0.05
_WHOLE = 1 << 20
"""Files up to this many bytes are read at once."""


stat_row: Callable[[os.stat_result], StatRow] = attrgetter(
    "st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode"
)
"""The parts of a stat result that tell one state of an object from another; called for each file of a tree."""


def is_racy(ctime_ns: int, now: int) -> bool:
    """Whether an object changed so shortly before ``now`` (seconds) that a later change could have equal times.

    Only ctime counts: programs may set mtime, nobody sets ctime. A ctime in the future (the clock was set back) is
    never trusted.
    """
    return ctime_ns >= first_racy(now)


def first_racy(now: int) -> int:
    """The earliest change, in nanoseconds, that is racy for a look at ``now``; see :func:`is_racy`."""
    return (now - SETTLED_SECONDS) * 10**9


def unreadable(path: str, error: OSError) -> ConfigError | ResourceError:
    """The error for a path of the project that cannot be read."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return ResourceError(f"{path}: no file descriptor left", hint="raise the limit (ulimit -n) or lower --jobs")
    if isinstance(error, FileNotFoundError):
        return ConfigError(f"{path} vanished while the project was read", hint="run it again when nothing changes it")
    why = (error.strerror or str(error)).lower()
    hint = "make it readable, or exclude it with `ignore` in lamella.toml or with .dockerignore"
    return ConfigError(f"{path} cannot be read: {why}", hint=hint)


def open_regular(path: str) -> int:
    """A read descriptor of a regular file; never through a symlink and never waiting for a FIFO's writer.

    Raises ConfigError.
    """
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _changing(path) from error
        raise unreadable(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _changing(path)
    return fd


def hash_unchanged(path: str, row: StatRow) -> bytes | None:
    """The sha256 of a small file that is still in the state ``row`` after it was read; None when it is not."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        data = os.read(fd, row[2] + 1)
        after = os.fstat(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    return hashlib.sha256(data).digest() if len(data) == row[2] and stat_row(after) == row else None


def hash_file(path: str) -> tuple[bytes, os.stat_result]:
    """The sha256 of a regular file and the state of the open file that it belongs to.

    The open file is looked at before and after; one that changed meanwhile is read again. Raises ConfigError when
    it does not come to rest or cannot be read.
    """
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        fd = open_regular(path)
        try:
            before = os.fstat(fd)
            digest, size = _digest(fd, before.st_size)
            after = os.fstat(fd)
        except OSError as error:
            raise unreadable(path, error) from error
        finally:
            os.close(fd)
        if size == after.st_size and _times(before) == _times(after):
            return digest, after
    raise _changing(path)


def _digest(fd: int, size: int) -> tuple[bytes, int]:
    """Digest and length of what a descriptor gives; ``size`` bytes are expected."""
    if size <= _WHOLE:
        data = os.read(fd, size + 1)
        if len(data) == size:
            return hashlib.sha256(data).digest(), size
        os.lseek(fd, 0, os.SEEK_SET)
    running, length = hashlib.sha256(), 0
    while data := os.read(fd, _WHOLE):
        running.update(data)
        length += len(data)
    return running.digest(), length


def _times(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _changing(path: str) -> ConfigError:
    return ConfigError(
        f"{path} changes while it is read",
        hint="end what writes there, or exclude it with `ignore` in lamella.toml or with .dockerignore",
    )


def witness(path: str) -> tuple[int | str, ...]:
    """The state of a file that something depends on: stat row and last 32 bytes (an index ends in its own digest)."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ()
        with open(path, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            file.seek(max(0, found.st_size - 32))
            return (*stat_row(found), file.read(32).hex())
    except OSError:
        return ()
