"""The script that makes a builder in Kubernetes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.eject.fleet import fleet_text
from lamella.oci.platform import parse_platform
from tests.unit.cli.conftest import Cli, cache, cli, project
from tests.unit.house.source_tree import ROOT

__all__ = ["cache", "cli", "project"]

GUIDE = ROOT / "docs" / "guides" / "buildkit.md"

PROJECT = """
[project]
schema = 1
name = "shop"

[axes]
platform = ["linux/amd64", "linux/arm64"]

[layer.base]
from = "scratch"

[image.shop]
layers = ["base"]
"""


def test_the_guide_shows_what_is_written(cli: Cli, project: Path) -> None:
    """When a change is meant: lamella eject builder -o - on this project, into the guide."""
    (project / "lamella.toml").write_text(PROJECT)
    shown = GUIDE.read_text(encoding="utf-8").split("```sh\n#!/bin/sh\n")[1].split("```")[0]
    assert cli("eject", "builder", "-o", "-").out == f"#!/bin/sh\n{shown}"


def test_a_selection_has_its_own_platforms(cli: Cli, project: Path) -> None:
    (project / "lamella.toml").write_text(PROJECT)
    text = cli("eject", "builder", "--platform", "linux/arm64", "-o", "-").out
    assert "linux/amd64" not in text
    assert text.count("buildx create --name") == 1
    assert cli("eject", "builder").code == 0
    assert cli("eject", "builder", "--check").code == 0
    assert cli("eject", "builder", "--platform", "linux/arm64", "--check").code == 1


@pytest.mark.parametrize(("name", "expected"), [("shop", "shop"), ("My Shop_2", "my-shop-2")])
def test_names_are_what_a_cluster_takes(name: str, expected: str) -> None:
    """RFC 1123 labels, as Kubernetes wants them for deployments."""
    text = fleet_text(name, [parse_platform("linux/arm/v7")], file="b.sh")
    assert f"NAME=${{NAME:-{expected}}}" in text
    assert '--node "$NAME-armv7"' in text
