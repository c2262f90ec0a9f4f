"""The five schema examples are locked, lowered and planned as they are written, every cell of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lamella.build.lock import lock_project
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap
from lamella.project.lock import Lock, ModelPin, parse_lock, render_lock
from lamella.testing.engine import MemoryLookup
from lamella.testing.resolvers import FakeResolvers
from lamella.testing.scenarios import Scenario, planned, solve
from tests.unit.planning.example_trees import TREES

EXAMPLES = Path(__file__).parents[2] / "data" / "schema-examples"
CELLS = {"A-rust-workspace": 10, "B-variants": 26, "C-service-ui": 4, "D-python-ml": 24, "E-base-family": 18}
"""Image cells of each file; 82 in all."""


def scenario(name: str) -> Scenario:
    """An example with its tree, for all cells, with a pin that only a hub could give."""
    pins = Lock(models=FrozenMap({"acme/small-encoder": ModelPin("c" * 40, "main")}))
    text = (EXAMPLES / f"{name}.toml").read_text()
    return Scenario(text, TREES[name], lock=pins, selection=Selection(all=True))


def locked(given: Scenario) -> Scenario:
    """The scenario with everything locked."""
    lock, _ = lock_project(given.parts(MemoryLookup()), FakeResolvers(tools={"cargo-deny": "0.18.0"}))
    return replace(given, lock=lock)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_of_an_example_is_planned(name: str) -> None:
    """All images of all cells are lowered; a first plan has everything to do, one after a build nothing."""
    given = locked(scenario(name))
    lookup = MemoryLookup()
    before = planned(given, lookup)
    assert len(before.graph.images) == CELLS[name]
    assert not before.of_status("reused")
    solve(given, lookup)
    assert not planned(given, lookup).has_work


@pytest.mark.parametrize("name", CELLS)
def test_the_lock_of_an_example_reads_back(name: str) -> None:
    """Writing and reading the lock changes nothing, and a second lock resolves nothing."""
    given = locked(scenario(name))
    again = parse_lock(render_lock(given.lock), file="lamella.lock")
    assert again == given.lock
    _, changes = lock_project(given.parts(MemoryLookup()), FakeResolvers())
    assert changes == ()


def test_variants_share_the_binary() -> None:
    """One compile for every accelerator of a platform (hard case: nine near-equal images)."""
    graph = planned(locked(scenario("A-rust-workspace")), MemoryLookup()).graph
    binaries = {part.vertex for image in graph.images for part in image.parts if part.layer == "app"}
    compiled = {key for key, vertex in graph.definition.vertices.items() if vertex.info.name == "app"}
    assert len(graph.images) == 10
    assert len(compiled) == 4  # dev and prod, amd64 and arm64
    assert len(binaries) >= len(compiled)


def test_all_examples_have_82_cells() -> None:
    """SCHEMA.md: 82 image cells."""
    assert sum(CELLS.values()) == 82
