"""The support table of the docs: one project, built by every engine that it names, gives one image."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.buildkit.phases import busybox_tar
from tests.integration.components.daemons import client_config
from tests.integration.components.keeper import ROOT
from tests.integration.components.presence import require_program
from tests.integration.components.tools import BuildKit, BuildKitPair, DockerEngine, Skopeo, Umoci
from tests.integration.e2e.conftest import Cli, write_tree

pytestmark = pytest.mark.xdist_group("support-table")

TABLE = ROOT / "docs" / "reference" / "engines.md"

PROJECT = """
[project]
schema = 1
name = "support"
repository = "REGISTRY/support"

[axes]
platform = [PLATFORMS]

[layer.base]
from = "REGISTRY/support-base:1"

[layer.made]
run = [["sh", "-c", "cat word > /made && mkdir /mine && chown 7:8 /mine && chmod 1750 /mine"]]
inputs = ["word"]

[layer.files]
files = [{ from = "conf", to = "/etc/support" }]

[image.support]
layers = ["base", "made", "files"]
env = { SUPPORT = "yes" }
cmd = ["cat", "/made"]
"""


def write_project(folder: Path, registry: str, *platforms: str) -> Path:
    """The project, the same for every engine; its base is in a registry."""
    names = ", ".join(f'"{platform}"' for platform in platforms)
    toml = PROJECT.replace("REGISTRY", registry).replace("PLATFORMS", names)
    return write_tree(folder, {"lamella.toml": toml, "word": "made\n", "conf/a": "1\n", "conf/b/c": "2\n"})


def build(folder: Path, store: Path, env: Mapping[str, str], *arguments: str) -> tuple[dict[str, Any], str]:
    """The report of a build of everything with an empty store, and what it said about the builder."""
    cli = Cli(store, dict(env))
    cli.run(folder, "lock")
    done = cli.run(folder, "build", "--prod", "--all", "--format", "json", "--progress", "plain", *arguments)
    said = re.search(r"steps run on builder '[^']+' \(([\w-]+), (L\d)", done.stderr)
    return json.loads(done.stdout), f"{said[1]} | {said[2]}" if said else " | "


def hold_table(engine: str, place: str, *platforms: str) -> None:
    """The docs have this row."""
    row = f"| {engine} | {place} | {', '.join(platforms)} |"
    assert row in TABLE.read_text(encoding="utf-8").splitlines(), f"{TABLE} lacks the row\n{row}"


@pytest.fixture(scope="module")
def small_base(tmp_path_factory: pytest.TempPathFactory, umoci: Umoci) -> str:
    """An image of a static BusyBox, as skopeo names it."""
    folder = tmp_path_factory.mktemp("small-base")
    busybox_tar(require_program("busybox", "busybox-static"), folder / "base.tar", {})
    umoci.run("init", "--layout", str(folder / "layout"))
    image = f"{folder}/layout:base"
    umoci.run("new", "--image", image)
    umoci.run("config", "--image", image, "--architecture", "amd64", "--config.env", "PATH=/bin")
    umoci.run("raw", "add-layer", "--image", image, str(folder / "base.tar"))
    return f"oci:{image}"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, oci_registry: str, small_base: str, skopeo: Skopeo) -> Any:
    """The images that the embedded engine makes."""
    folder = tmp_path_factory.mktemp("local")
    skopeo.copy(small_base, f"docker://{oci_registry}/support-base:1")
    project = write_project(folder / "project", oci_registry, "linux/amd64")
    report, _ = build(project, folder / "store", {}, "--engine", "local")
    return images(report)


def images(report: dict[str, Any]) -> Any:
    """Names and manifest digests."""
    return [(image["image"], image["containerimage.digest"]) for image in report["images"]]


def test_the_embedded_engine(expected: Any) -> None:
    assert len(expected) == 1
    hold_table("embedded", " | ", "linux/amd64")


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("docker20", "Docker Engine 20.10"),
        ("docker28", "Docker Engine 28, graph drivers"),
        ("docker28_containerd", "Docker Engine 28, containerd's image store"),
    ],
)
def test_docker_engines(
    engine: str, name: str, request: pytest.FixtureRequest, expected: Any, oci_registry: str, tmp_path: Path
) -> None:
    docker: DockerEngine = request.getfixturevalue(engine)
    project = write_project(tmp_path / "project", oci_registry, "linux/amd64")
    report, place = build(project, tmp_path / "store", docker.env, "--engine", "buildkit")
    assert images(report) == expected
    hold_table(name, place, "linux/amd64")


def test_a_buildkitd(buildkitd: BuildKit, expected: Any, oci_registry: str, tmp_path: Path) -> None:
    env = buildkitd.create_builder(client_config(tmp_path))
    project = write_project(tmp_path / "project", oci_registry, "linux/amd64")
    report, place = build(project, tmp_path / "store", env, "--engine", "buildkit", "--builder", "single")
    assert images(report) == expected
    hold_table("buildkitd 0.30", place, "linux/amd64")


def test_a_remote_pair_with_two_platforms(
    buildkit_pair: BuildKitPair, small_base: str, base_image_arm64: Path, skopeo: Skopeo, tmp_path: Path
) -> None:
    pair, config = buildkit_pair, client_config(tmp_path)
    base = f"{pair.registry}/support-base"
    for source, architecture in ((small_base, "amd64"), (f"oci:{base_image_arm64}:base", "arm64")):
        pair.skopeo(skopeo, "copy", source, f"docker://{base}:{architecture}")
    builder = pair.create_builder(config)
    pair.buildx(config, "imagetools", "create", "--tag", f"{base}:1", f"{base}:amd64", f"{base}:arm64")
    project = write_project(tmp_path / "project", pair.registry, "linux/amd64", "linux/arm64")
    words = ("--engine", "buildkit", "--builder", builder)
    report, place = build(project, tmp_path / "store", pair.env(config), *words)
    assert len(report["images"]) == 2
    hold_table("two buildkitd 0.30 behind mutual TLS", place, "linux/amd64", "linux/arm64")
    made = [row["name"] for row in report["vertices"] if row["layer"] == "made" and row["outcome"] == "built"]
    assert len(made) == 2
