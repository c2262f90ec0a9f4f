from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamella.registry.credentials import Credential
from lamella.testing.registry import MemoryRegistry
from tests.unit.cache.machines import Machine
from tests.unit.store.samples import memory_folder, now_clock, open_store


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


NewMachine = Callable[..., Machine]


@pytest.fixture
def new_machine(registry: MemoryRegistry) -> Iterator[NewMachine]:
    """Makes machines with empty stores that share one registry."""
    root = Path(tempfile.mkdtemp(dir=memory_folder()))
    made: list[Machine] = []

    def machine(served: MemoryRegistry | None = None, **credentials: tuple[str, str]) -> Machine:
        clock = now_clock()
        store = open_store(root / str(len(made)), clock)
        one = Machine(store, served or registry, clock)
        for name, password in credentials.values():
            one.credentials[one.registry.address] = Credential(name, password)
        made.append(one)
        return one

    yield machine
    for one in made:
        one.store.close()
    shutil.rmtree(root)


@pytest.fixture
def ours(new_machine: NewMachine) -> Machine:
    """The machine that builds and pushes."""
    return new_machine()


@pytest.fixture
def theirs(new_machine: NewMachine) -> Machine:
    """A fresh machine."""
    return new_machine()
