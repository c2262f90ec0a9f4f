"""Docker Engine 28 with a base under the name that ejected Dockerfiles use for a bootstrapped Debian 12."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.host.locks import hold
from tests.integration.components.tools import DockerEngine

BASE = "debian:bookworm-slim"


@pytest.fixture(scope="session")
def docker(docker28: DockerEngine, base_rootfs_tar: Path, run_folder: Path) -> DockerEngine:
    """The engine with the base imported once per run."""
    with hold(run_folder / "eject-base.lock", timeout=300):
        if not (run_folder / "eject-base").exists():
            docker28.cli("import", str(base_rootfs_tar), BASE)
            (run_folder / "eject-base").touch()
    return docker28
