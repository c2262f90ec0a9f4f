"""A builder of driver docker-container, from an image that Lamella builds itself: no registry of the world is asked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.integration.components.installed import GO, require_component
from tests.integration.components.tools import DockerEngine, ToolError, run_tool
from tests.integration.e2e.conftest import Cli, write_tree

IMAGE = "lamella-test/buildkit:1"

TOML = """
[project]
schema = 1
name = "buildkit"

[layer.base]
from = "BASE"
apt = ["runc"]

[layer.programs]
files = [
  { from = "buildkitd", to = "/usr/bin/buildkitd" },
  { from = "buildctl", to = "/usr/bin/buildctl" },
]

[image.buildkit]
layers = ["base", "programs"]
entrypoint = ["buildkitd"]
"""


@dataclass(frozen=True, slots=True)
class ContainerBuilder:
    """Its name, the engine that its container is in, and the environment of its users."""

    name: str
    engine: DockerEngine
    env: Mapping[str, str]

    @property
    def container(self) -> str:
        """The container, as buildx names that of a builder's first node."""
        return f"buildx_buildkit_{self.name}0"

    def buildx(self, *arguments: str) -> str:
        """Standard output of buildx."""
        return run_tool([self.engine.buildx_path, *arguments], env=dict(self.env))

    def remove(self) -> None:
        """The builder and its container. buildx looks, stops and removes, and ends with an error when the container is
        gone in between; what counts is that it is gone.
        """
        try:
            self.buildx("rm", "--force", self.name)
        except ToolError:
            if self.engine.cli("ps", "--all", "--quiet", "--filter", f"name=^{self.container}$").strip():
                raise


def make_image(docker: DockerEngine, base: str, folder: Path) -> None:
    """Builds an image of BuildKit and runc with the embedded engine and loads it."""
    component = require_component(GO)
    project = write_tree(folder / "project", {"lamella.toml": TOML.replace("BASE", base)})
    for program in ("buildkitd", "buildctl"):
        shutil.copy(component / "bin" / program, project / program)
    cli = Cli(folder / "store", {**docker.env, "LAMELLA_ENGINE": "local"})
    cli.run(project, "lock")
    cli.run(project, "build", "--prod", "--load", "-t", IMAGE)


def create_builder(docker: DockerEngine, folder: Path, name: str) -> ContainerBuilder:
    """A builder whose container has this machine's network. buildx tries to pull its image, and takes the one that is
    loaded when that fails ("pulling failed, using local image").
    """
    builder = ContainerBuilder(name, docker, {**docker.env, "BUILDX_CONFIG": str(folder)})
    options = f"image={IMAGE},network=host"
    builder.buildx("create", "--name", name, "--driver", "docker-container", "--driver-opt", options)
    return builder
