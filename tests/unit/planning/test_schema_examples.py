"""The five schema examples are locked, lowered and planned as they are written, every cell of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lamella.build.lock import lock_project
from lamella.build.parts import Selection
from lamella.canonical import FrozenMap, digest_value
from lamella.graph.facts import Interpreter
from lamella.graph.op import Wheel
from lamella.project.lock import BasePin, Lock, ModelPin, ToolPin, parse_lock, render_lock
from lamella.sources.wheel_request import ResolveRequest
from lamella.testing.engine import MemoryLookup
from lamella.testing.scenarios import Scenario, planned, solve
from tests.unit.planning.example_trees import TREES

EXAMPLES = Path(__file__).parents[2] / "data" / "schema-examples"
CELLS = {"A-rust-workspace": 10, "B-variants": 26, "C-service-ui": 4, "D-python-ml": 24, "E-base-family": 18}
"""Image cells of each file; 82 in all."""


class Resolvers:
    """Answers every question with values made of the question."""

    def base(self, reference: str, platforms: tuple[str, ...]) -> BasePin:
        """A base of a family that its name tells."""
        family = next((name for name in ("fedora", "opensuse", "alpine") if name in reference), "debian")
        python = Interpreter("python", "/usr/local/bin/python3.10", "3.10", "cpython-310")
        if "cuda" in reference:
            python = Interpreter("python", "/usr/bin/python3.10", "3.10", "cpython-310")
        return BasePin(
            digest_value(reference),
            FrozenMap({platform: digest_value([reference, platform]) for platform in platforms}),
            family,
            FrozenMap(dict.fromkeys(platforms, (python,))),
        )

    def wheels(self, request: ResolveRequest) -> tuple[Wheel, ...]:
        """One pure wheel per requirement."""
        names = [line.split("=")[0].split(">")[0].split(" ")[0].strip() for line in request.requirements]
        return tuple(
            Wheel(name, "1.0", f"{name}-1.0-py3-none-any.whl", f"{number:064x}") for number, name in enumerate(names, 1)
        )


def scenario(name: str) -> Scenario:
    """An example with its tree, for all cells, with pins that only a hub or a tool's index could give."""
    pins = Lock(
        tools=FrozenMap({"cargo-deny": ToolPin("0.18.0")}),
        models=FrozenMap({"acme/small-encoder": ModelPin("c" * 40, "main")}),
    )
    text = (EXAMPLES / f"{name}.toml").read_text()
    return Scenario(text, TREES[name], lock=pins, selection=Selection(all=True))


def locked(given: Scenario) -> Scenario:
    """The scenario with everything locked."""
    lock, _ = lock_project(given.parts(MemoryLookup()), Resolvers())
    return replace(given, lock=replace(lock, models=given.lock.models, tools=given.lock.tools))


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
    _, changes = lock_project(given.parts(MemoryLookup()), Resolvers())
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
