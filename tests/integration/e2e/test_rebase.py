"""``rebase`` and ``outdated``: a base tag moves, and only what stands on the base is made again."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamella.oci.config import RuntimeConfig
from lamella.testing.registry import MemoryRegistry
from tests.integration.e2e.conftest import Cli, write_tree

TOML = """
[project]
schema = 1
name = "rebased"

[layer.base]
from = "REGISTRY/acme/base:1"
users = [{ name = "app", uid = 10001, gid = 10001 }]

[layer.files]
files = [{ from = "conf", to = "/etc/app" }]

[layer.tmp]
files = [{ from = "other", to = "/srv/data" }]

[image.one]
layers = ["base", "files", "tmp"]
user = "app"
"""


def base_layer(version: str, srv_mode: int = 0o755) -> bytes:
    """A root file system of a few files; ``/srv`` has another mode in a later version."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, mode in (("etc", 0o755), ("srv", srv_mode), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for name, text in (
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            ("etc/v", version),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


def publish_base(registry: MemoryRegistry, version: str, srv_mode: int = 0o755) -> None:
    registry.add_image(
        "acme/base",
        "1",
        layers=[base_layer(version, srv_mode)],
        runtime=RuntimeConfig(env=(f"VERSION={version}", "PATH=/bin")),
    )


@pytest.fixture
def project(tmp_path: Path, registry: MemoryRegistry) -> Path:
    publish_base(registry, "1")
    files: dict[str, str | bytes] = {
        "conf/a": "1\n",
        "other/b": "2\n",
        "lamella.toml": TOML.replace("REGISTRY", registry.address),
    }
    return write_tree(tmp_path / "project", files)


def layers(report: dict[str, Any]) -> dict[str, list[str]]:
    """diff_ids by layer name."""
    found: dict[str, list[str]] = {}
    for layer in report["images"][0]["layers"]:
        found.setdefault(layer["name"], []).append(layer["diff_id"])
    return found


def test_a_moved_base_is_taken_and_the_rest_kept(cli: Cli, project: Path, registry: MemoryRegistry) -> None:
    cli.run(project, "lock")
    before = layers(cli.build(project))
    assert "no base has moved" in cli.run(project, "rebase").stdout
    assert json.loads(cli.run(project, "outdated", "--format", "json").stdout)["rows"] == []

    publish_base(registry, "2")
    lock = (project / "lamella.lock").read_bytes()
    assert cli.run(project, "outdated", "--exit-code", check=False).returncode == 10
    dry = json.loads(cli.run(project, "rebase", "--dry-run", "--format", "json").stdout)
    assert len(dry["changes"]) == 1
    assert (project / "lamella.lock").read_bytes() == lock
    assert layers(cli.build(project)) == before

    done = json.loads(cli.run(project, "rebase", "--format", "json", "--progress", "quiet").stdout)
    after = layers(done["build"])
    outcomes = {row["name"]: row["outcome"] for row in done["build"]["vertices"]}
    assert after["base:root"] != before["base:root"]
    assert (after["files"], after["tmp"]) == (before["files"], before["tmp"])
    assert {name for name, outcome in outcomes.items() if outcome == "reused"} == {
        "files -> /etc/app",
        "tmp -> /srv/data",
    }
    assert (project / "lamella.lock").read_bytes() != lock
    assert cli.build(project)["counts"]["built"] == 0
    assert "no base has moved" in cli.run(project, "rebase").stdout


def test_a_layer_whose_parents_differ_in_the_new_base_is_placed_again(
    cli: Cli, project: Path, registry: MemoryRegistry
) -> None:
    cli.run(project, "lock")
    before = layers(cli.build(project))
    publish_base(registry, "2", srv_mode=0o750)
    done = json.loads(cli.run(project, "rebase", "--format", "json", "--progress", "quiet").stdout)
    after = layers(done["build"])
    assert after["files"] == before["files"]
    assert after["tmp"] != before["tmp"]


def test_what_cannot_be_rebased_is_said(cli: Cli, project: Path, registry: MemoryRegistry) -> None:
    cli.run(project, "lock")
    done = cli.run(project, "rebase", "--base", "registry.example/other:1", check=False)
    assert done.returncode == 2
    assert f"{registry.address}/acme/base:1" in done.stderr
    registry.manifests.clear()
    done = cli.run(project, "rebase", check=False)
    assert done.returncode == 6
