"""The in-memory registry is an honest one: each case of the specification holds."""

from __future__ import annotations

import pytest

from lamella.testing.registry import MemoryRegistry
from tests.unit.registry.spec_cases import CASES, Case, Wire


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_registry_in_memory(registry: MemoryRegistry, case: Case) -> None:
    case.run(Wire(registry.address, "spec/case"))
