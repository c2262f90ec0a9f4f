"""Runs one program in the sandbox: bubblewrap, filter, limits, and the certainty that nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Self

from lamella.engines.local.bubblewrap import PROC_MASKS, BubblewrapCall, ProcMasks, bubblewrap_argv
from lamella.engines.local.limits import ControlGroup, limit_argv
from lamella.engines.local.seccomp import program
from lamella.errors import SandboxError
from lamella.host.probes import machine
from lamella.process import OnChunk, Process, run, run_inherited, spawn, which
from lamella.values import dataclass, replace

__all__ = ["Ended", "Sandbox", "Started"]

_COMPLAINT = b"bwrap: "
_NOT_STARTED = b"bwrap: execvp "


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: ``code`` as shells count (128 + signal); ``missing`` when it could not be started."""

    code: int
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """A program that runs: bubblewrap's process, and the id of the sandbox's first process (0: it never came up)."""

    process: Process
    child: int


class Sandbox:
    """What all programs in sandboxes share: the tools of the host and the filter.

    Raises SandboxError when bubblewrap is not there or no filter is known for this machine.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        found = which("bwrap", env)
        if found is None:
            raise SandboxError("bubblewrap (bwrap) is not installed", hint="as root: apt-get install bubblewrap")
        self._bwrap = found
        self._prlimit = which("prlimit", env)
        filter_ = program(machine())
        if filter_ is None:
            raise SandboxError(
                f"no system call filter is known for {machine()}", hint="use the BuildKit engine on this machine"
            )
        self._filter = os.memfd_create("lamella-seccomp", os.MFD_CLOEXEC)
        os.write(self._filter, filter_)
        self._procfs = ProcMasks(*(_existing(getattr(PROC_MASKS, name)) for name in ProcMasks.__slots__))

    def run(
        self,
        root: str,
        argv: tuple[str, ...],
        *,
        env: Mapping[str, str],
        on_chunk: OnChunk,
        cwd: str = "/",
        network: bool = False,
        shown: tuple[tuple[str, str], ...] = (),
        group: ControlGroup | None = None,
        memory: int = 0,
        processes: int = 0,
        cancelled: threading.Event | None = None,
    ) -> Ended:
        """Runs a program to its end on the mounted tree ``root``; when this returns, all it started is dead.

        ``memory`` (bytes) and ``processes`` bound each process where there is no ``group``. Raises SandboxError
        when the sandbox itself cannot be had.
        """
        with _Handles(self._filter) as handles:
            call = BubblewrapCall(
                root, argv, cwd, network, self._procfs,
                seccomp_fd=handles.filter, info_fd=handles.info[1], block_fd=handles.block[0], shown=shown,
            )  # fmt: skip
            limits = () if group else limit_argv(memory, processes, self._prlimit)
            complaint = _Complaint(on_chunk)
            with _started(handles, group):
                done = run(
                    (*limits, *bubblewrap_argv(call, self._bwrap)),
                    env=env,
                    check=False,
                    on_chunk=complaint,
                    cancelled=cancelled,
                    pass_fds=(handles.filter, handles.info[1], handles.block[0]),
                    error=SandboxError,
                )
        return complaint.judge(done.code)

    @contextmanager
    def start(
        self, call: BubblewrapCall, *, env: Mapping[str, str], group: ControlGroup | None = None
    ) -> Iterator[Started]:
        """Starts a program that runs on, with this process's own standard output and error; the block ends it.

        With ``call.terminal`` it has the standard input and the terminal too.
        """
        with _Handles(self._filter) as handles:
            full = replace(
                call,
                procfs=self._procfs,
                seccomp_fd=handles.filter,
                info_fd=handles.info[1],
                block_fd=handles.block[0],
            )
            inherited = (handles.filter, handles.info[1], handles.block[0])
            argv = bubblewrap_argv(full, self._bwrap)
            with (
                _started(handles, group) as starter,
                spawn(
                    argv, env=env, stdout=1, stderr=2, pass_fds=inherited, terminal=call.terminal, error=SandboxError
                ) as process,
            ):
                starter.finish()
                yield Started(process, starter.child)

    def shell(
        self,
        root: str,
        argv: tuple[str, ...],
        *,
        env: Mapping[str, str],
        cwd: str,
        network: bool,
        shown: tuple[tuple[str, str], ...] = (),
    ) -> int:
        """The same with this process's own terminal; gives the exit status."""
        filter_ = _fresh(self._filter)
        try:
            call = BubblewrapCall(
                root, argv, cwd, network, self._procfs, seccomp_fd=filter_, terminal=True, shown=shown
            )
            return run_inherited(bubblewrap_argv(call, self._bwrap), env=env, pass_fds=(filter_,), error=SandboxError)
        finally:
            os.close(filter_)


