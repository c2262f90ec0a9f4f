"""Lines of JSON over a socket, between the runner and its helper."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from lamella.errors import InternalError

__all__ = ["LineChannel", "from_plain", "to_plain"]

T = TypeVar("T")
_LONGEST = 256 << 20


class LineChannel:
    """One end. ``send`` and ``shut`` may be called from many threads, ``receive`` and then ``close`` from one.

    A descriptor that is closed while another thread is on its way into recv(2) or send(2) may be somebody else's by
    the time it gets there. So whoever wants the end says so with ``shut``, and the one who receives closes.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lock = threading.Lock()
        self._open = threading.Lock()
        """Held while the socket is shut or closed."""
        self._rest = bytearray()

    def send(self, message: Any) -> None:
        """Sends a dataclass; raises OSError when the other end is gone."""
        import msgspec

        self.send_line(msgspec.json.encode(message))

    def send_line(self, line: bytes) -> None:
        """Sends bare text without a line end in it."""
        with self._lock:
            self._socket.sendall(line + b"\n")

    def receive(self, kind: type[T]) -> Iterator[T]:
        """Messages until the other end closes. Raises InternalError for one that is not of ``kind``."""
        import msgspec

        decoder = msgspec.json.Decoder(kind)
        for line in self.lines():
            try:
                yield decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise InternalError(f"a message between runner and helper is malformed: {error}") from error

    def lines(self) -> Iterator[bytes]:
        """Whole lines until the other end closes; what was sent by a dying end and is no whole line is dropped."""
        while True:
            end = self._rest.find(b"\n")
            while end >= 0:
                line = bytes(self._rest[:end])
                del self._rest[: end + 1]
                yield line
                end = self._rest.find(b"\n")
            try:
                data = self._socket.recv(1 << 16)
            except ConnectionResetError:
                return
            if not data:
                return
            self._rest += data
            if len(self._rest) > _LONGEST:
                raise InternalError("a message between runner and helper has no end")

    def shut(self) -> None:
        """Nothing passes any more: ``receive`` ends on both sides, ``send`` raises OSError. Harmless when repeated."""
        with self._open, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the descriptor back; for the thread that received, when it is done."""
        self.shut()  # wakes senders, who hold the lock
        with self._lock, self._open:
            self._socket.close()


def to_plain(value: Any) -> dict[str, Any]:
    """A dataclass as what JSON can hold."""
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


def from_plain(data: dict[str, Any], kind: type[T]) -> T:
    """The dataclass back; raises InternalError when it is not one of ``kind``."""
    import msgspec

    try:
        return msgspec.convert(data, kind)
    except msgspec.MsgspecError as error:
        raise InternalError(f"a message between runner and helper is malformed: {error}") from error
