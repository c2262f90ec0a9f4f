"""Errors of a disk in words, and what makes names and trees durable."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lamella.errors import ConfigError, LamellaError, ResourceError

__all__ = ["DIRECTORY", "disk_errors", "sync_directory", "sync_file_system"]

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags that open a directory."""


@contextmanager
def disk_errors(what: str, path: Path, *, needed: int = 0) -> Iterator[None]:
    """Turns an OSError of the block into the error for whom must act.

    ``what`` says what was being done, ``needed`` how many bytes it wants (0: unknown). Used-up space, inodes, quota,
    descriptors and failing disks are ResourceError, a place that may not be written is ConfigError; others pass.
    """
    try:
        yield
    except OSError as error:
        known = _explained(error, what, path, needed)
        if known is None:
            raise
        raise known from error


def _explained(error: OSError, what: str, path: Path, needed: int) -> LamellaError | None:
    code = error.errno
    if code in (errno.ENOSPC, errno.EDQUOT):
        return _space_error(code == errno.EDQUOT, what, path, needed)
    if code in (errno.EMFILE, errno.ENFILE):
        whose = "this process" if code == errno.EMFILE else "the system"
        return ResourceError(
            f"{what}: {whose} has no file descriptor left",
            hint="raise the limit (ulimit -n) or lower --jobs",
        )
    if code == errno.EFBIG:
        return ResourceError(
            f"{what}: the file is larger than the file size limit ({needed or 'unknown'} bytes needed)",
            hint="raise the limit (ulimit -f)",
        )
    if code == errno.EIO:
        return ResourceError(
            f"{what}: input/output error on the file system of {path}",
            hint="nothing was committed; check the disk, then run again",
        )
    if code == errno.ENOMEM:
        return ResourceError(f"{what}: the kernel has no memory left")
    if code in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ConfigError(
            f"{what}: {path} cannot be written ({os.strerror(code).lower()})",
            hint="set LAMELLA_STORE to a place that you own",
        )
    return None


def _space_error(quota: bool, what: str, path: Path, needed: int) -> ResourceError:
    """Names bytes or inodes, whichever ran out; the numbers are the file system's at this moment."""
    found = _statvfs(path)
    want = f"{needed} bytes needed, " if needed else ""
    hint = "free some with `lamella cache gc`"
    if quota:
        return ResourceError(f"{what}: the disk quota on {path} is used up ({want.rstrip(', ') or 'size unknown'})")
    if found is not None and found.f_files and not found.f_favail:
        return ResourceError(
            f"{what}: no inodes left on the file system of {path} (1 needed, 0 of {found.f_files} free)", hint=hint
        )
    free = f"{found.f_bavail * found.f_frsize} bytes free" if found is not None else "free space unknown"
    return ResourceError(f"{what}: no space left on the file system of {path} ({want}{free})", hint=hint)


def _statvfs(path: Path) -> os.statvfs_result | None:
    """Of ``path`` or its nearest existing ancestor."""
    for candidate in (path, *path.parents):
        with suppress(OSError):
            return os.statvfs(candidate)
    return None


def sync_directory(path: Path) -> None:
    """fsync(2) of a directory: names given in it survive a power loss. Raises ResourceError when that fails."""
    with disk_errors("syncing a directory", path):
        fd = os.open(path, DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sync_file_system(path: Path) -> None:
    """syncfs(2) of the file system of ``path``; where there is none, fsync(2) of everything below.

    One call for a whole tree: fsync per file costs about thirty times as much (measured with 3,000 files). sync(2) is
    no substitute: elsewhere than on Linux it may return before anything was written (POSIX).
    """
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if sys.platform == "linux" else None
    if syncfs is None:
        _sync_each(path)
        return
    fd = os.open(path, DIRECTORY)
    try:
        if syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(fd)


def _sync_each(path: Path) -> None:
    """fsync(2) of every file and directory below ``path``, children first. What may not be read is left out."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            place = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(place).st_mode):
                _sync_one(place)
        _sync_one(folder)


def _sync_one(place: str) -> None:
    with suppress(PermissionError):
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
