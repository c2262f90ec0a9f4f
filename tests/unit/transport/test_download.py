from __future__ import annotations

import random
import socket

import pytest

from lamella.errors import AuthError, IntegrityError, LamellaError, RegistryError
from lamella.testing.registry import Fault, MemoryRegistry
from lamella.transport.client import Client, Response
from lamella.transport.download import download
from tests.unit.transport.conftest import FakeTime, answering

DATA = random.Random(1).randbytes(300_000)


def fetched(client: Client, url: str, size: int | None = len(DATA)) -> bytes:
    return b"".join(download(client, url, size=size, limit=1 << 20))


@pytest.mark.parametrize("cut", [*range(0, 300_000, 16_000), 299_999])
def test_a_download_goes_on_where_it_was_cut(server: MemoryRegistry, client: Client, cut: int) -> None:
    url = server.put_file("/f", DATA)
    server.script(Fault("/f", cut=cut))
    assert fetched(client, url) == DATA
    if cut:
        assert server.requests[1].headers["range"] == f"bytes={cut}-"


def test_it_may_be_cut_again_and_again_as_long_as_something_comes(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", DATA)
    server.script(Fault("/f", times=20, cut=10_000))
    assert fetched(client, url) == DATA
    assert len(server.requests) == 21


def test_without_progress_it_is_given_up(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", DATA)
    server.script(Fault("/f", cut=1000), Fault("/f", times=0, cut=0))
    with pytest.raises(RegistryError, match="broke off"):
        fetched(client, url)
    assert len(server.requests) == 1 + 4


def test_a_server_that_knows_no_range_starts_over_and_no_byte_comes_twice(
    server: MemoryRegistry, client: Client
) -> None:
    url = server.put_file("/f", DATA)
    server.script(Fault("/f", cut=100_000), Fault("/f", whole=True))
    assert fetched(client, url) == DATA


def test_another_range_than_the_one_asked_for_is_refused(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", DATA)
    server.script(Fault("/f", cut=1000), Fault("/f", times=0, shift=-5))
    with pytest.raises(RegistryError, match="another range"):
        fetched(client, url)


def test_a_file_that_became_shorter_is_an_error(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", DATA)
    server.script(Fault("/f", cut=1000), Fault("/f", times=0, status=416))
    with pytest.raises(RegistryError, match="fewer bytes than it gave before"):
        fetched(client, url)


@pytest.mark.parametrize("promised", [1000, len(DATA) + 1])
def test_another_length_than_promised_is_an_error_before_a_byte_is_read(
    server: MemoryRegistry, client: Client, promised: int
) -> None:
    url = server.put_file("/f", DATA)
    with pytest.raises(IntegrityError, match=f"{len(DATA)} bytes are announced where {promised} were promised"):
        fetched(client, url, promised)
    assert len(server.requests) == 1


def test_more_than_promised_is_an_error_at_once_where_no_length_is_announced(client: Client) -> None:
    def more(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA)

    with answering(more) as url, pytest.raises(RegistryError, match="more than the 1000 bytes"):
        fetched(client, url, 1000)


def test_less_than_promised_is_an_error_where_no_length_is_announced(client: Client) -> None:
    def less(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA[:10])

    with answering(less) as url, pytest.raises(RegistryError, match="ended after 10 bytes"):
        fetched(client, url, 1000)


def test_without_a_size_the_limit_holds(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", DATA)
    with pytest.raises(RegistryError, match="more than the 4096 bytes"):
        list(download(client, url, limit=4096))


def test_server_errors_in_the_middle_are_waited_out(
    server: MemoryRegistry, client: Client, fake_time: FakeTime
) -> None:
    url = server.put_file("/f", DATA)
    server.script(
        Fault("/f", cut=1000), Fault("/f", status=503, headers=(("Retry-After", "9"),)), Fault("/f", status=502)
    )
    assert fetched(client, url) == DATA
    assert fake_time.slept == [0.5, 9.0, 2.0]


def test_a_refusal_is_judged_by_who_asked(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", DATA)
    server.script(Fault("/f", cut=1000), Fault("/f", status=401), Fault("/f", times=0, status=403))
    tokens = iter(("first", "second", "third"))
    current = next(tokens)

    def judge(answer: Response) -> LamellaError | None:
        nonlocal current
        if answer.status == 403:
            return AuthError("no")
        current = next(tokens)
        return None

    chunks = download(
        client, url, headers=lambda: {"Authorization": current}, size=len(DATA), limit=1 << 20, on_refusal=judge
    )
    with pytest.raises(AuthError, match="no"):
        list(chunks)
    assert [seen.headers["authorization"] for seen in server.requests] == ["first", "first", "second"]
    assert server.requests[2].headers["range"] == "bytes=1000-"
