"""Questions to a program from outside, over a real server."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lamella.errors import ConfigError, SandboxError
from lamella.oci.platform import Platform
from lamella.runtime.embedded import check_embedded
from lamella.runtime.health import is_answering, probe, wait_until_healthy
from lamella.runtime.settings import RunFlags
from lamella.runtime.values import Health
from tests.unit.runtime.test_settings import container


class Clock:
    """Each look is a second later."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> int:
        return int(self._now)

    def monotonic(self) -> float:
        self._now += 1.0
        return self._now


class Handler(http.server.BaseHTTPRequestHandler):
    """``/healthz`` is well, everything else is not."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def closed() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_good_answer_is_healthy(port: int) -> None:
    assert probe(Health(port, "/healthz")) == ""
    assert probe(Health(port)) == ""


def test_a_bad_answer_says_its_status(port: int) -> None:
    assert probe(Health(port, "/")) == "status 503"


@pytest.mark.parametrize("path", ["", "/healthz"])
def test_no_answer_says_why(closed: int, path: str) -> None:
    assert "refused" in probe(Health(closed, path))


def test_it_is_asked_until_the_answer_is_good() -> None:
    answers = iter(["refused", "status 503", ""])
    ended = threading.Event()
    found = wait_until_healthy(Health(1), Clock(), seconds=60, ended=ended, ask=lambda _: next(answers))
    assert found == (True, "")


def test_after_the_time_the_last_word_counts() -> None:
    found = wait_until_healthy(Health(1), Clock(), seconds=3, ended=threading.Event(), ask=lambda _: "status 503")
    assert found == (False, "status 503")


def test_a_program_that_has_ended_is_not_asked() -> None:
    ended = threading.Event()
    ended.set()
    assert wait_until_healthy(Health(1), Clock(), seconds=3, ended=ended) == (False, "the program has ended")


def test_a_port_in_use_is_refused_before_the_start(port: int, closed: int) -> None:
    assert (is_answering(port), is_answering(closed)) == (True, False)
    check_embedded(container(RunFlags(publish=(f"{closed}:{closed}",))))
    with pytest.raises(ConfigError, match="in use already"):
        check_embedded(container(RunFlags(publish=(f"{port}:{port}",))))


@pytest.mark.parametrize("flags", [RunFlags(publish=("81:80",)), RunFlags(network="my-net")])
def test_what_needs_a_network_of_its_own_is_refused_with_the_way_out(flags: RunFlags) -> None:
    with pytest.raises(SandboxError) as caught:
        check_embedded(container(flags))
    assert "--engine docker" in caught.value.hint


def test_an_image_of_a_platform_that_nothing_here_runs_is_refused() -> None:
    made = container()
    foreign = replace(made.image, config=replace(made.image.config, platform=Platform("linux", "s390x")))
    with pytest.raises(SandboxError, match="is for linux/s390x"):
        check_embedded(replace(made, image=foreign))
