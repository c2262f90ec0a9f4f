"""Real components as fixtures: each is there once per test run, whatever the number of test processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.components.daemons import DaemonError
from tests.integration.components.keeper import shared_daemon
from tests.integration.components.presence import missing, require_program, require_root
from tests.integration.components.tools import DockerEngine, Skopeo, Umoci


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is an integration test."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One folder for the whole run, the same in every test process."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def skopeo() -> Skopeo:
    return Skopeo(require_program("skopeo"))


@pytest.fixture(scope="session")
def umoci() -> Umoci:
    return Umoci(require_program("umoci"))


@pytest.fixture(scope="session")
def registry(run_folder: Path) -> Iterator[str]:
    """``host:port`` of a private docker-registry 2.8 on loopback, plain HTTP."""
    require_program("docker-registry")
    try:
        with shared_daemon("registry", run_folder / "registry") as info:
            yield info["address"]
    except DaemonError as error:
        missing(f"docker-registry does not start: {error}")


@pytest.fixture(scope="session")
def docker_engine(run_folder: Path) -> Iterator[DockerEngine]:
    """A private Docker Engine 20.10 with data, sockets and bridge of its own."""
    require_root()
    require_program("dockerd", "docker.io")
    require_program("ip", "iproute2")
    cli = require_program("docker", "docker.io")
    try:
        with shared_daemon("docker", run_folder / "docker") as info:
            yield DockerEngine(cli, info["host"], run_folder / "docker-config")
    except DaemonError as error:
        missing(f"Docker Engine does not start: {error}")
