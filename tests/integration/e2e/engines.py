"""The engines that a project is built on, each as the part of the environment that chooses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.components.tools import run_tool

ENGINES = ("local", "docker20", "docker28", "docker28_containerd", "buildkitd")

Fixture = Callable[[str], Any]


def engine_environment(name: str, fixture: Fixture, folder: Path) -> dict[str, str]:
    """Variables that make ``lamella`` build on an engine, which is started when it is asked for.

    ``fixture`` gives a fixture by its name, ``folder`` takes buildx's own state. Steps with an open network have this
    machine's: the tests' Docker Engines have no way out of their bridges.
    """
    if name == "local":
        return {"LAMELLA_ENGINE": "local"}
    common = {"LAMELLA_ENGINE": "buildkit", "LAMELLA_BUILDER_NETWORK": "host"}
    if name == "buildkitd":
        daemon = fixture(name)
        env = client(daemon.buildx_path, folder)
        run_tool([daemon.buildx_path, "create", "--name", "alone", "--driver", "remote", daemon.address], env=env)
        return {**env, **common, "LAMELLA_BUILDER_NETWORK": "default", "BUILDX_BUILDER": "alone"}
    return {**fixture(name).env, **common}


def client(buildx: str, folder: Path) -> dict[str, str]:
    """The environment of a client whose only plugin is buildx, and whose state is below ``folder``."""
    plugins = folder / "docker" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    if not (plugins / "docker-buildx").exists():
        (plugins / "docker-buildx").symlink_to(buildx)
    return {"DOCKER_CONFIG": str(folder / "docker"), "BUILDX_CONFIG": str(folder / "buildx")}
