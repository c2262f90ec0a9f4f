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


def test_python_ml_is_one_image_on_both_engines(
    cli: Cli, own_store: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Packages by apt, wheels, a model, sources; each engine with a store of its own."""
    folder = tmp_path / "python-ml"
    shutil.copytree(EXAMPLES / "python-ml", folder, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    local = replace(cli, env={"LAMELLA_ENGINE": "local"})
    local.run(folder, "lock")
    builder = replace(
        cli, store=own_store, env=engine_environment("docker28", request.getfixturevalue, tmp_path / "client")
    )
    here, there = local.build(folder), builder.build(folder)
    assert "base:packages" in built(there)
    assert layers(there) == layers(here)
    assert digest(there) == digest(here)


def layers(report: dict[str, object]) -> list[tuple[str, str]]:
    """Names and diff_ids of a report's only image."""
    images = report["images"]
    assert isinstance(images, list)
    return [(layer["name"], layer["diff_id"]) for layer in images[0]["layers"]]
