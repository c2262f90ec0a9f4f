"""A Docker daemon of a few lines: it listens on a socket and says what a test wrote down."""

from __future__ import annotations

import io
import socket
import threading
from pathlib import Path

__all__ = ["OK", "Daemon", "read_request"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Daemon:
    """Listens on a socket and sends what it is told: an item of a connection's list for each request on it."""

    def __init__(self, path: Path, connections: list[list[bytes]]) -> None:
        self.path = path
        self.requests: list[bytes] = []
        self._connections = connections
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for answers in self._connections:
            connection, _ = self._listening.accept()
            with connection, connection.makefile("rb") as file:
                for answer in answers:
                    self.requests.append(read_request(file))
                    connection.sendall(answer)

    def close(self) -> None:
        self._listening.close()


def read_request(file: io.BufferedReader) -> bytes:
    head = b"".join(iter(file.readline, b"\r\n"))
    fields = dict(line.split(b": ", 1) for line in head.splitlines()[1:])
    return head + b"\r\n" + file.read(int(fields.get(b"Content-Length", b"0")))
