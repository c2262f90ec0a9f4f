"""Lower directories for a step's inputs: a copy of source files, or the product as it lies in the store."""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from lamella.engines.local.copying import PRODUCT_TIME, copy_bytes
from lamella.engines.local.jobs import InputMount
from lamella.errors import ConfigError, HostileInputError
from lamella.graph.fileset import Entry, EntryType, FileSet, parse_fileset
from lamella.host.rooted import Rooted

__all__ = ["StagedInput", "fresh_time", "stage_input"]

_MARGIN = 20_000_000
"""Nanoseconds between two times that a file system surely tells apart (its clock ticks every 1 to 10 ms)."""
_PATIENCE = 1_000_000_000
"""Nanoseconds that are worth waiting for, rather than giving files a time in the future."""


@dataclass(frozen=True, slots=True)
class StagedInput:
    """What is mounted for an input: a directory that nobody may write, or a ``file`` of the step's own."""

    path: str
    file: bool = False


def fresh_time(after: int) -> int:
    """A time for files, newer than ``after`` and not older than now; nanoseconds.

    The file system's own clock is asked, which is behind the precise one. Where the clock was set back the time lies
    in the future, which costs a tool that trusts times work, never correctness.
    """
    wanted = after + _MARGIN
    now = time.clock_gettime_ns(time.CLOCK_REALTIME)
    if 0 < wanted - now < _PATIENCE:
        time.sleep((wanted - now) / 1e9)
        now = time.clock_gettime_ns(time.CLOCK_REALTIME)
    return max(wanted, now - _MARGIN)


def stage_input(job: InputMount, folder: Path) -> StagedInput:
    """Brings an input into a form that can be mounted; ``folder`` is new and takes copies.

    Raises ConfigError for a source that is gone or changed, HostileInputError for a product without the path.
    """
    if not job.fileset:
        return _product(job, folder)
    fileset = parse_fileset(Path(job.fileset).read_bytes())
    mtime = fresh_time(job.after) if job.touch else PRODUCT_TIME
    only = fileset.get(job.source) if job.source else None
    if only is not None and only.type is EntryType.FILE:
        with Rooted(job.tree) as source, Rooted(folder) as out:
            _copy_source(source, only, out, "file", mtime)
        return StagedInput(str(folder / "file"), file=True)
    with Rooted(os.path.join(job.tree, job.source)) as source, Rooted(folder, links=False) as out:
        _copy_sources(source, fileset.below(job.source), out, mtime)
    return StagedInput(str(folder))


def _product(job: InputMount, folder: Path) -> StagedInput:
    with Rooted(job.tree) as tree:
        try:
            handle = tree.open(job.source, os.O_PATH, follow=True)
        except OSError as error:
            raise HostileInputError(f"the product for {job.target} has no {job.source}") from error
        try:
            path = os.readlink(f"/proc/self/fd/{handle}")
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                return StagedInput(path)
        finally:
            os.close(handle)
        with tree.handle(job.source, os.O_RDONLY, follow=True) as reader, Rooted(folder) as out:
            writer = out.create("file", stat.S_IMODE(os.fstat(reader).st_mode))
            try:
                copy_bytes(reader, writer)
            finally:
                os.close(writer)
            out.utime("file", PRODUCT_TIME)
    return StagedInput(str(folder / "file"), file=True)


def _copy_sources(source: Rooted, fileset: FileSet, out: Rooted, mtime: int) -> None:
    made: set[str] = set()
    for entry in fileset:
        directory = entry.path if entry.type is EntryType.DIRECTORY else entry.path.rpartition("/")[0]
        if directory not in made:
            out.mkdirs(directory)
            made.add(directory)
        if entry.type is EntryType.SYMLINK:
            out.symlink(entry.link, entry.path)
            out.utime(entry.path, mtime)
        elif entry.type is EntryType.FILE:
            _copy_source(source, entry, out, entry.path, mtime)
    for directory in sorted(made, reverse=True):
        if directory:
            out.utime(directory, mtime)


def _copy_source(source: Rooted, entry: Entry, out: Rooted, target: str, mtime: int) -> None:
    try:
        with source.handle(entry.path, os.O_RDONLY | os.O_NONBLOCK) as reader:
            writer = out.create(target, entry.mode)
            try:
                size = copy_bytes(reader, writer)
                os.utime(writer, ns=(mtime, mtime))
            finally:
                os.close(writer)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            raise
        raise ConfigError(f"source file {entry.path} cannot be read: {error.strerror}") from error
    if size != entry.size:
        raise ConfigError(f"source file {entry.path} changed while it was copied", hint="run the build again")
