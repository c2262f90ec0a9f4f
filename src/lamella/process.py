"""The one place that starts processes.

Programs get an argument list, never a shell string, and exactly the environment they are handed. Each runs in a
session of its own, so that a time limit or an interrupt ends it with everything it started. A failure carries
the command in a form that can be pasted, and the end of what it said.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import IO, BinaryIO, Self

from lamella.errors import LamellaError, ResourceError, StepError
from lamella.values import dataclass

__all__ = [
    "PIPE",
    "SYSTEM_PATH",
    "Completed",
    "LineSplitter",
    "OnChunk",
    "Process",
    "base_env",
    "go_on_in_child",
    "interrupts_left_to_programs",
    "paste",
    "run",
    "run_inherited",
    "spawn",
    "which",
]

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs of the system are, also those that an ordinary user's PATH leaves out."""

STDOUT, STDERR = 1, 2
PIPE = subprocess.PIPE
"""For ``spawn``: a stream of the program that this process writes to or reads from."""
KEEP_BYTES = 256 << 20
"""Output kept of one stream when nobody takes it in pieces; more is an error, never cut silently."""
TAIL_BYTES = 64 << 10
"""Output kept of one stream when it is taken in pieces."""

_GRACE = 2.0
"""Seconds between asking a process to end and ending it, and for a left-over writer to close a pipe."""
_POLL = 0.1
_READ = 1 << 16

OnChunk = Callable[[int, bytes], None]
"""Takes a piece of output: stream 1 or 2, and its bytes. Called from the thread that called ``run``."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A process that ended: ``code`` is its exit status, negative the signal that ended it.

    ``stdout`` and ``stderr`` are whole, or their last 64 KiB when the output was taken in pieces.
    """

    argv: tuple[str, ...]
    code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def text(self) -> str:
        """Standard output as text without the trailing line end."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


class LineSplitter:
    """Turns pieces of output into whole lines, per stream; a line longer than 64 KiB is given in pieces."""

    def __init__(self, on_line: OnChunk) -> None:
        self._on_line = on_line
        self._rest: dict[int, bytes] = {}

    def __call__(self, stream: int, data: bytes) -> None:
        """Takes a piece."""
        *lines, rest = (self._rest.get(stream, b"") + data).split(b"\n")
        for line in lines:
            self._on_line(stream, line)
        while len(rest) > TAIL_BYTES:
            self._on_line(stream, rest[:TAIL_BYTES])
            rest = rest[TAIL_BYTES:]
        self._rest[stream] = rest

    def close(self) -> None:
        """Gives what came after the last line end."""
        for stream, rest in sorted(self._rest.items()):
            if rest:
                self._on_line(stream, rest)
        self._rest.clear()


def paste(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """The command as one line for a shell."""
    import shlex

    text = shlex.join(argv)
    return f"cd {shlex.quote(str(cwd))} && {text}" if cwd is not None else text


def base_env(source: Mapping[str, str], keep: Iterable[str], extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment of those variables of ``source`` that ``keep`` names, with ``extra`` laid over it.

    A name in ``keep`` that ends in ``*`` stands for every variable that starts so.
    """
    exact = {name for name in keep if not name.endswith("*")}
    prefixes = tuple(name[:-1] for name in keep if name.endswith("*"))
    kept = {name: value for name, value in source.items() if name in exact or (prefixes and name.startswith(prefixes))}
    return {**kept, **(extra or {})}


def which(program: str, env: Mapping[str, str] | None = None) -> str | None:
    """The path of a program on ``env``'s PATH, then where the system keeps its own; None when it is not there."""
    if os.name != "posix":
        import shutil

        return shutil.which(program)
    if "/" in program:
        return program if _is_runnable(program) else None
    folders = f"{(env or {}).get('PATH', '')}:{SYSTEM_PATH}".split(":")
    return next((path for folder in folders if folder and _is_runnable(path := f"{folder}/{program}")), None)


