from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.store import Store
from lamella.testing.clock import FixedClock
from tests.unit.store.samples import memory_folder, now_clock, open_store


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is such a place: what disks do is for the integration tests."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        yield Path(folder)


@pytest.fixture
def clock() -> FixedClock:
    return now_clock()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, clock: FixedClock, warnings: list[str]) -> Iterator[Store]:
    with open_store(tmp_path / "store", clock, warnings) as opened:
        yield opened
