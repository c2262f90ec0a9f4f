"""The runner's helper: one process per build that lives in namespaces of its own and runs jobs in threads.

Everything that touches a snapshot's directories happens here, so root and rootless are the same code, and no mount
is ever seen by anybody else. It ends when its socket closes, which the kernel does for a runner that was killed, and
as the first process of its namespace takes everything with it (RELIABILITY row 4).
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from lamella.engines.local.channel import LineChannel, from_plain, to_plain
from lamella.engines.local.jobs import (
    BootstrapJob,
    ChainJob,
    ExportJob,
    Hello,
    RemoveJob,
    Reply,
    Request,
    StepJob,
    UnpackJob,
    error_reply,
)
from lamella.engines.local.limits import sweep_groups
from lamella.engines.local.namespaces import enter, take_root
from lamella.engines.local.sandbox import Sandbox
from lamella.errors import InternalError, LamellaError

__all__ = ["NAMESPACED", "READY", "main"]

NAMESPACED, READY = "namespaced", "ready"
"""Events of number 0: the maps may be written; jobs may come."""


def main(descriptor: int) -> None:
    """Serves the socket ``descriptor`` until it closes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # of a terminal; the runner says when to end. exec(2) resets a handler
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash in a step is its own, not a file in its sources
    channel = LineChannel(socket.socket(fileno=descriptor))
    try:
        agent = _start(channel)
    except LamellaError as error:
        with suppress(OSError):
            channel.send(error_reply(0, error))
        return
    agent.serve()


def _start(channel: LineChannel) -> _Agent:
    """Namespaces first, while there is one thread; then the trial."""
    hello = next(channel.receive(Hello), None)
    if hello is None:
        raise InternalError("the runner went away before it said anything")
    enter(rootless=hello.rootless)
    channel.send(Reply(0, NAMESPACED))
    if next(channel.lines(), b"") != b"mapped":
        raise InternalError("the runner went away before ids were mapped")
    take_root(rootless=hello.rootless)
    from lamella.engines.local.trial import try_overlay

    try_overlay(hello.scratch, rootless=hello.rootless)
    sandbox = Sandbox(hello.env)
    if not hello.rootless:
        sweep_groups()
    channel.send(Reply(0, READY))
    return _Agent(channel, sandbox, hello)


class _Agent:
    """Dispatches requests to threads; each thread lives as long as what it started."""

    def __init__(self, channel: LineChannel, sandbox: Sandbox, hello: Hello) -> None:
        self._channel = channel
        self._sandbox = sandbox
        self._hello = hello
        self._jobs: dict[int, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Until the socket closes; then ends what runs and leaves."""
        for request in self._channel.receive(Request):
            if request.kind == "cancel":
                self._cancel(request.number)
            else:
                self._begin(request)
        for number in tuple(self._jobs):
            self._cancel(number)
        for thread in self._threads:
            thread.join(timeout=4)
        os._exit(0)

    def _begin(self, request: Request) -> None:
        cancelled = threading.Event()
        with self._lock:
            self._jobs[request.number] = cancelled
        thread = threading.Thread(target=self._run, args=(request, cancelled), daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _cancel(self, number: int) -> None:
        with self._lock:
            event = self._jobs.get(number)
        if event is not None:
            event.set()

    def _run(self, request: Request, cancelled: threading.Event) -> None:
        try:
            result = self._execute(request, cancelled)
            reply = Reply(request.number, "done", result=result)
        except LamellaError as error:
            reply = error_reply(request.number, error)
        except OSError as error:
            reply = error_reply(request.number, _explained(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the runner has to hear of it
            details = tuple(traceback.format_exception(error))
            reply = error_reply(request.number, InternalError(f"the sandbox helper failed: {error!r}", details=details))
        with self._lock:
            del self._jobs[request.number]
        with suppress(OSError):
            self._channel.send(reply)

    def _execute(self, request: Request, cancelled: threading.Event) -> dict[str, Any]:
        def emit(stream: int, text: str) -> None:
            self._channel.send(Reply(request.number, "line", stream, text))

        rootless = self._hello.rootless
        match request.kind:
            case "step":
                from lamella.engines.local.steprun import run_step

                job = from_plain(request.job, StepJob)
                return to_plain(run_step(job, self._sandbox, emit, cancelled, rootless=rootless))
            case "shell":
                from lamella.engines.local.steprun import run_shell

                job = from_plain(request.job, StepJob)
                return {"code": run_shell(job, self._sandbox, rootless=rootless)}
            case "container":
                from lamella.engines.local.container import ContainerJob, run_container

                container = from_plain(request.job, ContainerJob)
                return {"code": run_container(container, self._sandbox, cancelled, rootless=rootless)}
            case "bootstrap":
                from lamella.engines.local.bootstrap import run_bootstrap

                made = from_plain(request.job, BootstrapJob)
                return to_plain(run_bootstrap(made, self._hello.env, emit, cancelled, rootless=rootless))
            case _:
                return self._small(request)

    def _small(self, request: Request) -> dict[str, Any]:
        """Jobs that need no cancellation."""
        from lamella.engines.local import chains

        rootless = self._hello.rootless
        small: Mapping[str, Callable[[], dict[str, Any]]] = {
            "unpack": lambda: _unpacked(request, rootless=rootless),
            "export": lambda: _exported(request),
            "chain": lambda: chains.look(from_plain(request.job, ChainJob), self._sandbox, rootless=rootless),
            "probe": lambda: chains.probe(self._sandbox),
            "remove": lambda: chains.remove(from_plain(request.job, RemoveJob)),
        }
        if request.kind not in small:
            raise InternalError(f"the sandbox helper knows no job {request.kind!r}")
        return small[request.kind]()


def _unpacked(request: Request, *, rootless: bool) -> dict[str, Any]:
    from lamella.engines.local.unpacking import unpack

    return unpack(from_plain(request.job, UnpackJob), rootless=rootless)


def _exported(request: Request) -> dict[str, Any]:
    from lamella.engines.local.exports import export

    return to_plain(export(from_plain(request.job, ExportJob)))


def _explained(error: OSError) -> LamellaError:
    """A system error by who must act: a full disk is not a defect."""
    import errno

    from lamella.errors import ResourceError

    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        text = (error.strerror or "").lower()
        return ResourceError(f"a step cannot go on: {text}{where}", hint="`lamella cache gc` frees disk space")
    details = tuple(traceback.format_exception(error))
    return InternalError(f"the sandbox helper failed: {error.strerror}{where}", details=details)
