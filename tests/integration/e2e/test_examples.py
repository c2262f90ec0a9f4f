"""The examples on both engines, from nothing but a bootstrapped base: one digest."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.e2e.conftest import Cli
from tests.integration.e2e.engines import engine_environment
from tests.integration.e2e.test_engines import built, digest

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("python-ml", "base:packages"),  # packages by apt, wheels, a model, sources
        pytest.param("service-ui", "shelf", marks=[pytest.mark.slow, pytest.mark.timeout(2400)]),  # by bun and cargo
    ],
)
def test_an_example_is_one_image_on_both_engines(
    cli: Cli, own_store: Path, tmp_path: Path, request: pytest.FixtureRequest, name: str, step: str
) -> None:
    """Each engine with a store of its own."""
    folder = tmp_path / name
    leave = shutil.ignore_patterns(".venv", "__pycache__", "target", "node_modules", "dist")
    shutil.copytree(EXAMPLES / name, folder, ignore=leave)
    local = replace(cli, env={"LAMELLA_ENGINE": "local"})
    local.run(folder, "lock")
    builder = replace(
        cli, store=own_store, env=engine_environment("docker28", request.getfixturevalue, tmp_path / "client")
    )
    here, there = local.build(folder), builder.build(folder)
    assert step in built(there)
    assert layers(there) == layers(here)
    assert digest(there) == digest(here)


def layers(report: dict[str, object]) -> list[tuple[str, str]]:
    """Names and diff_ids of a report's only image."""
    images = report["images"]
    assert isinstance(images, list)
    return [(layer["name"], layer["diff_id"]) for layer in images[0]["layers"]]
