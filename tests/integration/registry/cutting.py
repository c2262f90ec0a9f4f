"""A TCP proxy that cuts connections after so many bytes of the client's, as networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence


class Cutter:
    """Leads from ``address`` to a server; the first connections that carry more than the next of ``cuts`` are cut.

    ``carried`` is what each cut connection had carried by then. With ``heard`` a client is cut only when the server
    has taken all that and hung up, so nothing is lost in a socket's buffer, and the server's last words are not
    carried back; without, both are cut at once.
    """

    def __init__(self, target: str, cuts: Sequence[int], heard: bool = False) -> None:
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._cuts = list(cuts)
        self._heard = heard
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
                cut = threading.Event()
                answers = threading.Thread(target=self._copy, args=(server, client, cut), daemon=True)
                answers.start()
                threading.Thread(target=self._forward, args=(client, server, answers, cut), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not cut.is_set():
                    sink.sendall(data)
        _hang_up(sink)

    def _forward(
        self, client: socket.socket, server: socket.socket, answers: threading.Thread, cut: threading.Event
    ) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 14):
                carried += len(data)
                server.sendall(data)
                with self._lock:
                    if self._cuts and carried > self._cuts[0]:
                        self._cuts.pop(0)
                        self.carried.append(carried)
                        cut.set()
                        break
            if cut.is_set() and self._heard:
                server.shutdown(socket.SHUT_WR)
                answers.join(timeout=60)
        if cut.is_set():
            _hang_up(client)
        _hang_up(server)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextlib.contextmanager
def cutting(target: str, *cuts: int, heard: bool = False) -> Iterator[Cutter]:
    """A cutter for the time of a block."""
    cutter = Cutter(target, cuts, heard)
    try:
        yield cutter
    finally:
        cutter.close()
