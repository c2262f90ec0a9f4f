"""The whole file that ``init`` writes for each kind of project, and that it works as written."""

from __future__ import annotations

import tomllib

import pytest

from lamella.init.propose import Asked
from lamella.init.render import render_proposal
from lamella.planning.plan import Plan
from lamella.stacks.python.interpreter import DEBIAN_PYTHON
from tests.unit.init.kinds import KINDS
from tests.unit.init.proposals import BARE, GOLDEN, first_plan, proposal


@pytest.mark.parametrize("name", KINDS)
def test_the_text_is_the_expected_one(name: str) -> None:
    """When a change is meant: python -m tests.unit.init.proposals, and read the difference."""
    assert render_proposal(proposal(KINDS[name])) == (GOLDEN / f"{name}.toml").read_text(encoding="utf-8")


def test_every_expected_text_has_a_kind() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(KINDS)


@pytest.mark.parametrize("host", [True, False], ids=["host", "no-host"])
@pytest.mark.parametrize("name", KINDS)
def test_the_file_loads_locks_plans_and_builds_as_written(name: str, host: bool) -> None:
    files = KINDS[name]
    text = render_proposal(proposal(files) if host else proposal(files, asked=Asked(host=False)))
    plan = first_plan(text, files)
    assert plan.graph.images
    assert not [item for item in plan.vertices if item.status == "reused"]
    _check_interpreters(plan, tomllib.loads(text))


def _check_interpreters(plan: Plan, document: dict[str, dict[str, dict[str, str]]]) -> None:
    """Wheels are chosen for the Python that the base's suite has."""
    for image in plan.graph.images:
        base = document["layer"][image.image.layers[0]]
        for need in image.requirements:
            if need.kind == "interpreter" and "bootstrap" in base:
                assert need.value.split()[1] == DEBIAN_PYTHON[base["bootstrap"]]


@pytest.mark.parametrize("name", KINDS)
def test_a_machine_without_tools_gets_toolchains_of_its_own(name: str) -> None:
    found = proposal(KINDS[name], BARE)
    text = render_proposal(found)
    assert "host = true" not in text
    assert not found.local
    first_plan(text, KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_every_line_but_names_has_a_reason(name: str) -> None:
    found = proposal(KINDS[name])
    for table in found.tables:
        for line in table.lines:
            assert line.why or table.why, f"{table.header}: {line.text}"
