"""Lower directories for a step's inputs: a copy of source files, or the product as it lies in the store."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from lamella.engines.local.copying import copy_bytes
from lamella.engines.local.jobs import InputMount
from lamella.errors import HostileInputError
from lamella.graph.fileset import EntryType, FileSet, parse_fileset
from lamella.host.rooted import Rooted
from lamella.sources.staging import Times, stage_tree
from lamella.values import dataclass

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
    """A time for files, newer than ``after`` and not newer than what is written from now on; nanoseconds.

    Where the clock was set back the time lies in the future, which costs a tool that trusts times work, never
    correctness.
    """
    wanted = after + _MARGIN
    now = time.clock_gettime_ns(time.CLOCK_REALTIME)
    if 0 < wanted - (now - _MARGIN) < _PATIENCE:
        time.sleep((wanted - (now - _MARGIN)) / 1e9)
        now = time.clock_gettime_ns(time.CLOCK_REALTIME)
    return max(wanted, now - _MARGIN)


def stage_input(job: InputMount, folder: Path) -> StagedInput:
    """Brings an input into a form that can be mounted; ``folder`` is new and takes copies that go with the step.

    Raises ConfigError for a source that is gone or changed, HostileInputError for a product without the path.
    """
    if not job.fileset:
        return _product(job, folder)
    fileset = parse_fileset(Path(job.fileset).read_bytes())
    times = Times(fresh_time(job.after)) if job.touch else Times()
    only = fileset.get(job.source) if job.source else None
    if only is not None and only.type is EntryType.FILE:
        stage_tree(FileSet((only,)), Path(job.tree), folder, times=times)
        return StagedInput(str(folder / only.path), file=True)
    stage = Path(job.stage) if job.stage else folder
    ledger = stage / "ledger" if job.stage else None
    tree = stage / "tree"
    stage_tree(fileset.below(job.source), Path(job.tree) / job.source, tree, times=times, ledger=ledger)
    return StagedInput(str(tree))


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
            found = os.fstat(reader)
            writer = out.create("file", stat.S_IMODE(found.st_mode))
            try:
                copy_bytes(reader, writer)
                os.utime(writer, ns=(found.st_mtime_ns, found.st_mtime_ns))
            finally:
                os.close(writer)
    return StagedInput(str(folder / "file"), file=True)
