"""The examples' project files are valid, and the paths they name are there."""

from __future__ import annotations

import tomllib

import pytest

from lamella.project.load import parse_project
from tests.examples.conftest import EXAMPLES

NAMES = [path.name for path in sorted(EXAMPLES.iterdir()) if path.is_dir()]


@pytest.mark.parametrize("name", NAMES)
def test_the_project_file_has_no_problems(name: str) -> None:
    path = EXAMPLES / name / "lamella.toml"
    project = parse_project(path.read_bytes(), file=str(path))
    assert project.images


@pytest.mark.parametrize("name", NAMES)
def test_every_path_in_a_layer_is_there(name: str) -> None:
    folder = EXAMPLES / name
    layers = tomllib.loads((folder / "lamella.toml").read_text())["layer"].values()
    named = [item["from"] for layer in layers for item in layer.get("files", [])]
    named += [path for layer in layers for path in layer.get("python", {}).get("requirements", [])]
    named += [layer["model"]["file"] for layer in layers if "file" in layer.get("model", {})]
    named += [layer["node"]["dir"] for layer in layers if "node" in layer]
    named += [glob.removesuffix("/**") for layer in layers for glob in layer.get("inputs", [])]
    assert named
    assert [path for path in named if not (folder / path).exists()] == []
