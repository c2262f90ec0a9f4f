"""As much of HTTP/1.1 (RFC 9112) as a Docker daemon needs: one connection, one request at a time, answers in memory.

``http.client`` brings the parser of mail headers with it and takes longer to be imported than the daemon takes for all
questions of a ``--load`` together.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import BinaryIO

__all__ = ["Wire", "WireError", "tcp_connector", "unix_connector"]

_TIMEOUT = 600.0
"""Seconds without a byte; a daemon unpacks a large layer before it says a word."""
_CONNECT = 5.0
_IDLE = 5.0
"""Seconds after which a connection is not used again: somebody between here and there may have dropped it."""
_CHUNK = 1 << 18
_MAX_HEAD = 1 << 16
_MAX_BODY = 1 << 28

Connector = Callable[[], socket.socket]


class WireError(OSError):
    """An answer that is no HTTP, or ends too early."""


def unix_connector(path: str) -> Connector:
    """Connects to a socket of this machine."""

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(_CONNECT)
            made.connect(path)
        except BaseException:
            made.close()
            raise
        return made

    return connect


def tcp_connector(host: str, port: int) -> Connector:
    """Connects to a port."""
    return lambda: socket.create_connection((host, port), _CONNECT)


class Wire:
    """A connection to one daemon, made when it is needed. ``host`` is the value of the Host field. Not thread-safe."""

    def __init__(self, connect: Connector, host: str) -> None:
        self._connect = connect
        self._host = host
        self._socket: socket.socket | None = None
        self._rest = b""
        self._used = 0.0

    def close(self) -> None:
        """Closes the connection; the next request makes another one."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._rest = None, b""

    def ask(self, method: str, path: str, body: BinaryIO | None = None, size: int = 0) -> tuple[int, bytes]:
        """Status and content of one answer; ``body`` is an archive of ``size`` bytes. Raises OSError."""
        if time.monotonic() - self._used > _IDLE:
            self.close()
        try:
            if self._socket is None:
                self._socket = self._connect()
                self._socket.settimeout(_TIMEOUT)
            self._send(self._socket, method, path, body, size)
            return self._answer(self._socket)
        except BaseException:
            self.close()
            raise
        finally:
            self._used = time.monotonic()

    def _send(self, connection: socket.socket, method: str, path: str, body: BinaryIO | None, size: int) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
        if body is not None:
            head += f"Content-Type: application/x-tar\r\nContent-Length: {size}\r\n"
        connection.sendall(f"{head}\r\n".encode("ascii"))
        while body is not None and (data := body.read(_CHUNK)):
            connection.sendall(data)

    def _answer(self, connection: socket.socket) -> tuple[int, bytes]:
        status = 100
        while 100 <= status < 200:  # interim answers come before the one that counts (RFC 9110, 15.2)
            lines = self._until(connection, b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = _status(lines[0])
        pairs = (line.partition(":") for line in lines[1:])
        fields = {name.strip().lower(): value.strip().lower() for name, _, value in pairs}
        if status in (204, 304):
            data = b""
        elif fields.get("transfer-encoding") == "chunked":
            data = self._chunks(connection)
        elif "content-length" in fields:
            data = self._exactly(connection, _number(fields["content-length"], 10))
        else:
            data = self._to_end(connection)
        if fields.get("connection") == "close" or lines[0].startswith("HTTP/1.0"):
            self.close()
        return status, data

    def _chunks(self, connection: socket.socket) -> bytes:
        """RFC 9112, 7.1; extensions and trailers mean nothing here."""
        whole = bytearray()
        while size := _number(self._until(connection, b"\r\n").partition(b";")[0].decode("latin-1"), 16):
            whole += self._exactly(connection, size)
            self._until(connection, b"\r\n")
            if len(whole) > _MAX_BODY:
                raise WireError("the answer is larger than anything that was asked for")
        while self._until(connection, b"\r\n"):
            pass
        return bytes(whole)

    def _until(self, connection: socket.socket, mark: bytes) -> bytes:
        while (found := self._rest.find(mark)) < 0:
            if len(self._rest) > _MAX_HEAD:
                raise WireError("the head of the answer has no end")
            self._rest += _received(connection)
        line, self._rest = self._rest[:found], self._rest[found + len(mark) :]
        return line

    def _exactly(self, connection: socket.socket, size: int) -> bytes:
        if size > _MAX_BODY:
            raise WireError("the answer is larger than anything that was asked for")
        parts, left = [self._rest], size - len(self._rest)
        while left > 0:
            parts.append(_received(connection))
            left -= len(parts[-1])
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]

    def _to_end(self, connection: socket.socket) -> bytes:
        whole = bytearray(self._rest)
        while data := connection.recv(_CHUNK):
            whole += data
            if len(whole) > _MAX_BODY:
                raise WireError("the answer is larger than anything that was asked for")
        self.close()
        return bytes(whole)


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(_CHUNK)
    if not data:
        raise WireError("the connection ended in the middle of an answer")
    return data


def _status(line: str) -> int:
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1."):
        raise WireError("the answer is no HTTP")
    return _number(rest.partition(" ")[0], 10)


def _number(text: str, base: int) -> int:
    try:
        found = int(text.strip(), base)
    except ValueError:
        raise WireError("the answer is no HTTP") from None
    if found < 0:
        raise WireError("the answer is no HTTP")
    return found
