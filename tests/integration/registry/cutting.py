"""A TCP proxy that cuts connections after so many bytes of the client's, as networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence


class Cutter:
    """Leads from ``address`` to a server; the first connections that carry more than the next of ``cuts`` are cut.

    ``carried`` is what each cut connection had carried by then.
    """

    def __init__(self, target: str, cuts: Sequence[int]) -> None:
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._cuts = list(cuts)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.carried: list[int] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        _hang_up(sink)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 14):
                carried += len(data)
                server.sendall(data)
                with self._lock:
                    if self._cuts and carried > self._cuts[0]:
                        self._cuts.pop(0)
                        self.carried.append(carried)
                        _hang_up(client)
                        break
        _hang_up(server)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextlib.contextmanager
def cutting(target: str, *cuts: int) -> Iterator[Cutter]:
    """A cutter for the time of a block."""
    cutter = Cutter(target, cuts)
    try:
        yield cutter
    finally:
        cutter.close()
