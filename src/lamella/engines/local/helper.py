"""The runner's end of its helper: starts it, hands it jobs, waits for answers."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from lamella.engines.local.channel import LineChannel, to_plain
from lamella.engines.local.jobs import Hello, Reply, Request, error_of
from lamella.engines.local.namespaces import IdMaps, find_id_maps, write_id_maps
from lamella.engines.local.values import OnLine
from lamella.errors import InternalError, LamellaError, SandboxError, StepError
from lamella.host.interpreter import fresh_interpreter
from lamella.process import PIPE, Process, spawn

__all__ = ["Helper"]

_START = "from lamella.engines.local.agent import main; main({})"
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(8 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""mallopt(3): pieces of a layer are a megabyte each; given back and fetched anew, they cost a tenth of writing it."""
_PATIENCE = 5.0
"""Seconds for the helper to end what runs and go."""


class Helper:
    """A running helper. ``terminal`` lets its programs use this process's terminal; then it serves one job.

    Raises SandboxError with reason and remedy when this machine cannot run steps.
    """

    def __init__(self, env: Mapping[str, str], scratch: Path, *, terminal: bool = False) -> None:
        self._replies: dict[int, queue.Queue[Reply | None]] = {0: queue.Queue()}
        self._lock = threading.Lock()
        self._next = 1
        self._closed = self._ended = False
        self._said = bytearray()
        maps = find_id_maps(os.getuid()) if os.geteuid() != 0 else None
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start(theirs.fileno(), env, terminal=terminal)
        self._channel = LineChannel(ours)
        self._reader = threading.Thread(target=self._read, daemon=True, name="sandbox-replies")
        self._reader.start()
        said = self._process.take_streams()[2]
        if said is not None:
            threading.Thread(target=self._listen, args=(said,), daemon=True, name="sandbox-stderr").start()
        try:
            self._greet(env, scratch, maps)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The helper's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take jobs."""
        return not self._closed and self._process.poll() is None

    def call(
        self, kind: str, job: Any, on_line: OnLine = lambda *_: None, cancelled: threading.Event | None = None
    ) -> dict[str, Any]:
        """Runs a job to its end; lines of output go to ``on_line``. Raises what the helper says."""
        with self._lock:
            if self._ended:
                raise self._gone()
            number, self._next = self._next, self._next + 1
            replies = self._replies[number] = queue.Queue()
        self._send(Request(number, kind, to_plain(job)))
        try:
            return self._wait(number, replies, on_line, cancelled)
        except BaseException:
            with suppress(LamellaError):
                self._send(Request(number, "cancel"))
            raise
        finally:
            with self._lock:
                self._replies.pop(number, None)

    def close(self) -> None:
        """Ends it and everything it runs; safe to call twice."""
        self._closed = True
        self._channel.shut()
        try:
            self._process.wait(_PATIENCE)
        except TimeoutError:
            self._process.end(grace=0)
        with self._process:
            self._reader.join(_PATIENCE)

    def _greet(self, env: Mapping[str, str], scratch: Path, maps: IdMaps | None) -> None:
        self._channel.send(Hello(dict(env), maps is not None, str(scratch)))
        self._expect(0, "namespaced")
        if maps is not None:
            write_id_maps(self._process.pid, os.getuid(), os.getgid(), maps, env)
        self._channel.send_line(b"mapped")
        self._expect(0, "ready")

    def _expect(self, number: int, event: str) -> None:
        reply = self._replies[number].get()
        if reply is None:
            raise self._gone()
        if reply.event == "error":
            raise error_of(reply)
        if reply.event != event:
            raise InternalError(f"the sandbox helper said {reply.event!r}, not {event!r}")

    def _wait(
        self,
        number: int,
        replies: queue.Queue[Reply | None],
        on_line: OnLine,
        cancelled: threading.Event | None,
    ) -> dict[str, Any]:
        asked = False
        while True:
            try:
                reply = replies.get(timeout=0.1 if cancelled is not None else None)
            except queue.Empty:
                if cancelled is not None and cancelled.is_set() and not asked:
                    asked = True
                    self._send(Request(number, "cancel"))
                continue
            if reply is None:
                raise self._gone()
            if reply.event == "line":
                on_line(reply.stream, reply.text)
            elif reply.event == "done":
                return reply.result
            else:
                raise error_of(reply)

    def _send(self, request: Request) -> None:
        try:
            self._channel.send(request)
        except OSError as error:
            raise self._gone() from error

    def _gone(self) -> LamellaError:
        if self._closed:
            return StepError("the step was cancelled")
        said = bytes(self._said[-4096:]).decode("utf-8", "replace").splitlines()
        return StepError(
            "the sandbox helper ended unexpectedly, and with it all running steps",
            hint="run the build again; if it was killed for lack of memory, give --jobs a smaller number",
            details=tuple(said),
        )

    def _read(self) -> None:
        with suppress(OSError, LamellaError):
            for reply in self._channel.receive(Reply):
                with self._lock:
                    replies = self._replies.get(reply.number)
                if replies is not None:
                    replies.put(reply)
        self._channel.close()
        with self._lock:
            waiting = tuple(self._replies.values())
            self._ended = True
        for replies in waiting:
            replies.put(None)

    def _listen(self, pipe: IO[bytes]) -> None:
        with pipe, suppress(OSError):
            while data := os.read(pipe.fileno(), 4096):
                self._said += data


def _start(descriptor: int, env: Mapping[str, str], *, terminal: bool) -> Process:
    """A fresh interpreter that finds modules where this one does, and has nothing else of its environment."""
    argv, found = fresh_interpreter(_START.format(descriptor))
    own = {**found, "PATH": env.get("PATH", ""), "LC_ALL": "C.UTF-8", **_KEEP_MEMORY}
    if terminal:
        return spawn(argv, env=own, pass_fds=(descriptor,), terminal=True, error=SandboxError)
    return spawn(argv, env=own, stderr=PIPE, pass_fds=(descriptor,), error=SandboxError)
