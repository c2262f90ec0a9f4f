from __future__ import annotations

import io
import socket

import pytest

from lamella.errors import ConfigError, RegistryError
from lamella.testing.registry import Fault, MemoryRegistry
from lamella.transport.client import Client
from lamella.transport.retry import RetryPolicy, Timing
from lamella.transport.settings import HttpSettings
from tests.unit.transport.conftest import FakeTime, answering


def test_an_answer_has_status_headers_and_body(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", b"data")
    answer = client.request("GET", url)
    assert (answer.status, answer.body, answer.headers["accept-ranges"], answer.url) == (200, b"data", "bytes", url)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(
    server: MemoryRegistry, client: Client, fake_time: FakeTime, status: int
) -> None:
    url = server.put_file("/f", b"data")
    server.script(Fault("/f", times=4, status=status))
    assert client.request("GET", url).body == b"data"
    assert len(server.requests) == 5
    assert fake_time.slept == [0.5, 1.0, 2.0, 4.0]


def test_after_five_tries_the_servers_own_words_are_shown(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", b"data")
    server.script(Fault("/f", times=0, status=503, body=b"down for\nmaintenance"))
    with pytest.raises(RegistryError, match="answered 503: down for maintenance") as caught:
        client.request("GET", url + "?token=secret")
    assert len(server.requests) == 5
    assert "secret" not in caught.value.message


def test_what_is_not_idempotent_is_sent_once(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", b"")
    server.script(Fault("/f", times=0, status=503))
    with pytest.raises(RegistryError):
        client.request("POST", url, body=b"x")
    assert len(server.requests) == 1


def test_retry_after_is_waited_for(server: MemoryRegistry, client: Client, fake_time: FakeTime) -> None:
    url = server.put_file("/f", b"data")
    server.script(Fault("/f", status=429, headers=(("Retry-After", "17"),)))
    assert client.request("GET", url).status == 200
    assert fake_time.slept == [17.0]


def test_one_deadline_holds_for_all_tries(server: MemoryRegistry, fake_time: FakeTime) -> None:
    url = server.put_file("/f", b"data")
    server.script(Fault("/f", times=0, status=429, headers=(("Retry-After", "40"),)))
    client = Client(policy=RetryPolicy(deadline=100.0), timing=fake_time.timing)
    with pytest.raises(RegistryError, match="429"):
        client.request("GET", url)
    assert fake_time.slept == [40.0, 40.0]


def test_a_connection_is_used_again_after_answers_and_refusals(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", b"x" * 100_000)
    server.script(Fault("/f", times=2, status=503, body=b"wait"), Fault("/f", status=401, body=b"who?"))
    for _ in range(3):
        client.request("GET", url)
    assert len(server.requests) == 5
    assert server.connections == 1


def test_other_refusals_are_answers(server: MemoryRegistry, client: Client) -> None:
    answer = client.request("GET", f"{server.url}/absent")
    assert answer.status == 404
    assert "answered 404" in answer.failure("fetching it").message
    assert len(server.requests) == 1


def test_a_cut_body_is_asked_for_again(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", b"x" * 1000)
    server.script(Fault("/f", cut=10))
    assert client.request("GET", url).body == b"x" * 1000


def test_a_stalling_server_is_given_up(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", b"x" * 1000)
    server.script(Fault("/f", times=0, stall=1.0))
    with pytest.raises(RegistryError, match="no data in time"):
        client.request("GET", url)


def test_a_trickle_is_given_up_though_each_byte_comes_in_time(server: MemoryRegistry) -> None:
    url = server.put_file("/f", b"x" * 200)
    server.script(Fault("/f", times=0, drip=0.02))
    ticks = iter(range(10**6))
    timing = Timing(lambda: float(next(ticks)), lambda _: None, lambda low, _: low)
    client = Client(policy=RetryPolicy(deadline=5.0), timing=timing)
    with pytest.raises(RegistryError, match="too slowly"):
        client.request("GET", url)
    client.close()


def test_a_body_over_the_limit_is_refused_and_not_asked_for_again(server: MemoryRegistry, client: Client) -> None:
    url = server.put_file("/f", b"x" * 1001)
    with pytest.raises(RegistryError, match="more than 1000 bytes"):
        client.request("GET", url, limit=1000)
    assert len(server.requests) == 1


def test_nobody_there(client: Client) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(RegistryError, match=rf"127\.0\.0\.1:{port} cannot be reached \(connection refused"):
        client.request("GET", f"http://user:secret@127.0.0.1:{port}/")


def test_credentials_stay_on_their_host(server: MemoryRegistry, client: Client) -> None:
    with MemoryRegistry() as other:
        target = other.put_file("/f", b"elsewhere")
        server.script(Fault("/f", status=307, headers=(("Location", target),)))
        answer = client.request("GET", f"{server.url}/f", headers={"Authorization": "Bearer secret", "Accept": "x/y"})
        assert answer.body == b"elsewhere"
        assert "authorization" in server.requests[0].headers
        assert "authorization" not in other.requests[0].headers
        assert other.requests[0].headers["accept"] == "x/y"


def test_credentials_follow_on_the_same_host(server: MemoryRegistry, client: Client) -> None:
    server.put_file("/g", b"here")
    server.script(Fault("/f", status=302, headers=(("Location", "/g"),)))
    client.request("GET", f"{server.url}/f", headers={"Authorization": "Bearer secret"})
    assert server.requests[1].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://a.example/x"])
def test_a_redirect_to_another_scheme_is_refused(server: MemoryRegistry, client: Client, target: str) -> None:
    server.script(Fault("/f", times=0, status=302, headers=(("Location", target),)))
    with pytest.raises(RegistryError, match="which is refused"):
        client.request("GET", f"{server.url}/f")
    assert len(server.requests) == 1


def test_redirects_in_a_circle_end(server: MemoryRegistry, client: Client) -> None:
    server.script(Fault("/f", times=0, status=302, headers=(("Location", "/f"),)))
    with pytest.raises(RegistryError, match="more than 5 times"):
        client.request("GET", f"{server.url}/f")
    assert len(server.requests) == 6


@pytest.mark.parametrize("url", ["ftp://a.example/", "http://", "no url", "file:///etc/passwd"])
def test_only_http_urls_are_asked(client: Client, url: str) -> None:
    with pytest.raises(ConfigError, match="not an http or https URL"):
        client.request("GET", url)


def test_a_proxy_is_used_and_gets_its_login(server: MemoryRegistry, fake_time: FakeTime) -> None:
    server.put_file("/f", b"by proxy")
    settings = HttpSettings(http_proxy=f"http://me:s3cret@{server.address}")
    client = Client(settings, timing=fake_time.timing)
    server.script(Fault("a.example", body=b"by proxy", status=200))
    assert client.request("GET", "http://a.example/f").body == b"by proxy"
    assert server.requests[0].path == "http://a.example/f"
    assert server.requests[0].headers["proxy-authorization"] == "Basic bWU6czNjcmV0"
    client.close()


def test_a_ca_bundle_that_is_none_is_said(tmp_path: object, fake_time: FakeTime) -> None:
    from pathlib import Path

    bundle = Path(str(tmp_path)) / "ca.pem"
    bundle.write_text("no certificate")
    client = Client(HttpSettings(ca_bundle=bundle), timing=fake_time.timing)
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be used"):
        client.request("GET", "https://127.0.0.1:1/")


def test_plain_http_where_tls_is_wanted_is_said(server: MemoryRegistry, client: Client, fake_time: FakeTime) -> None:
    with pytest.raises(RegistryError, match="does not speak TLS") as caught:
        client.request("GET", server.url.replace("http:", "https:"))
    assert "LAMELLA_INSECURE_REGISTRIES" in caught.value.hint
    assert fake_time.slept == []


def test_an_unknown_name_is_not_asked_for_again(
    client: Client, fake_time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*args: object, **kwargs: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(RegistryError, match="the name is not known") as caught:
        client.request("GET", "https://registry.invalid/")
    assert caught.value.exit_code == 6
    assert fake_time.slept == []


def test_a_refusal_that_comes_while_the_body_is_sent_is_read(client: Client) -> None:
    """A server that has seen enough answers and hangs up; what it said must not be lost in the broken pipe."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nquota")

    size = 30_000_000
    with (
        answering(refuse) as url,
        client.open("PUT", url, headers={"Content-Length": str(size)}, body=io.BytesIO(bytes(size))) as opened,
    ):
        assert opened.response().body == b"quota"
        assert opened.status == 413
