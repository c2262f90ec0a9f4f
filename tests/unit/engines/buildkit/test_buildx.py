"""What ``buildx inspect`` prints, which node is chosen, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.engines.buildkit.buildx import Builder, Node, find_buildx, level_of_node, parse_inspect
from lamella.engines.buildkit.choice import choose_node, is_native
from lamella.errors import SandboxError

PAIR = """Name:          pair
Driver:        remote
Last Activity: 2026-01-02 03:04:05 +0000 UTC

Nodes:
Name:             pair-amd64
Endpoint:         tcp://10.0.0.2:1234
Driver Options:   cacert="/x/ca.pem" cert="/x/client.pem" key="/x/client.key"
Status:           running
BuildKit version: v0.30.0
Platforms:        linux/amd64*, linux/amd64/v2, linux/386
Labels:
 org.mobyproject.buildkit.worker.executor: oci
GC Policy rule#0:
 All:            false

Name:             pair-arm64
Endpoint:         tcp://10.0.0.3:1234
Status:           running
BuildKit version: v0.12.5
Platforms:        linux/arm64*
"""

DEAD = """Name:   default
Driver:
Error:  Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?
"""


def test_nodes_with_their_platforms_are_read() -> None:
    builder = parse_inspect(PAIR)
    assert (builder.name, builder.driver, len(builder.nodes)) == ("pair", "remote", 2)
    first, second = builder.nodes
    assert (first.endpoint, first.status, first.version) == ("tcp://10.0.0.2:1234", "running", "v0.30.0")
    assert (first.platforms, first.pinned) == (("linux/amd64", "linux/amd64/v2", "linux/386"), ("linux/amd64",))
    assert (second.name, second.platforms, second.pinned) == ("pair-arm64", ("linux/arm64",), ("linux/arm64",))


def test_a_daemon_that_is_not_there_is_a_node_with_an_error() -> None:
    (node,) = parse_inspect(DEAD).nodes
    assert node.status == "error"
    assert node.error.startswith("Cannot connect to the Docker daemon")


def test_each_platform_goes_to_the_node_that_was_given_it() -> None:
    builder = parse_inspect(PAIR)
    assert choose_node(builder, "linux/amd64").name == "pair-amd64"
    assert choose_node(builder, "linux/arm64").name == "pair-arm64"
    with pytest.raises(SandboxError, match="no node for linux/riscv64"):
        choose_node(builder, "linux/riscv64")


def node(*platforms: str, version: str = "v0.20.0", engine: str = "") -> Node:
    """A node without pinned platforms, as one Docker Engine is."""
    return Node("n", "default", "running", version, platforms, engine=engine)


@pytest.mark.parametrize(
    ("platform", "native"),
    [
        ("linux/amd64", True),
        ("linux/amd64/v2", True),
        ("linux/386", True),
        ("linux/arm64", False),
        ("linux/arm/v7", False),
    ],
)
def test_what_the_first_platform_does_not_run_is_emulated(platform: str, native: bool) -> None:
    engine = node("linux/amd64", "linux/amd64/v2", "linux/386", "linux/arm64", "linux/arm/v7")
    assert is_native(engine, platform) is native


def test_a_native_node_goes_before_one_that_emulates() -> None:
    emulating, own = node("linux/amd64", "linux/arm64"), node("linux/arm64")
    assert choose_node(Builder("b", "remote", (emulating, own)), "linux/arm64") is own


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (node(version="v0.0.0+unknown", engine="28.5.2+dfsg4"), "L4"),
        (node(version="v0.8+unknown"), "L0"),
        (node(version="v0.12.5"), "L2"),
    ],
)
def test_the_level_is_that_of_buildkit_or_of_the_engine_around_it(found: Node, level: str) -> None:
    assert level_of_node(found).name == level


@pytest.mark.parametrize(
    "found", [node(version="v0.7.2"), node(version="v0.0.0+unknown", engine="19.3.1"), node(version="")]
)
def test_a_daemon_that_is_too_old_or_says_nothing_is_refused(found: Node) -> None:
    with pytest.raises(SandboxError):
        level_of_node(found)


def test_the_users_plugin_goes_before_all_others(tmp_path: Path) -> None:
    plugin = tmp_path / "cli-plugins" / "docker-buildx"
    plugin.parent.mkdir()
    plugin.touch(mode=0o755)
    found = find_buildx({"DOCKER_CONFIG": str(tmp_path), "SOURCE_DATE_EPOCH": "1", "TOKEN": "x", "BUILDX_BUILDER": "b"})
    assert found.program == str(plugin)
    assert found.env["BUILDX_BUILDER"] == "b"
    assert not {"SOURCE_DATE_EPOCH", "TOKEN"} & set(found.env), "a commit's time would make every step a miss"


def test_without_buildx_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="needs buildx") as caught:
        find_buildx({"HOME": str(tmp_path), "PATH": str(tmp_path)}, ())
    assert "--engine local" in caught.value.hint