def _is_runnable(path: str) -> bool:
    return os.access(path, os.X_OK) and os.path.isfile(path)


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes | BinaryIO | None = None,
    timeout: float | None = None,
    check: bool = True,
    on_chunk: OnChunk | None = None,
    on_line: OnChunk | None = None,
    cancelled: threading.Event | None = None,
    pass_fds: tuple[int, ...] = (),
    die_with_parent: bool = False,
    error: type[LamellaError] = StepError,
    hint: str = "",
) -> Completed:
    """Runs a program to its end.

    ``stdin`` None is an empty input. ``on_chunk`` or ``on_line`` take the output as it comes; then only its end is
    kept. ``timeout`` is in seconds. When ``cancelled`` is set, or an exception such as KeyboardInterrupt passes,
    the program and all of its session are ended first.

    Raises ``error`` (with ``hint``) when it cannot be started or, with ``check``, when it fails; ResourceError when
    its time is used up.
    """
    process = spawn(
        argv,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
        die_with_parent=die_with_parent,
        error=error,
        hint=hint,
    )
    splitter = LineSplitter(on_line) if on_line else None
    with process:
        taker = on_chunk or splitter
        stdout, stderr = _Kept(STDOUT, taker), _Kept(STDERR, taker)
        _pump(process, stdin if isinstance(stdin, bytes) else None, (stdout, stderr), timeout, cancelled)
        code = process.wait()
    if splitter:
        splitter.close()
    done = Completed(tuple(argv), code, stdout.data, stderr.data)
    if check and code != 0:
        raise _failure(done, cwd, error, hint)
    return done


def run_inherited(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    pass_fds: tuple[int, ...] = (),
    error: type[LamellaError] = StepError,
    hint: str = "",
) -> int:
    """Runs a program on this process's own terminal and gives its exit status (128 + signal as shells count).

    Interrupts of the terminal are the program's to answer while it runs.
    """
    with (
        interrupts_left_to_programs(),
        _started(argv, env=env, cwd=cwd, pass_fds=pass_fds, session=False, error=error, hint=hint) as popen,
    ):
        code = popen.wait()
    return _shell_code(code)


