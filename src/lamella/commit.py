"""The one atomic commit: content appears under its final name whole and durable, or not at all.

One order for all objects (RELIABILITY S1, S3): a file without a name in the same file system
(``O_TMPFILE``, else a random name, mode 0600) → write and hash → check size and digest → fsync →
link without replacing → fsync of the directory. Never is anything created under its final name.
A snapshot (S2) is one ``syncfs``, then its small description with fsync, then one rename.

An error of write, fsync or close is final for that file: it is thrown away, nothing is retried with the
same pages, the caller starts again from the source (Rebello et al., USENIX ATC 2020).
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lamella.errors import ConfigError, IntegrityError, LamellaError, ResourceError

__all__ = [
    "CHUNK",
    "Content",
    "StagedFile",
    "commit_bytes",
    "commit_directory",
    "commit_stream",
    "disk_errors",
    "replace_file",
    "sweep_temporary_files",
    "sync_directory",
    "sync_file_system",
]

CHUNK = 1 << 20
"""Bytes read or written at once."""

TEMPORARY_PREFIX = ".incomplete-"
"""Names of temporary files where the file system has no ``O_TMPFILE``; such a file is locked while it is written."""

_BUFFER = 1 << 16
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class Content:
    """What was committed: ``digest`` and ``size`` in bytes. ``new`` is false when it was there already."""

    digest: str
    size: int
    new: bool


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
            hint="set XDG_CACHE_HOME to a place that you own",
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


class StagedFile:
    """A file being written that has no name yet; :meth:`commit` gives it one, leaving the block drops it.

    ``directory`` is a place in the same file system as the target. ``needed`` is the expected size in bytes, for
    messages. Not thread-safe. Raises ResourceError when disk, inodes or descriptors are used up.
    """

    def __init__(
        self, directory: Path, *, algorithm: str = "sha256", needed: int = 0, what: str = "writing to the store"
    ) -> None:
        self._directory = directory
        self._what = what
        self._needed = needed
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self._buffer = bytearray()
        self._size = 0
        self._name = ""
        self._sealed = False
        self._fd = -1
        with self._errors():
            self._fd = self._create()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    @property
    def digest(self) -> str:
        """Digest of the bytes written so far."""
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Takes all of ``data`` and returns its length."""
        self._hash.update(data)
        self._size += len(data)
        if len(self._buffer) + len(data) < _BUFFER:
            self._buffer += data
            return len(data)
        self._flush()
        self._write_out(data)
        return len(data)

    def commit(
        self, target: Path, *, digest: str = "", size: int | None = None, mode: int = 0o444, replace: bool = False
    ) -> bool:
        """Makes the bytes durable under ``target``; false when that exists already and ``replace`` is not set.

        Raises IntegrityError, with nothing committed, when the bytes are not those of ``digest`` and ``size``.
        """
        if not self._sealed:
            self.seal(digest=digest, size=size, mode=mode)
        with self._errors():
            made = self._give_name(target, replace)
        self.discard()
        return made

    def seal(self, *, digest: str = "", size: int | None = None, mode: int = 0o444) -> None:
        """The slow part of a commit, for who must hold a lock during the quick one: check and fsync."""
        self._flush()
        self._check(digest, size)
        with self._errors():
            os.fchmod(self._fd, mode)
            os.fsync(self._fd)
            os.close(os.dup(self._fd))  # a file system that reports write errors on close(2) does it here
        self._sealed = True

    def discard(self) -> None:
        """Drops the file unless it was committed; harmless when repeated."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        if self._name:
            with suppress(FileNotFoundError):
                os.unlink(self._directory / self._name)
            self._name = ""
        with suppress(OSError):  # what close(2) had to say was asked before the commit
            os.close(fd)

    def _create(self) -> int:
        unnamed = getattr(os, "O_TMPFILE", 0)
        if unnamed:
            try:
                return os.open(self._directory, unnamed | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if error.errno not in _NO_TMPFILE or not self._directory.is_dir():
                    raise
        return self._create_named()

    def _create_named(self) -> int:
        """A file of a random name, locked so that nobody sweeps it away as a leftover."""
        while True:
            name = f"{TEMPORARY_PREFIX}{os.urandom(12).hex()}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self._directory / name, flags, 0o600)
            _lock_whole_file(fd)
            if os.fstat(fd).st_nlink:  # else a sweep came between creation and lock
                self._name = name
                return fd
            os.close(fd)

    def _flush(self) -> None:
        if self._buffer:
            self._write_out(self._buffer)
            self._buffer = bytearray()

    def _write_out(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        with self._errors():
            while view:
                view = view[os.write(self._fd, view) :]

    def _check(self, digest: str, size: int | None) -> None:
        if size is not None and size != self._size:
            raise IntegrityError(f"{self._what}: {self._size} bytes came where {size} were promised")
        if digest and digest != self.digest:
            raise IntegrityError(f"{self._what}: the bytes have digest {self.digest} where {digest} was promised")

    def _give_name(self, target: Path, replace: bool) -> bool:
        directory = os.open(target.parent, _DIRECTORY)
        try:
            made = self._link(directory, target.name, replace)
            os.fsync(directory)  # also when it was there: whoever made it may not have come this far
        finally:
            os.close(directory)
        return made

    def _link(self, directory: int, name: str, replace: bool) -> bool:
        if replace:
            return self._rename(directory, name)
        source = self._directory / self._name if self._name else Path(f"/proc/self/fd/{self._fd}")
        try:
            os.link(source, name, dst_dir_fd=directory, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    def _rename(self, directory: int, name: str) -> bool:
        """Replaces what is there: only rename(2) does that atomically, and it wants a name."""
        if not self._name:
            self._name = f"{TEMPORARY_PREFIX}{os.urandom(12).hex()}"
            _lock_whole_file(self._fd)
            staging = os.open(self._directory, _DIRECTORY)
            try:  # with a directory handle it is linkat(2), which can follow the magic link
                os.link(f"/proc/self/fd/{self._fd}", self._name, dst_dir_fd=staging, follow_symlinks=True)
            finally:
                os.close(staging)
        os.rename(self._directory / self._name, name, dst_dir_fd=directory)
        self._name = ""
        return True

    def _errors(self) -> AbstractContextManager[None]:
        return disk_errors(self._what, self._directory, needed=max(self._needed, self._size))


def commit_bytes(
    target: Path, data: bytes, *, staging: Path | None = None, mode: int = 0o444, what: str = "writing to the store"
) -> bool:
    """Makes ``data`` durable under ``target``; false when that exists already."""
    with StagedFile(staging or target.parent, needed=len(data), what=what) as staged:
        staged.write(data)
        return staged.commit(target, mode=mode)


def commit_stream(
    chunks: Iterable[bytes],
    place: Callable[[str], Path],
    staging: Path,
    *,
    digest: str = "",
    size: int | None = None,
    what: str = "writing to the store",
) -> Content:
    """Makes a stream durable under ``place(its digest)``, which is asked when all bytes were read and checked.

    Raises IntegrityError, with nothing committed, when they are not those of ``digest`` and ``size``.
    """
    algorithm = digest.partition(":")[0] or "sha256"
    with StagedFile(staging, algorithm=algorithm, needed=size or 0, what=what) as staged:
        for chunk in chunks:
            staged.write(chunk)
            if size is not None and staged.size > size:
                raise IntegrityError(f"{what}: more than the {size} bytes that were promised")
        found, length = staged.digest, staged.size
        new = staged.commit(place(found), digest=digest, size=size)
        return Content(found, length, new)


def replace_file(
    target: Path, data: bytes, *, staging: Path | None = None, mode: int = 0o644, what: str = "writing to the store"
) -> None:
    """Replaces a pointer file (``index.json``, a record): readers see the old bytes or the new ones, never a mix."""
    with StagedFile(staging or target.parent, needed=len(data), what=what) as staged:
        staged.write(data)
        staged.commit(target, mode=mode, replace=True)


def commit_directory(staged: Path, target: Path, description: Mapping[str, bytes], *, what: str = "snapshot") -> bool:
    """Makes a staged directory durable under ``target``; false when that exists already, and ``staged`` is untouched.

    All processes that wrote there must be gone. ``description`` are small files (manifest first) that are put into
    the directory after its file system was synced: a directory without them was not committed.
    """
    with disk_errors(f"committing a {what}", target, needed=sum(map(len, description.values()))):
        sync_file_system(staged)
        for name, data in description.items():
            _write_new(staged / name, data)
        sync_directory(staged)
        try:
            os.rename(staged, target)  # replaces an empty directory only, and no committed one is empty
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            return False
        finally:
            sync_directory(target.parent)
        return True


def _write_new(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """fsync(2) of a directory: names given in it survive a power loss. Raises ResourceError when that fails."""
    with disk_errors("syncing a directory", path):
        fd = os.open(path, _DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sync_file_system(path: Path) -> None:
    """syncfs(2) of the file system of ``path``; where libc has none, sync(2) of all.

    One call for a whole tree: fsync per file costs about thirty times as much (measured with 3,000 files).
    """
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    fd = os.open(path, _DIRECTORY)
    try:
        if syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(fd)


def sweep_temporary_files(directory: Path) -> int:
    """Removes temporary files that dead writers left in ``directory``; returns their number. Live ones are locked."""
    removed = 0
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
    for name in names:
        with suppress(FileNotFoundError):
            fd = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _lock_whole_file(fd, wait=False):
                    os.unlink(directory / name)
                    removed += 1
            finally:
                os.close(fd)
    return removed


def _lock_whole_file(fd: int, *, wait: bool = True) -> bool:
    """A kernel lock that ends with this descriptor; false when somebody else has it and ``wait`` is not set."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
