"""The support table of the docs: one project, built by every engine that it names, gives one image."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.components.daemons import client_config
from tests.integration.components.keeper import ROOT
from tests.integration.components.tools import BuildKit, BuildKitPair, DockerEngine, Skopeo
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
from = "REGISTRY/base:bookworm"

[layer.made]
run = [["sh", "-c", "cat word > /made && uname -m >> /made && mkdir /odd && chown 7:8 /odd && chmod 1750 /odd"]]
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
def expected(tmp_path_factory: pytest.TempPathFactory, oci_registry: str, base_reference: str) -> Any:
    """The images that the embedded engine makes."""
    folder = tmp_path_factory.mktemp("local")
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
    buildkit_pair: BuildKitPair, base_image: Path, base_image_arm64: Path, skopeo: Skopeo, tmp_path: Path
) -> None:
    pair, config = buildkit_pair, client_config(tmp_path)
    for layout, architecture in ((base_image, "amd64"), (base_image_arm64, "arm64")):
        pair.skopeo(skopeo, "copy", f"oci:{layout}:base", f"docker://{pair.registry}/base:{architecture}")
    sources = [f"{pair.registry}/base:{architecture}" for architecture in ("amd64", "arm64")]
    builder = pair.create_builder(config)
    pair.buildx(config, "imagetools", "create", "--tag", f"{pair.registry}/base:bookworm", *sources)
    project = write_project(tmp_path / "project", pair.registry, "linux/amd64", "linux/arm64")
    words = ("--engine", "buildkit", "--builder", builder)
    report, place = build(project, tmp_path / "store", pair.env(config), *words)
    assert len(report["images"]) == 2
    hold_table("two buildkitd 0.30 behind mutual TLS", place, "linux/amd64", "linux/arm64")
    made = [row["name"] for row in report["vertices"] if row["layer"] == "made" and row["outcome"] == "built"]
    assert len(made) == 2