def _existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path for path in paths if os.path.exists(path))


class _Handles:
    """The descriptors that one bubblewrap inherits: filter, where it writes, what it waits for."""

    def __init__(self, filter_: int) -> None:
        self.filter = _fresh(filter_)
        self.info = os.pipe2(os.O_CLOEXEC)
        self.block = os.pipe2(os.O_CLOEXEC)
        self._info_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_info()
        for handle in (self.filter, self.info[0], *self.block):
            os.close(handle)

    def close_info(self) -> None:
        """Closes the writing end, so that its reader sees the end."""
        if self._info_open:
            self._info_open = False
            os.close(self.info[1])


def _fresh(filter_: int) -> int:
    """The filter's file with a position of its own: bubblewrap reads it to the end."""
    return os.open(f"/proc/self/fd/{filter_}", os.O_RDONLY | os.O_CLOEXEC)


class _Starter(threading.Thread):
    """Reads the process id of the sandbox's first process, puts it into its group, then lets it go on."""

    def __init__(self, handles: _Handles, group: ControlGroup | None) -> None:
        super().__init__(daemon=True)
        self._handles = handles
        self._group = group
        self.child = 0

    def run(self) -> None:
        """See the class."""
        text = b""
        while b"}" not in text and (data := os.read(self._handles.info[0], 4096)):
            text += data
        with suppress(ValueError, KeyError):
            self.child = int(json.loads(text)["child-pid"])
        if self.child and self._group is not None:
            with suppress(OSError):
                self._group.add(self.child)
        with suppress(OSError):
            os.write(self._handles.block[1], b"\n")

    def finish(self) -> None:
        """Waits until it is done, once bubblewrap has inherited its descriptors or never will."""
        self._handles.close_info()
        self.join()


@contextmanager
def _started(handles: _Handles, group: ControlGroup | None) -> Iterator[_Starter]:
    """A starter for what is started in the block. Afterwards, whatever happened, it uses no handle any more and
    nothing of the sandbox is left.
    """
    starter = _Starter(handles, group)
    starter.start()
    try:
        yield starter
    finally:
        starter.finish()
        _wait_gone(starter.child)


def _wait_gone(pid: int) -> None:
    """Ends the first process of a sandbox and waits for it, and with it, as the kernel promises, for all the others.

    bubblewrap may end earlier; its child is then ours, since this is the first process of the namespace around.
    """
    if pid:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class _Complaint:
    """Passes output on and keeps the start of the last error line, to tell bubblewrap's own failures apart."""

    def __init__(self, taker: OnChunk) -> None:
        self._taker = taker
        self._tail = b""

    def __call__(self, stream: int, data: bytes) -> None:
        if stream == 2:
            self._tail = (self._tail + data)[-2048:]
        self._taker(stream, data)

    def judge(self, code: int) -> Ended:
        """The end by its status; raises SandboxError when bubblewrap gave up before the program started."""
        status = code if code >= 0 else 128 - code
        line = self._tail.rstrip(b"\n").rpartition(b"\n")[2]
        if status == 1 and line.startswith(_NOT_STARTED):
            return Ended(127, missing=True)
        if status == 1 and line.startswith(_COMPLAINT):
            text = line.removeprefix(_COMPLAINT).decode("utf-8", "replace")
            raise SandboxError(f"the sandbox cannot be set up: {text}", hint="`lamella doctor` says what is missing")
        return Ended(status)
