"""Components that Debian 12 does not have: where ``scripts/components.sh`` put them, and what comes with each."""

from __future__ import annotations

import os
from pathlib import Path

from tests.integration.components.presence import missing

DOCKER_28 = "docker28"
"""Docker Engine, containerd, buildx and compose of Debian sid, unpacked."""

GO = "go"
"""buildkitd, buildctl and the in-memory registry."""


def components_folder() -> Path:
    """The folder that outlives test runs; the script's rule is the same."""
    if given := os.environ.get("LAMELLA_COMPONENTS"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lamella-components"


def find_component(name: str) -> Path | None:
    """The folder of a component that is there as a whole."""
    folder = components_folder() / name
    return folder if (folder / ".recipe").exists() else None


def require_component(name: str) -> Path:
    """The folder of a component; without it the test ends as ``presence.missing`` says."""
    return find_component(name) or missing(
        f"component {name} is not below {components_folder()} (`scripts/components.sh {name}` brings it)"
    )


def component_versions(folder: Path) -> dict[str, str]:
    """Version by package or module name, as written when the component was brought."""
    lines = (folder / ".versions").read_text(encoding="utf-8").splitlines()
    return {line.split()[0]: line.split()[1] for line in lines}


def docker_plugins(folder: Path) -> dict[str, Path]:
    """The command line plugins of component ``docker28`` by name: docker-buildx, docker-compose."""
    return {path.name: path for path in sorted((folder / "usr/libexec/docker/cli-plugins").iterdir())}
