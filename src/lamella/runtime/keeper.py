"""``run --detach``: a process of its own that holds the container, its layers and its lease.

It writes to a log, tells its starter by a pipe that the program runs or why it does not, and ends the program when it
gets SIGTERM or SIGINT. When it is killed, the sandbox goes with it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lamella.engines.local.channel import from_plain, to_plain
from lamella.errors import InternalError, LamellaError, SandboxError
from lamella.host.interpreter import fresh_interpreter
from lamella.process import PIPE, Process, spawn
from lamella.runtime.embedded import Launch, run_launch
from lamella.store.store import Store
from lamella.values import dataclass

__all__ = ["Kept", "main", "start_kept"]

_START = "from lamella.runtime.keeper import main; main({})"
_STARTED = b"started"


@dataclass(frozen=True, slots=True)
class Kept:
    """A container that runs on its own: ``pid`` is its keeper's process, ``log`` what it writes."""

    process: Process
    log: Path

    @property
    def pid(self) -> int:
        """Ending this process ends the container."""
        return self.process.pid


def start_kept(launch: Launch, log: Path) -> Kept:
    """Starts a keeper and waits until it has the container's mounts. Raises SandboxError with what it said."""
    import msgspec

    reader, writer = os.pipe2(os.O_CLOEXEC)
    argv, own = fresh_interpreter(_START.format(writer))
    try:
        with open(log, "wb") as out:
            process = spawn(
                argv,
                env={**own, "PATH": launch.host_env.get("PATH", "")},
                stdin=PIPE,
                stdout=out,
                stderr=out,
                pass_fds=(writer,),
                error=SandboxError,
            )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as status:
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(to_plain(launch)))
                process.stdin.close()
        word = status.read()
    if word != _STARTED:
        process.wait()
        raise SandboxError(f"the container could not be started: {word.decode() or _tail(log)}", details=(str(log),))
    return Kept(process, log)


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason was given"


def main(descriptor: int) -> None:
    """The keeper: a :class:`Launch` on standard input, its state to ``descriptor``."""
    import msgspec

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with os.fdopen(descriptor, "wb", buffering=0) as status:
        try:
            launch = _read(sys.stdin.buffer)
            with Store.open(Path(launch.store)) as store:
                status.write(_STARTED)
                status.close()
                code = run_launch(launch, store, stop)
        except (LamellaError, msgspec.MsgspecError) as error:
            with suppress(ValueError, OSError):
                status.write(str(error).encode())
            sys.stderr.write(f"lamella: {error}\n")
            code = error.exit_code if isinstance(error, LamellaError) else InternalError.exit_code
    os._exit(code)


def _read(stream: BinaryIO) -> Launch:
    import msgspec

    return from_plain(msgspec.json.decode(stream.read()), Launch)
