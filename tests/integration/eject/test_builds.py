"""The ejected Dockerfile of an example is built by Docker, runs, is healthy, and is Lamella's own image."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.components.tools import DockerEngine
from tests.integration.e2e.conftest import Cli, shared_store

__all__ = ["shared_store"]

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "python-ml"
IGNORED = shutil.ignore_patterns("__pycache__", ".venv", ".pytest_cache")
HEALTHY_SECONDS = 90

OURS = "digits/digits:prod"
FILES = r"""
cd / && find opt/digits opt/venv ! -path '*/__pycache__*' ! -name RECORD ! -name INSTALLER ! -name REQUESTED \
  ! -name '*.lock' ! -name CACHEDIR.TAG ! -name .gitignore ! -path 'opt/venv/bin/*' ! -name pyvenv.cfg \
  ! -name '_virtualenv.*' ! -path 'opt/venv/lib64' -type f -exec sha256sum {} + | sort -k 2
"""
"""Digests of all files but those that tell who installed a package, and the environment's own."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example."""
    return Path(shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("eject") / "python-ml", ignore=IGNORED))


def inspected(docker: DockerEngine, image: str) -> dict[str, Any]:
    """An image's config without what is empty; variables in any order."""
    found: dict[str, Any] = json.loads(docker.cli("image", "inspect", "--format", "{{json .Config}}", image))
    found["Env"] = sorted(found["Env"])
    return {name: value for name, value in found.items() if value}


def wait_until_healthy(docker: DockerEngine, container: str) -> str:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while (state := docker.cli("inspect", "--format", "{{.State.Health.Status}}", container).strip()) != "healthy":
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return state


@pytest.fixture(scope="module")
def ejected_image(docker: DockerEngine, project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example, ejected on a machine that never built it, and built by plain Docker."""
    cli = Cli(tmp_path_factory.mktemp("store"))
    cli.run(project, "lock")
    cli.run(project, "eject", "dockerfile", "--prod")
    docker.buildx("build", "--check", ".", cwd=project)
    docker.buildx("build", "--network", "host", "--target", "digits", "--tag", "ejected:digits", ".", cwd=project)
    return "ejected:digits"


def test_the_image_runs_and_its_health_check_answers(docker: DockerEngine, ejected_image: str) -> None:
    container = docker.cli("run", "--detach", "--network", "none", "--read-only", ejected_image).strip()
    try:
        assert wait_until_healthy(docker, container) == "healthy", docker.cli("logs", container)
        assert docker.cli("exec", container, "id", "-u").strip() == "10001"
    finally:
        docker.cli("rm", "--force", container)


def test_another_build_takes_everything_from_the_cache(docker: DockerEngine, ejected_image: str, project: Path) -> None:
    """A change of the code moves one layer."""
    before = docker.cli("image", "inspect", "--format", "{{json .RootFS.Layers}}", ejected_image)
    service = project / "src" / "digits" / "service.py"
    service.write_text(service.read_text() + "\n# changed\n")
    docker.buildx("build", "--network", "host", "--tag", "ejected:second", ".", cwd=project)
    after = docker.cli("image", "inspect", "--format", "{{json .RootFS.Layers}}", "ejected:second")
    assert len(set(json.loads(after)) - set(json.loads(before))) <= 2  # the code, and the folder that WORKDIR makes


@pytest.mark.slow
@pytest.mark.engine
def test_the_image_is_lamellas_own(
    docker: DockerEngine, ejected_image: str, shared_store: Path, tmp_path: Path
) -> None:
    """Configuration, and file contents of all layers of the project."""
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "python-ml", ignore=IGNORED))
    cli = Cli(shared_store, docker.env)
    cli.run(folder, "lock")
    cli.run(folder, "build", "--prod", "--engine", "local", "--load", "--progress", "plain")
    assert inspected(docker, ejected_image) == inspected(docker, OURS)
    run = ("run", "--rm", "--network", "none", "--user", "0:0", "--entrypoint", "sh")
    assert docker.cli(*run, ejected_image, "-c", FILES) == docker.cli(*run, OURS, "-c", FILES)
    # Now that the base's facts are recorded, the file still says the same.
    cli.run(folder, "eject", "dockerfile", "--prod")
    assert (folder / "Dockerfile").read_text() == cli.run(folder, "eject", "dockerfile", "--prod", "-o", "-").stdout
    assert cli.run(folder, "eject", "dockerfile", "--prod", "--check").returncode == 0
