from __future__ import annotations

from collections.abc import Iterator
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
