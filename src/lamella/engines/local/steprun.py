"""One step from mounts to result, inside the helper."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from lamella.engines.local.accounts import user_ids
from lamella.engines.local.chains import facts_outline
from lamella.engines.local.copying import copy_product, settle_times
from lamella.engines.local.identity import Identity, take_on
from lamella.engines.local.jobs import CommandJob, StepJob, StepReply
from lamella.engines.local.limits import ControlGroup, make_group
from lamella.engines.local.masking import Masker
from lamella.engines.local.packages import package_set
from lamella.engines.local.sandbox import Ended, Sandbox
from lamella.engines.local.steproot import StepRoot
from lamella.engines.local.writes import written_paths
from lamella.errors import ResourceError, StepError
from lamella.graph.fileset import FileSet
from lamella.graph.patterns import compile_patterns
from lamella.host.rooted import Rooted
from lamella.layers.snapshot import PRODUCT, scan_tree
from lamella.process import LineSplitter, OnChunk
from lamella.values import dataclass, replace

__all__ = ["Emit", "run_shell", "run_step"]

Emit = Callable[[int, str], None]
"""Takes one line of output: stream and text."""

CAPTURE_LIMIT = 256 << 20
"""Bytes of evidence that one command may write."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What every command of a step needs."""

    job: StepJob
    root: StepRoot
    sandbox: Sandbox
    emit: Emit
    cancelled: Event
    group: ControlGroup | None
    identity: Identity


def run_step(job: StepJob, sandbox: Sandbox, emit: Emit, cancelled: Event, *, rootless: bool) -> StepReply:
    """Runs a step and leaves its product or changes in ``job.result``, their file set beside it."""
    root = StepRoot(job, rootless=rootless)
    with root.mounted(), _group(job) as group:
        run = _prepare(job, root, sandbox, emit, cancelled, group)
        reply = _commands(run)
        if reply.failed >= 0:
            return reply
        _stamp(job)
        if job.outputs:
            _copy_outputs(job, root)
        reply = replace(reply, wrote=_written(job, root))
    folder = Path(job.folder)
    fileset = _product(job) if job.outputs else root.changes()
    (folder / "fileset").write_bytes(fileset.to_bytes())
    reply = replace(reply, fileset=str(folder / "fileset"))
    if not job.outputs and root.is_unchanged(fileset):
        reply = replace(reply, unchanged=True)
    elif not job.outputs:
        with root.chain() as whole:
            (folder / "packages").write_bytes(package_set(whole, sandbox))
            (folder / "facts").write_bytes(facts_outline(whole))
        reply = replace(reply, packages=str(folder / "packages"), facts=str(folder / "facts"))
    root.clean()
    return reply


def run_shell(job: StepJob, sandbox: Sandbox, *, rootless: bool) -> int:
    """An interactive shell with the mounts of a step; what it changes is thrown away. Its exit status."""
    root = StepRoot(job, rootless=rootless)
    with root.mounted():
        command = job.commands[0]
        identity = take_on(user_ids(root.merged, job.user))
        return sandbox.shell(
            root.merged,
            (*identity.prefix, *command.argv),
            env=command.env,
            cwd=command.cwd if root.has_directory(command.cwd) else "/",
            network=command.network,
            shown=identity.shown,
        )


def _product(job: StepJob) -> FileSet:
    fileset = scan_tree(job.result, PRODUCT)
    settle_times(job.result, fileset)
    return fileset


@contextmanager
def _group(job: StepJob) -> Iterator[ControlGroup | None]:
    group = make_group(f"{os.getpid()}-{Path(job.folder).name}", job.memory, job.processes)
    try:
        yield group
    finally:
        if group is not None:
            group.remove()


def _prepare(
    job: StepJob, root: StepRoot, sandbox: Sandbox, emit: Emit, cancelled: Event, group: ControlGroup | None
) -> _Run:
    account = user_ids(root.merged, job.user)
    root.give_secrets(account.uid, account.gid)
    return _Run(job, root, sandbox, emit, cancelled, group, take_on(account))


