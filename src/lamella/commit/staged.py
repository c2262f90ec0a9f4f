"""A file being written that has no name yet, and what dead writers leave of such files."""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lamella.commit.disk import DIRECTORY, disk_errors
from lamella.errors import IntegrityError

__all__ = ["TEMPORARY_PREFIX", "StagedFile", "sweep_temporary_files"]

TEMPORARY_PREFIX = ".incomplete-"
"""Names of temporary files where the file system has no ``O_TMPFILE``; such a file is locked while it is written."""

_BUFFER = 1 << 16
_WRITEBACK = 8 << 20
"""Bytes after which the kernel is told to begin with writing them out, so that the last fsync has little left."""
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


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
        self._out = self._begun = 0
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

    def plain_digest(self) -> str:
        """The same as :attr:`digest`: who writes here need not hash (``lamella.layers.tar.DigestingSink``)."""
        return self.digest

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
                written = os.write(self._fd, view)
                view = view[written:]
                self._out += written
        if self._out - self._begun >= _WRITEBACK:
            self._begin_writeback()

    def _begin_writeback(self) -> None:
        """Linux begins to write dirty pages of the range and, as they are not written yet, keeps them in memory.

        Only a hint: what goes wrong is reported by the fsync. (posix_fadvise(2); mm/fadvise.c.)
        """
        with suppress(OSError, AttributeError):  # not every system has it
            os.posix_fadvise(self._fd, self._begun, self._out - self._begun, os.POSIX_FADV_DONTNEED)
        self._begun = self._out

    def _check(self, digest: str, size: int | None) -> None:
        if size is not None and size != self._size:
            raise IntegrityError(f"{self._what}: {self._size} bytes came where {size} were promised")
        if digest and digest != self.digest:
            raise IntegrityError(f"{self._what}: the bytes have digest {self.digest} where {digest} was promised")

    def _give_name(self, target: Path, replace: bool) -> bool:
        directory = os.open(target.parent, DIRECTORY)
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
            staging = os.open(self._directory, DIRECTORY)
            try:  # with a directory handle it is linkat(2), which can follow the magic link
                os.link(f"/proc/self/fd/{self._fd}", self._name, dst_dir_fd=staging, follow_symlinks=True)
            finally:
                os.close(staging)
        os.rename(self._directory / self._name, name, dst_dir_fd=directory)
        self._name = ""
        return True

    def _errors(self) -> AbstractContextManager[None]:
        return disk_errors(self._what, self._directory, needed=max(self._needed, self._size))


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
