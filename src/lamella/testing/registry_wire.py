"""The in-memory registry's socket side: requests as they came, answers, and what is made to go wrong on the way."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from lamella.values import dataclass, field, replace

__all__ = ["Answer", "Fault", "Faults", "Handler", "Seen", "Served", "Server", "ranged", "refusal"]

_BODY_KEPT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a request whose path matches the expression ``path``, ``times`` times (0: always).

    ``method`` narrows it to one. ``status`` replaces the answer, and nothing is done; ``headers`` and ``body`` replace
    or add parts of it. ``cut`` closes the connection after so many bytes of the answer's body. ``stall`` sleeps so
    many seconds before the body. ``drip`` sends a byte each so many seconds. ``whole`` ignores a Range; ``shift``
    moves the start of a range. ``after`` lets requests pass first. ``taken`` closes the connection after so many
    bytes of the request's body, which an upload keeps; ``lost`` does the work and closes without an answer.
    """

    path: str
    times: int = 1
    after: int = 0
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    cut: int | None = None
    stall: float = 0.0
    drip: float = 0.0
    whole: bool = False
    shift: int = 0
    method: str = ""
    taken: int | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came. Header names are lower case; ``size`` is that of the body, of which the first 64 KiB
    are kept in the list of requests.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    size: int = 0


@dataclass(slots=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, message: str, detail: object = None) -> Answer:
    """An error in the specification's form ("Error Codes")."""
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


def ranged(data: bytes, seen: Seen) -> Answer:
    """All of ``data``, or what a Range header asks for (RFC 9110, 14)."""
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
    if wanted is None:
        return Answer(200, data, headers)
    start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
    if start > end:
        return Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return Answer(206, data[start : end + 1], headers)


class Faults:
    """The script: the first fault that matches a request and is not used up is its own. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[tuple[Fault, int]] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Adds faults to the end of the script."""
        with self._lock:
            self._faults += [(fault, 0) for fault in faults]

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault of this request, counted."""
        with self._lock:
            for index, (fault, used) in enumerate(self._faults):
                if not re.search(fault.path, path) or (fault.times and used >= fault.after + fault.times):
                    continue
                if fault.method not in ("", method):
                    continue
                self._faults[index] = (fault, used + 1)
                return fault if used >= fault.after else None
        return None


class Served(Protocol):
    """What the server asks for its answers."""

    requests: list[Seen]
    connections: int
    faults: Faults

    def answer(self, seen: Seen) -> Answer:
        """The answer when nothing goes wrong."""

    def broken_off(self, seen: Seen) -> None:
        """Only a part of the request's body came."""


class Server(ThreadingHTTPServer):
    """Threads on a free port of 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 64
    served: Served

    def get_request(self) -> tuple[socket.socket, Any]:
        """Counts the connections."""
        self.served.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""

    def handle_one_request(self) -> None:
        """Any method is the registry's to judge."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self._serve()
            self.wfile.flush()

    def _serve(self) -> None:
        served = self.server.served
        fault = served.faults.take(self.command, self.path) or Fault("")
        body = self._body(fault.taken)
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers, body, len(body))
        served.requests.append(replace(seen, body=body[:_BODY_KEPT]))
        if fault.taken is not None:
            served.broken_off(seen)
            self._hang_up()
            return
        if fault.whole or fault.shift:
            seen = replace(seen, headers=_other_range(seen.headers, fault))
        answer = Answer(fault.status) if fault.status else served.answer(seen)
        if fault.body is not None:
            answer.body = fault.body
        answer.headers.update(fault.headers)
        if fault.lost:
            self._hang_up()
        else:
            self._send(answer, fault)

    def _body(self, taken: int | None) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked()
        length = int(self.headers.get("content-length") or 0)
        return self.rfile.read(length if taken is None else min(length, taken))

    def _chunked(self) -> bytes:
        """A body of unknown length, as docker pushes (RFC 9112, 7.1)."""
        parts = []
        while size := int(self.rfile.readline(64).split(b";")[0] or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline(8)
        while self.rfile.readline(1024).strip():
            pass
        return b"".join(parts)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, answer: Answer, fault: Fault) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204 and "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if fault.stall:
            self.wfile.flush()
            time.sleep(fault.stall)
        if self.command == "HEAD":
            return
        data = answer.body if fault.cut is None else answer.body[: fault.cut]
        if fault.drip:
            for index in range(len(data)):
                self.wfile.write(data[index : index + 1])
                self.wfile.flush()
                time.sleep(fault.drip)
        else:
            self.wfile.write(data)
        if fault.cut is not None:
            self.wfile.flush()
            self.close_connection = True


def _other_range(headers: Mapping[str, str], fault: Fault) -> dict[str, str]:
    changed = dict(headers)
    wanted = changed.pop("range", "")
    if fault.shift and (start := re.search(r"\d+", wanted)):
        changed["range"] = f"bytes={int(start[0]) + fault.shift}-"
    return changed
