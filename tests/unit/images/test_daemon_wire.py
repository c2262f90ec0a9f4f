"""What comes from a Docker daemon's socket is read as RFC 9112 says, and what is no answer is an error."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from lamella.errors import RegistryError
from lamella.images.daemon import find_api
from lamella.images.daemon_wire import Wire, WireError, tcp_connector, unix_connector
from tests.unit.images.daemons import OK, Daemon, read_request

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


Serve = Callable[..., Daemon]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[Daemon] = []

    def start(*connections: list[bytes]) -> Daemon:
        running.append(Daemon(tmp_path / f"{len(running)}.sock", list(connections)))
        return running[-1]

    yield start
    for daemon in running:
        daemon.close()


WireTo = Callable[[Daemon], Wire]


@pytest.fixture
def wire_to() -> Iterator[WireTo]:
    """Wires that are closed at the end of a test."""
    with ExitStack() as stack:

        def made(daemon: Daemon) -> Wire:
            return stack.enter_context(closing(Wire(unix_connector(str(daemon.path)), "docker")))

        yield made


@pytest.mark.parametrize(
    ("answer", "status", "data"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length:2\r\n\r\n{}", 404, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
        (CHUNKED + b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 200, b"abc0123456789"),
        (CHUNKED + b"0\r\nDigest: none\r\n\r\n", 200, b""),
    ],
)
def test_all_forms_of_an_answer(serve: Serve, wire_to: WireTo, answer: bytes, status: int, data: bytes) -> None:
    wire = wire_to(serve([answer, OK]))
    assert wire.ask("GET", "/a") == (status, data)
    assert wire.ask("GET", "/b") == (200, b"{}")  # nothing of the first one is left on the connection


def test_an_answer_that_ends_with_the_connection(serve: Serve, wire_to: WireTo) -> None:
    wire = wire_to(serve([b"HTTP/1.0 200 OK\r\n\r\nall of it"], [OK]))
    assert wire.ask("GET", "/a") == (200, b"all of it")
    assert wire.ask("GET", "/b") == (200, b"{}")


def test_a_daemon_that_closes_is_connected_to_again(serve: Serve, wire_to: WireTo) -> None:
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
    wire = wire_to(serve([last], [OK]))
    assert wire.ask("GET", "/a") == (200, b"x")
    assert wire.ask("GET", "/b") == (200, b"{}")


def test_an_archive_is_sent_with_its_length(serve: Serve, wire_to: WireTo) -> None:
    daemon = serve([OK])
    body = bytes(range(256)) * 3000
    assert wire_to(daemon).ask("POST", "/images/load", io.BytesIO(body), len(body))[0] == 200
    head, _, sent = daemon.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /images/load HTTP/1.1\r\nHost: docker\r\n")
    assert b"Content-Type: application/x-tar" in head
    assert sent == body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"zz\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 fine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000,
    ],
)
def test_what_is_no_answer_is_an_error(serve: Serve, wire_to: WireTo, answer: bytes) -> None:
    with pytest.raises(WireError):
        wire_to(serve([answer])).ask("GET", "/a")


def test_the_next_request_after_an_error_has_a_connection_of_its_own(serve: Serve, wire_to: WireTo) -> None:
    wire = wire_to(serve([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"], [OK]))
    with pytest.raises(WireError):
        wire.ask("GET", "/a")
    assert wire.ask("GET", "/b") == (200, b"{}")


def test_a_daemon_over_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        wire = Wire(tcp_connector("127.0.0.1", port), "docker")

        def answer() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as file:
                read_request(file)
                connection.sendall(OK)

        thread = threading.Thread(target=answer)
        thread.start()
        assert wire.ask("GET", "/_ping") == (200, b"{}")
        thread.join()
        wire.close()


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:99999", "tcp://:2375", "ssh://somewhere"])
def test_an_address_that_only_the_program_understands(host: str) -> None:
    assert find_api({"DOCKER_HOST": host}) is None


def test_a_daemon_that_is_gone_is_said(tmp_path: Path) -> None:
    (tmp_path / "d.sock").touch()
    api = find_api({"DOCKER_HOST": f"unix://{tmp_path}/d.sock"})
    assert api is not None
    assert not api.is_answering()
    with pytest.raises(RegistryError, match="does not answer"):
        api.image("shop:dev")
