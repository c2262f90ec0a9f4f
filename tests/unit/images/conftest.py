from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.store import Store
from tests.unit.store.samples import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store") as opened:
        yield opened
