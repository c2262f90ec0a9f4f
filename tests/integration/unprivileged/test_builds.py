"""Builds on a builder where this machine has no namespaces: the same images, a store that a sandbox can go on with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.e2e.conftest import Cli, write_tree
from tests.integration.e2e.engines import engine_environment
from tests.integration.unprivileged.conftest import HERE, ConfinedCli, ElsewhereCli, PowerlessCli

TOML = """
[project]
schema = 1
name = "confined"
repository = "REPOSITORY"

[layer.base]
from = "BASE"
users = [{ name = "app", uid = 10001, gid = 10001 }]

[layer.setup]
run = [["sh", "setup/run"]]
inputs = ["setup/**"]

[layer.files]
files = [{ from = "conf", to = "/opt/app" }]
owner = "app"

[image.web]
layers = ["base", "setup", "files"]
user = "app"
cmd = ["cat", "/var/lib/app/all"]
tags = ["one"]
"""

STEP = """
set -eu
mkdir -p /var/lib/app
find /opt /usr/share/doc -printf '%m %U %G %p %l\\n' | sort > /var/lib/app/all
test ! -e /etc/debian_version
test -u /opt/owned/tool
cat setup/word >> /opt/owned/tool
rm -r /usr/share/doc /opt/Readme
chown 77 /opt/README
"""


@pytest.fixture(params=["docker28", "buildkitd"])
def builder(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The part of the environment that chooses a builder."""
    return engine_environment(request.param, request.getfixturevalue, tmp_path / "client")


@pytest.fixture
def project(tmp_path: Path, stacked_reference: str, oci_registry: str) -> Path:
    text = TOML.replace("BASE", stacked_reference).replace("REPOSITORY", f"{oci_registry}/confined-{uuid4().hex}")
    files: dict[str, str | bytes] = {"lamella.toml": text, "setup/run": STEP, "setup/word": "x\n", "conf/a": "1\n"}
    return write_tree(tmp_path / "project", files)


