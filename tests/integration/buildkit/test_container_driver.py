"""Driver docker-container: buildx keeps the daemon, so a sleeping one is woken, and one that cannot be is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.buildkit.container import IMAGE, ContainerBuilder
from tests.integration.e2e.conftest import Cli, write_tree

pytestmark = pytest.mark.xdist_group("support-table")

TOML = """
[project]
schema = 1
name = "boxed"

[layer.base]
from = "BASE"

[layer.made]
run = [["sh", "-c", "cat word > /made"]]
inputs = ["word"]

[image.boxed]
layers = ["base", "made"]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boxed") / "store"


def build(
    folder: Path, store: Path, builder: ContainerBuilder, base: str, word: str
) -> subprocess.CompletedProcess[str]:
    project = write_tree(folder / "project", {"lamella.toml": TOML.replace("BASE", base), "word": word})
    cli = Cli(store, dict(builder.env))
    cli.run(project, "lock")
    return cli.run(project, "build", "--builder", builder.name, "--progress", "plain", check=False)


@pytest.mark.parametrize("how", ["new", "stopped", "removed"])
def test_a_container_that_does_not_run_is_started(
    how: str, container_builder: ContainerBuilder, base_reference: str, store: Path, tmp_path: Path
) -> None:
    builder = container_builder
    if how != "new":
        builder.buildx("inspect", "--bootstrap", builder.name)
        builder.engine.cli(*(("stop",) if how == "stopped" else ("rm", "--force")), builder.container)
    done = build(tmp_path, store, builder, base_reference, how)
    assert done.returncode == 0, done.stderr
    assert "engine: buildkit, builder 'boxed' (docker-container, L4 (BuildKit 0.30))" in done.stderr
    assert "+ made  built" in done.stderr


def test_a_container_that_cannot_be_made_is_told_with_the_engines_words(
    container_builder: ContainerBuilder, base_reference: str, store: Path, tmp_path: Path
) -> None:
    builder = container_builder
    builder.buildx(
        "create", "--name", "imageless", "--driver", "docker-container", "--driver-opt", "image=127.0.0.1:1/no"
    )
    lost = ContainerBuilder("imageless", builder.engine, builder.env)
    try:
        done = build(tmp_path, store, lost, base_reference, "imageless")
    finally:
        lost.remove()
    assert done.returncode == 6
    assert "builder 'imageless' is not running and cannot be started: " in done.stderr
    assert "127.0.0.1:1" in done.stderr, "the engine's own words"
    assert IMAGE not in done.stderr


def test_a_builder_that_was_removed_is_no_builder_any_more(
    container_builder: ContainerBuilder, base_reference: str, store: Path, tmp_path: Path
) -> None:
    """Said even where nothing has to be built, and without a process."""
    builder = container_builder
    assert build(tmp_path, store, builder, base_reference, "removed").returncode == 0
    gone = ContainerBuilder("boxes", builder.engine, builder.env)
    done = build(tmp_path, store, gone, base_reference, "removed")
    assert done.returncode == 2
    assert "no builder 'boxes' found" in done.stderr
    assert "did you mean 'boxed'?" in done.stderr