def _commands(run: _Run) -> StepReply:
    """All commands, one after the other, up to the first failure."""
    seconds: list[float] = []
    warnings: list[str] = []
    if run.group is None and run.job.memory:
        warnings.append("the memory limit holds for each process of the step, not for all together (no control group)")
    for number, command in enumerate(run.job.commands):
        start = time.monotonic()
        ended = _command(run, command)
        seconds.append(round(time.monotonic() - start, 3))
        if run.cancelled.is_set():
            raise StepError("the step was cancelled")
        out_of = run.group.exhausted() if run.group is not None else ""
        if ended.code:
            failed = StepReply(failed=number, code=ended.code, out_of=out_of)
            return replace(failed, seconds=tuple(seconds), warnings=tuple(warnings))
    return StepReply(seconds=tuple(seconds), warnings=tuple(warnings))


def _command(run: _Run, command: CommandJob) -> Ended:
    if not run.root.has_directory(command.cwd):
        raise StepError(f"working directory {command.cwd} is not there", hint="a step does not make it by itself")
    if command.unless and _execute(run, command, command.unless, lambda *_: None).code == 0:
        return Ended(0)
    masker = Masker(run.job.masks)

    def on_line(stream: int, line: bytes) -> None:
        shown = masker(line).rstrip(b"\r").rpartition(b"\r")[2]  # what a terminal would show of a progress line
        run.emit(stream, shown.decode("utf-8", "replace"))

    splitter = LineSplitter(on_line)
    with _capture(command.capture, splitter) as taker:
        ended = _execute(run, command, command.argv, taker)
    splitter.close()
    if ended.missing:
        run.emit(2, f"{command.argv[0]}: not found in the root file system")
    return ended


def _execute(run: _Run, command: CommandJob, argv: tuple[str, ...], taker: OnChunk) -> Ended:
    return run.sandbox.run(
        run.root.merged,
        (*run.identity.prefix, *argv),
        env=command.env,
        on_chunk=taker,
        cwd=command.cwd,
        network=command.network,
        shown=run.identity.shown,
        group=run.group,
        memory=run.job.memory,
        processes=run.job.processes,
        cancelled=run.cancelled,
    )


@contextmanager
def _capture(path: str, rest: OnChunk) -> Iterator[OnChunk]:
    """A taker that writes standard output to ``path``, when that is given, and hands on the rest."""
    if not path:
        yield rest
        return
    with open(path, "ab", buffering=1 << 16) as file:

        def take(stream: int, data: bytes) -> None:
            if stream != 1:
                rest(stream, data)
                return
            if file.tell() + len(data) > CAPTURE_LIMIT:
                raise ResourceError(f"a step wrote more than {CAPTURE_LIMIT >> 20} MiB of evidence")
            file.write(data)

        yield take


def _stamp(job: StepJob) -> None:
    """The time of a state's directory is that of its last use: what the next step's sources must be newer than."""
    for mount in job.directories:
        if mount.stamp:
            with suppress(FileNotFoundError):
                os.utime(mount.path)


def _copy_outputs(job: StepJob, root: StepRoot) -> None:
    with Rooted(root.merged) as source, Rooted(job.result, links=False) as out:
        for output in job.outputs:
            copy_product(source, output.source, out, output.target, output.source)


def _written(job: StepJob, root: StepRoot) -> tuple[str, ...]:
    """Absolute paths below binds that the step wrote: neither scratch, nor an output, nor a place for a mount."""
    is_scratch = compile_patterns(job.scratch)
    outputs = tuple(output.source.rstrip("/") for output in job.outputs)
    found: list[str] = []
    for overlay in root.overlays:
        excused = (*outputs, *(place for place in root.places if place.startswith(f"{overlay.target}/")))

        def is_allowed(path: str, target: str = overlay.target, excused: tuple[str, ...] = excused) -> bool:
            full = f"{target}/{path}"
            return is_scratch(path) or any(full == one or full.startswith(f"{one}/") for one in excused)

        paths = written_paths(overlay.upper, overlay.lowers[0], is_allowed)
        found += [f"{overlay.target}/{path}" for path in paths]
    return tuple(found)
