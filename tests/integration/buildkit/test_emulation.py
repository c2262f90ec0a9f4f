"""A platform that no node runs by itself: refused with the remedy, accepted when somebody asks for it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration.buildkit.phases import busybox_tar
from tests.integration.buildkit.test_support_table import member
from tests.integration.components.buildkit import start_buildkitd
from tests.integration.components.daemons import client_config
from tests.integration.components.presence import require_program
from tests.integration.components.tools import BuildKit, Skopeo, Umoci
from tests.integration.e2e.conftest import Cli, write_tree

pytestmark = pytest.mark.xdist_group("support-table")

TOML = """
[project]
schema = 1
name = "foreign"

[axes]
platform = ["linux/PLATFORM"]

[layer.base]
from = "REGISTRY/foreign:PLATFORM"

[layer.made]
run = [["sh", "-c", "uname -m > /machine"]]

[image.foreign]
layers = ["base", "made"]
"""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A project for a platform, on a buildkitd with one node."""

    cli: Cli
    folder: Path

    def build(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.cli.run(self.folder, "build", "--builder", "single", "--progress", "plain", *arguments, check=False)


def foreign(folder: Path, buildkitd: BuildKit, registry: str, platform: str) -> Foreign:
    env = buildkitd.create_builder(client_config(folder))
    toml = TOML.replace("REGISTRY", registry).replace("PLATFORM", platform)
    project = write_tree(folder / "project", {"lamella.toml": toml})
    cli = Cli(folder / "store", env)
    cli.run(project, "lock")
    return Foreign(cli, project)


def test_a_platform_that_nobody_runs_is_refused_with_what_to_do(
    buildkitd: BuildKit, oci_registry: str, umoci: Umoci, skopeo: Skopeo, tmp_path: Path
) -> None:
    busybox_tar(require_program("busybox", "busybox-static"), tmp_path / "base.tar", {})
    image = f"{tmp_path}/layout:base"
    umoci.run("init", "--layout", str(tmp_path / "layout"))
    umoci.run("new", "--image", image)
    umoci.run("config", "--image", image, "--architecture", "riscv64")
    umoci.run("raw", "add-layer", "--image", image, str(tmp_path / "base.tar"))
    skopeo.copy(f"oci:{image}", f"docker://{oci_registry}/foreign:riscv64")
    project = foreign(tmp_path, buildkitd, oci_registry, "riscv64")
    for arguments in ((), ("--emulate",)):
        done = project.build(*arguments)
        assert done.returncode == 8, done.stderr
        assert "builder 'single' has no node for linux/riscv64; its platforms are linux/amd64" in done.stderr
        assert "docker buildx create --append --name single --platform linux/riscv64 ENDPOINT" in done.stderr
    auto = project.cli.run(project.folder, "build", "--engine", "auto", "--progress", "plain", check=False)
    assert auto.returncode == 8, auto.stderr
    assert "error: steps for linux/riscv64 do not run on this machine" in auto.stderr
    assert "and on a builder: builder 'single' has no node for linux/riscv64" in auto.stderr
    assert "engine: " not in auto.stderr, "neither runs them, and none is said to"


@pytest.fixture
def emulating(arm64_emulation: None, buildkitd: BuildKit, tmp_path: Path) -> Iterator[BuildKit]:
    """A buildkitd that found out at its start that this machine runs arm64 programs, too."""
    home = tmp_path / "daemon"
    home.mkdir()
    daemon = start_buildkitd(home)
    yield replace(buildkitd, address=daemon.info["address"])
    daemon.stop()


def test_emulation_is_asked_for_and_its_cost_is_named(
    emulating: BuildKit, oci_registry: str, base_image_arm64: Path, skopeo: Skopeo, tmp_path: Path
) -> None:
    skopeo.copy(f"oci:{base_image_arm64}:base", f"docker://{oci_registry}/foreign:arm64")
    project = foreign(tmp_path, emulating, oci_registry, "arm64")
    refused = project.build()
    assert refused.returncode == 8, refused.stderr
    assert "has no node of its own for linux/arm64: it would emulate every program" in refused.stderr
    assert "--emulate" in refused.stderr
    archive = tmp_path / "image.tar"
    done = project.build("--emulate", "--output", f"type=tar,dest={archive}")
    assert done.returncode == 0, done.stderr
    assert "warning: steps for linux/arm64 are emulated by node single0: expect 5 to 20 times" in done.stderr
    assert member(archive, "machine").strip() == "aarch64"
