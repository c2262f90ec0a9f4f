from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from lamella.testing.registry import MemoryRegistry
from lamella.transport.client import Client
from lamella.transport.retry import RetryPolicy, Timing
from lamella.transport.settings import HttpSettings


@dataclass
class FakeTime:
    """A clock that only sleeping moves, and remembers how long that was."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def timing(self) -> Timing:
        return Timing(lambda: self.now, self.sleep, lambda _, high: high)


@pytest.fixture
def server() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def client(fake_time: FakeTime) -> Iterator[Client]:
    settings = HttpSettings(connect_timeout=2.0, read_timeout=0.3)
    made = Client(settings, policy=RetryPolicy(), timing=fake_time.timing)
    yield made
    made.close()


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection what it is told; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/f"