def results(report: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Resolved keys by vertex and digests of images: keys hold what is known of bases and of steps."""
    return (
        {row["name"]: row["key"] for row in report["vertices"]},
        [image["containerimage.digest"] for image in report["images"]],
    )


def records(store: Path) -> dict[str, Any]:
    """Results by resolved key, without what is of one machine: the tree that a sandbox made."""
    found = {}
    for path in sorted((store / "records").rglob("*.json")):
        record = json.loads(path.read_text())["record"]
        found[record["key"]] = {**record["result"], "snapshot": ""}
    return found


def test_a_confined_build_makes_what_root_makes(
    builder: dict[str, str], confined_cli: ConfinedCli, project: Path, tmp_path: Path
) -> None:
    """Equal keys, records, facts and images; then publishing, from the same confinement."""
    root = Cli(tmp_path / "root-store", builder)
    confined = replace(confined_cli, env=builder)
    confined.run(project, "lock")
    mine = confined.build(project)
    theirs = root.build(project)
    assert results(mine) == results(theirs)
    assert records(confined.store) == records(root.store)
    local = Cli(tmp_path / "local-store", {"LAMELLA_ENGINE": "local"}).build(project)
    assert results(local) == results(mine)
    assert confined.built(project) == set()
    published = json.loads(confined.run(project, "publish", "--format", "json").stdout)
    again = json.loads(root.run(project, "publish", "--format", "json").stdout)
    assert [image["digest"] for image in published["images"]] == [image["digest"] for image in again["images"]]
    assert "sent" in {blob["action"] for blob in published["transfer"]["blobs"]}


def test_a_sandbox_goes_on_with_the_store_of_a_confined_build(
    builder: dict[str, str], confined_cli: ConfinedCli, project: Path
) -> None:
    """What is kept without a tree is nobody's root file system: it is unpacked, and steps see owners and whiteouts."""
    confined = replace(confined_cli, env=builder)
    confined.run(project, "lock")
    first = confined.build(project)
    local = Cli(confined.store, {"LAMELLA_ENGINE": "local"})
    assert local.built(project) == set(), "records serve both"
    again = local.build(project, "--rebuild")
    assert "setup" in {row["name"] for row in again["vertices"] if row["outcome"] == "built"}
    assert results(again) == results(first)
    write_tree(project, {"setup/word": "y\n"})
    changed = local.build(project)
    assert results(confined.build(project, "--rebuild")) == results(changed), "and back again"
    verified = local.run(project, "cache", "verify", "--deep", check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_machine_without_linux_calls_builds_the_same(
    project: Path, docker28: object, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The client as on macOS, as far as that can be had here: ``sys.platform`` and no call that only Linux has."""
    builder = engine_environment("docker28", request.getfixturevalue, tmp_path / "client")
    away = ElsewhereCli(tmp_path / "elsewhere-store", {**builder, **HERE, "LAMELLA_ENGINE": "auto"})
    away.run(project, "lock")
    mine = away.build(project, "--platform", "linux/amd64")
    theirs = Cli(tmp_path / "local-store", {"LAMELLA_ENGINE": "local"}).build(project)
    assert results(mine) == results(theirs)
    assert away.built(project, "--platform", "linux/amd64") == set()
    away.run(project, "publish", "--platform", "linux/amd64")
    away.run(project, "cache", "verify", "--deep")


def test_auto_falls_back_and_files_alone_need_no_builder(
    confined_cli: ConfinedCli, project: Path, docker28: object, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    builder = engine_environment("docker28", request.getfixturevalue, tmp_path / "client")
    auto = replace(confined_cli, env={**builder, "LAMELLA_ENGINE": "auto"})
    auto.run(project, "lock")
    assert "setup" in auto.built(project)
    alone = (project / "lamella.toml").read_text().replace('"base", "setup", "files"', '"base", "files"')
    nobody = {"LAMELLA_ENGINE": "buildkit", "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    without = replace(confined_cli, store=tmp_path / "other-store", env={**builder, **nobody})
    write_tree(project, {"lamella.toml": alone})
    assert "files -> /opt/app" in without.built(project)


def test_a_base_of_a_layout_is_sent_whole(
    builder: dict[str, str], confined_cli: ConfinedCli, project: Path, stacked_layout: Path, tmp_path: Path
) -> None:
    """Two layers with whiteouts in them become one archive, out of bytes that were never a tree."""
    text = (project / "lamella.toml").read_text()
    place = text.split('from = "')[1].split('"')[0]
    write_tree(project, {"lamella.toml": text.replace(place, f"oci:{stacked_layout}:base")})
    confined = replace(confined_cli, env=builder)
    confined.run(project, "lock")
    mine = confined.build(project)
    assert results(mine) == results(Cli(tmp_path / "local-store", {"LAMELLA_ENGINE": "local"}).build(project))


def test_a_root_without_rights_is_no_root(confined_cli: ConfinedCli, project: Path, tmp_path: Path) -> None:
    """As in a container whose user is root: the embedded engine says what is missing, files need no builder."""
    text = (project / "lamella.toml").read_text().replace('"base", "setup", "files"', '"base", "files"')
    write_tree(project, {"lamella.toml": text})
    powerless = PowerlessCli(tmp_path / "powerless-store", {"LAMELLA_ENGINE": "local"})
    powerless.run(project, "lock")
    code, said = refusal(powerless.run(project, "build", check=False))
    assert (code, "namespaces" in said) == (8, True), said
    mine = replace(powerless, env={"LAMELLA_ENGINE": "buildkit"}).build(project)
    assert results(mine) == results(Cli(tmp_path / "local-store", {"LAMELLA_ENGINE": "local"}).build(project))


def refusal(done: Any) -> tuple[int, str]:
    return done.returncode, done.stderr


def test_a_bootstrapped_base_is_refused_with_the_ways_out(
    confined_cli: ConfinedCli, project: Path, docker28: object, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    text = (project / "lamella.toml").read_text()
    place = text.split('from = "')[1].split('"')[0]
    write_tree(project, {"lamella.toml": text.replace(f'from = "{place}"', 'bootstrap = "debian/bookworm"')})
    builder = engine_environment("docker28", request.getfixturevalue, tmp_path / "client")
    confined = replace(confined_cli, env=builder)
    confined.run(project, "lock")
    code, said = refusal(confined.run(project, "build", "--progress", "quiet", check=False))
    assert (code, 'from = "debian:bookworm"' in said, "cache repository" in said) == (8, True, True), said


def test_a_bootstrapped_base_of_a_cache_repository_is_built_on(
    shared_store: Path, confined_cli: ConfinedCli, oci_registry: str, docker28: object, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """Its record is enough for files; for a step its layer is brought here and sent to the builder."""
    text = TOML.replace("BASE", "").replace("REPOSITORY", f"{oci_registry}/bootstrapped-{uuid4().hex}")
    text = text.replace('from = ""', 'bootstrap = "debian/bookworm"')
    step = "set -eu\nmkdir /var/lib/app\ncat setup/word /etc/debian_version > /var/lib/app/all\nrm -r /usr/share/doc\n"
    files: dict[str, str | bytes] = {"lamella.toml": text, "setup/run": step, "setup/word": "x\n", "conf/a": "1\n"}
    folder = write_tree(tmp_path / "project", files)
    local = Cli(shared_store, {"LAMELLA_ENGINE": "local"})
    local.build(folder, "--push-records")
    confined = replace(confined_cli, env=engine_environment("docker28", request.getfixturevalue, tmp_path / "client"))
    assert confined.built(folder) == set()
    write_tree(folder, {"setup/word": "y\n"})
    report = confined.build(folder)
    assert {row["name"] for row in report["vertices"] if row["outcome"] == "built"} == {"setup"}
    assert results(report) == results(local.build(folder))
    other = replace(confined, store=tmp_path / "pulled-store")
    other.run(folder, "pull", "base")


@pytest.mark.parametrize("command", [("shell", "setup"), ("run", "web")])
def test_what_needs_a_sandbox_says_so(
    command: tuple[str, ...], confined_cli: ConfinedCli, project: Path, tmp_path: Path, docker28: object,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    builder = engine_environment("docker28", request.getfixturevalue, tmp_path / "client")
    confined = replace(confined_cli, env=builder)
    confined.run(project, "lock")
    confined.build(project)
    embedded = replace(confined, env={**builder, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"})
    code, said = refusal(embedded.run(project, *command, check=False))
    assert code == 8, said
    assert "hint:" in said


def test_other_commands_need_no_sandbox(
    confined_cli: ConfinedCli, project: Path, tmp_path: Path, docker28: object, request: pytest.FixtureRequest
) -> None:
    builder = engine_environment("docker28", request.getfixturevalue, tmp_path / "client")
    confined = replace(confined_cli, env=builder)
    confined.run(project, "lock")
    confined.build(project)
    for arguments in (
        ("plan",),
        ("explain", "setup"),
        ("outdated",),
        ("images",),
        ("export", "files", str(tmp_path / "out")),
        ("build", "--output", f"type=tar,dest={tmp_path}/image.tar"),
        ("build", "--output", str(tmp_path / "rootfs")),
        ("build", "--load"),
        ("publish",),
        ("retain", "--tags", "*", "--keep", "1"),
        ("rebase",),
        ("eject", "dockerfile"),
        ("run", "--engine", "docker", "web"),
        ("cache", "status"),
        ("cache", "gc"),
        ("cache", "verify", "--deep"),
    ):
        confined.run(project, *arguments)
