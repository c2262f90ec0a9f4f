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
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lamella.commit.disk import disk_errors, sync_directory, sync_file_system
from lamella.commit.staged import TEMPORARY_PREFIX, StagedFile, sweep_temporary_files
from lamella.errors import IntegrityError
from lamella.values import dataclass

__all__ = [
    "CHUNK",
    "TEMPORARY_PREFIX",
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


@dataclass(frozen=True, slots=True)
class Content:
    """What was committed: ``digest`` and ``size`` in bytes. ``new`` is false when it was there already."""

    digest: str
    size: int
    new: bool


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
