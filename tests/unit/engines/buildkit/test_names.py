"""Names of builders as buildx and docker keep them in files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lamella.engines.buildkit.names import builder_names, check_name


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Docker's configuration folder with two builders and a context."""
    folder = tmp_path / "docker"
    for name in ("fleet", "pair"):
        path = folder / "buildx" / "instances" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    meta = folder / "contexts" / "meta" / hashlib.sha256(b"desktop-linux").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": "desktop-linux", "Metadata": {}, "Endpoints": {}}))
    return folder


def test_builders_are_the_contexts_and_what_was_created(config: Path) -> None:
    assert builder_names({}, config) == ("default", "desktop-linux", "fleet", "pair")


@pytest.mark.parametrize("name", ["default", "fleet", "Fleet", "pair", "desktop-linux"])
def test_what_buildx_would_find_is_no_error(name: str, config: Path) -> None:
    assert check_name(name, {}, config) is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [("flet", "did you mean 'fleet'?"), ("nobody", "the builders are default, desktop-linux, fleet, pair")],
)
def test_an_unknown_name_is_said_with_those_that_are_near(name: str, hint: str, config: Path) -> None:
    error = check_name(name, {}, config)
    assert error is not None
    assert (error.exit_code, name in error.message) == (2, True)
    assert hint in error.hint


def test_where_there_is_one_builder_it_is_called_the_only_one(tmp_path: Path) -> None:
    error = check_name("nobody", {}, tmp_path)
    assert error is not None
    assert error.hint.startswith("the only builder is 'default'; ")


def test_the_folder_that_is_configured_counts(config: Path, tmp_path: Path) -> None:
    elsewhere = {"BUILDX_CONFIG": str(tmp_path / "elsewhere")}
    assert check_name("fleet", elsewhere, config) is not None
    path = tmp_path / "elsewhere" / "instances" / "fleet"
    path.parent.mkdir(parents=True)
    path.touch()
    assert check_name("fleet", elsewhere, config) is None


def test_files_that_cannot_be_read_refuse_nobody(config: Path) -> None:
    next(config.glob("contexts/meta/*/meta.json")).write_text("{")
    assert check_name("nobody", {}, config) is None
