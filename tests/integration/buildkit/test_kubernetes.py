"""Driver kubernetes as far as it goes without a cluster: every option is one that buildx knows, and silence is told."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from lamella.engines.buildkit.buildx import parse_inspect
from tests.integration.components.daemons import client_config
from tests.integration.components.installed import DOCKER_28, docker_plugins, require_component
from tests.integration.components.tools import run_tool
from tests.integration.e2e.conftest import Cli, write_tree
from tests.unit.eject.test_fleet import PROJECT

STEP = """
[project]
schema = 1
name = "step"

[layer.base]
from = "BASE"

[layer.made]
run = [["true"]]

[image.step]
layers = ["base", "made"]
"""

CLUSTER = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "stub", "cluster": {"server": "https://127.0.0.1:1"}}],  # nobody listens at tcpmux
    "users": [{"name": "stub", "user": {"token": "none"}}],
    "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
    "current-context": "stub",
}


@pytest.fixture
def client(tmp_path: Path) -> Cli:
    """A client of a cluster that does not answer."""
    component = require_component(DOCKER_28)
    (tmp_path / "kubeconfig").write_text(json.dumps(CLUSTER))
    env = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "DOCKER_CONFIG": str(client_config(tmp_path)),
        "BUILDX_CONFIG": str(tmp_path / "buildx"),
        "DOCKER": f"{component}/usr/bin/docker",
    }
    return Cli(tmp_path / "store", env)


def make_builder(client: Cli, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the script that the project is ejected to."""
    client.run(project, "eject", "builder", "--force")
    env = {**os.environ, **client.env, "NAMESPACE": "builders", "REPLICAS": "2"}
    return subprocess.run([project / "builder.sh", *arguments], env=env, capture_output=True, text=True, check=False)


def test_a_node_for_each_platform_of_the_project(client: Cli, base_reference: str, tmp_path: Path) -> None:
    project = write_tree(tmp_path / "project", {"lamella.toml": PROJECT})
    made = make_builder(client, project, "--driver-opt", "requests.cpu=4,limits.memory=8Gi")
    assert made.returncode == 0, made.stderr
    buildx = docker_plugins(require_component(DOCKER_28))["docker-buildx"]
    said = run_tool([str(buildx), "inspect", "shop"], env=client.env)
    builder = parse_inspect(said)
    assert (builder.name, builder.driver) == ("shop", "kubernetes")
    assert [(node.name, node.pinned) for node in builder.nodes] == [
        ("shop-amd64", ("linux/amd64",)),
        ("shop-arm64", ("linux/arm64",)),
    ]
    for option in ('namespace="builders"', 'replicas="2"', 'requests.cpu="4"', 'limits.memory="8Gi"'):
        assert said.count(option) == 2, said
    for architecture in ("amd64", "arm64"):
        assert f'nodeselector="kubernetes.io/arch={architecture}"' in said

    write_tree(project, {"lamella.toml": PROJECT.replace("BASE", base_reference).replace('"linux/amd64", ', "")})
    client.run(project, "lock", check=False)

    step = write_tree(tmp_path / "step", {"lamella.toml": STEP.replace("BASE", base_reference)})
    client.run(step, "lock")
    done = client.run(step, "build", "--builder", "shop", check=False)
    assert done.returncode == 6, done.stderr
    assert "builder 'shop' is not running and cannot be started: " in done.stderr
    assert "127.0.0.1:1" in done.stderr, "buildx's own words"


def test_an_option_that_buildx_does_not_know_is_refused_at_once(client: Cli, tmp_path: Path) -> None:
    """So the test above would see an option that went away."""
    project = write_tree(tmp_path / "project", {"lamella.toml": PROJECT})
    made = make_builder(client, project, "--driver-opt", "nonsense=1")
    assert made.returncode != 0
    assert "invalid driver option nonsense" in made.stderr