@contextmanager
def interrupts_left_to_programs() -> Iterator[None]:
    """Inside the block an interrupt of the terminal is answered by the programs that share it, not by this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)  # exec(2) resets a handler, but keeps "ignored"
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Process:
    """A started program, in a session of its own unless it shares the terminal.

    Leaving the ``with`` block ends it and whatever it started.
    """

    def __init__(self, argv: tuple[str, ...], popen: subprocess.Popen[bytes], *, session: bool = True) -> None:
        self.argv = argv
        self._popen = popen
        self._session = session

    @property
    def pid(self) -> int:
        """Its process id; with a session of its own also the id of that and of its process group."""
        return self._popen.pid

    @property
    def stdin(self) -> IO[bytes] | None:
        """The writing end when it was started with a pipe."""
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """The reading end when it was started with a pipe."""
        return self._popen.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        """The reading end when it was started with a pipe."""
        return self._popen.stderr

    def take_streams(self) -> tuple[IO[bytes] | None, IO[bytes] | None, IO[bytes] | None]:
        """Hands its pipes (input, output, errors) to the caller, who closes each in the thread that uses it.

        Closing a pipe while another thread reads it frees its number, and the read may then take what belongs to
        the next program that was started.
        """
        streams = (self._popen.stdin, self._popen.stdout, self._popen.stderr)
        self._popen.stdin = self._popen.stdout = self._popen.stderr = None
        return streams

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._popen.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end; raises TimeoutError after ``timeout`` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def signal(self, number: int) -> None:
        """Sends a signal to its whole process group; nothing happens when it has ended."""
        if self._popen.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            if os.name != "posix":
                self._popen.terminate()
            elif self._session:
                os.killpg(self._popen.pid, number)
            else:
                self._popen.send_signal(number)

    def end(self, grace: float = _GRACE) -> int:
        """Asks the group to end (SIGTERM), after ``grace`` seconds ends it (SIGKILL), and gives the exit status."""
        if self.poll() is None and grace > 0:
            self.signal(signal.SIGTERM)
            with suppress(TimeoutError):
                return self.wait(grace)
        if self.poll() is None:
            self.signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            self.end()
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: int | IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    pass_fds: tuple[int, ...] = (),
    die_with_parent: bool = False,
    terminal: bool = False,
    error: type[LamellaError] = StepError,
    hint: str = "",
) -> Process:
    """Starts a program that runs on; the caller ends it, best by ``with``.

    Streams are descriptors, open files or ``PIPE``; None is ``/dev/null``, or with ``terminal`` this process's own,
    whose session it then shares. With ``die_with_parent`` the kernel kills it when the *thread* that called this ends
    (prctl(2), PR_SET_PDEATHSIG; Linux, needs setpriv(1)).

    Raises ``error`` when it cannot be started.
    """
    real = argv
    if die_with_parent and sys.platform == "linux":
        setpriv = which("setpriv")
        if setpriv is None:
            raise error("setpriv is not installed", hint="install the package util-linux")
        real = (setpriv, "--pdeathsig", "KILL", "--", *argv)
    popen = _started(
        real,
        env=env,
        cwd=cwd,
        streams=tuple(
            subprocess.DEVNULL if stream is None and not terminal else stream for stream in (stdin, stdout, stderr)
        ),
        pass_fds=pass_fds,
        session=not terminal,
        error=error,
        hint=hint,
    )
    return Process(tuple(argv), popen, session=not terminal)


def _started(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    streams: tuple[int | IO[bytes] | None, ...] = (None, None, None),
    pass_fds: tuple[int, ...],
    session: bool,
    error: type[LamellaError],
    hint: str,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            pass_fds=pass_fds,
            start_new_session=session and os.name == "posix",
        )
    except FileNotFoundError as cause:
        if cwd is not None and not cwd.is_dir():
            raise error(f"{argv[0]} cannot start in {cwd}: no such directory", hint=hint) from cause
        raise error(f"{argv[0]} is not installed or not on PATH", hint=hint) from cause
    except OSError as cause:
        raise error(
            f"{argv[0]} cannot be started: {(cause.strerror or str(cause)).lower()}",
            hint=hint,
            details=(paste(argv, cwd=cwd),),
        ) from cause


class _Kept:
    """One stream's output: all of it, or handed on with only the end kept."""

    def __init__(self, stream: int, taker: OnChunk | None) -> None:
        self.stream = stream
        self._taker = taker
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def take(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._taker is not None:
            while self._size - len(self._pieces[0]) >= TAIL_BYTES:
                self._size -= len(self._pieces.popleft())
            self._taker(self.stream, data)
        elif self._size > KEEP_BYTES:
            raise ResourceError(f"a program wrote more than {KEEP_BYTES >> 20} MiB of output that is kept in memory")

    @property
    def data(self) -> bytes:
        whole = b"".join(self._pieces)
        return whole if self._taker is None else whole[-TAIL_BYTES:]


def _pump(
    process: Process,
    stdin: bytes | None,
    kept: tuple[_Kept, _Kept],
    timeout: float | None,
    cancelled: threading.Event | None,
) -> None:
    """Feeds input and takes output until both pipes are closed; ends the process when it must not go on."""
    pieces: queue.Queue[tuple[int, bytes | OSError]] = queue.Queue()
    source, *sinks = process.take_streams()
    for index, pipe in enumerate(sinks):
        threading.Thread(target=_read_all, args=(pipe, index, pieces), daemon=True).start()
    if stdin is not None:
        threading.Thread(target=_write_all, args=(source, stdin), daemon=True).start()
    deadline = None if timeout is None else monotonic() + timeout
    given_up: float | None = None
    open_pipes = 2
    while open_pipes:
        if cancelled is not None and cancelled.is_set():
            process.end()
            return
        if deadline is not None and monotonic() > deadline:
            process.end()
            raise ResourceError(f"{process.argv[0]} did not end within {timeout:g} s", details=(paste(process.argv),))
        try:
            index, data = pieces.get(timeout=_POLL)
        except queue.Empty:
            if process.poll() is not None:  # somebody else holds the pipe: a daemon that it left behind
                given_up = given_up or monotonic() + _GRACE
                if monotonic() > given_up:
                    return
            continue
        if isinstance(data, OSError):
            raise ResourceError(f"the output of {process.argv[0]} cannot be read: {data.strerror}") from data
        if data:
            kept[index].take(data)
        else:
            open_pipes -= 1


def _read_all(pipe: IO[bytes], index: int, pieces: queue.Queue[tuple[int, bytes | OSError]]) -> None:
    """Takes what a pipe gives until its end and closes it; an error goes the same way as data."""
    with pipe:
        try:
            while data := os.read(pipe.fileno(), _READ):
                pieces.put((index, data))
            pieces.put((index, b""))
        except OSError as error:
            pieces.put((index, error))


def _write_all(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError, ValueError):
        pipe.write(data)
    with suppress(OSError, ValueError):
        pipe.close()


def _failure(done: Completed, cwd: Path | None, error: type[LamellaError], hint: str) -> LamellaError:
    said = (done.stderr.strip() or done.stdout.strip()).decode("utf-8", "replace").splitlines()[-20:]
    how = f"signal {signal_name(-done.code)}" if done.code < 0 else f"exit status {done.code}"
    return error(f"{Path(done.argv[0]).name} failed with {how}", hint=hint, details=(paste(done.argv, cwd=cwd), *said))


def go_on_in_child() -> None:
    """Forks; the child returns, this process waits for it and ends as it does.

    After unshare(2) with CLONE_NEWPID the child is the first process of the new namespace, and the kernel ends every
    other one in there with it. Only for a process with one thread.
    """
    child = os.fork()
    if child:
        os._exit(_shell_code(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


def _shell_code(code: int) -> int:
    """An exit status as shells count: 128 + signal."""
    return code if code >= 0 else 128 - code


def signal_name(number: int) -> str:
    """``SIGKILL`` of 9; the number as text where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
