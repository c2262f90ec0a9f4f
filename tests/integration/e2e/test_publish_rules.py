"""``publish`` where not everything goes well, and by channels; the registry is in memory, the commands are real."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from lamella.canonical import digest_bytes
from lamella.testing.registry import Fault, MemoryRegistry
from tests.integration.e2e.conftest import Cli, write_tree

HEAD = """
[project]
schema = 1
name = "shop"
repository = "REGISTRY/acme/shop"
version = "file:VERSION"

[axes]
platform = ["linux/amd64", "linux/arm64"]

[layer.base]
from = "scratch"
"""
FETCHED = """
[layer.app]
fetch = [{ url = "http://REGISTRY/files/app-{arch}", sha256 = "SUM", to = "/app/run", mode = "0755" }]

[image.shop]
layers = ["base", "app"]
tags = ["{version}-{arch}", "{version}", "latest"]
"""
CHANNELS = """
[layer.app]
files = [{ from = "app", to = "/app/run" }]

[image.shop]
layers = ["base", "app"]
tags = ["{version}"]

[channel.ci]
on = ["push:main"]
tags = ["ci-7"]
attest = []

[channel.release]
on = ["tag:v{version}"]
promote = "ci"
stable_tags = ["{major}", "latest"]

[channel.pr]
on = ["pull_request"]

[channel.gated]
on = ["manual"]
checks = ["smoke"]

[check.smoke]
image = "shop"
run = ["true"]
"""
DATA = b"#!/bin/sh\n"


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


def make(folder: Path, registry: MemoryRegistry, toml: str, version: str = "1.2.0") -> tuple[Cli, Path]:
    text = (HEAD + toml).replace("REGISTRY", registry.address).replace("SUM", sha256(DATA).hexdigest())
    root = write_tree(folder / "project", {"lamella.toml": text, "VERSION": f"{version}\n", "app": "one\n"})
    return Cli(folder / "store", {"DOCKER_CONFIG": str(folder / "docker")}), root


def release(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / ".lamella/release/release.json").read_text())
    return found


def tags(registry: MemoryRegistry) -> dict[str, str]:
    return {
        name: digest_bytes(data)
        for (repository, name), (_, data) in registry.manifests.items()
        if repository == "acme/shop" and not name.startswith("sha256")
    }


def test_a_platform_that_cannot_be_built_keeps_the_other_from_nothing_but_the_index(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    registry.put_file("/files/app-amd64", DATA)
    cli, root = make(tmp_path, registry, FETCHED)
    done = cli.run(root, "publish", "--progress", "plain", check=False)
    assert done.returncode == 6  # that of the fetch
    assert set(tags(registry)) == {"1.2.0-amd64"}
    record = release(root)
    assert [image["state"] for image in record["images"]] == ["published", "failed"]
    assert not record["complete"]
    notes = (root / ".lamella/release/notes.md").read_text()
    assert "## Not released" in notes
    assert "linux/arm64 failed" in notes
    registry.put_file("/files/app-arm64", DATA)
    registry.requests.clear()
    cli.run(root, "publish", "--progress", "plain")
    assert set(tags(registry)) == {"1.2.0-amd64", "1.2.0-arm64", "1.2.0", "latest"}
    assert release(root)["complete"]
    assert not [seen for seen in registry.requests if seen.path == "/files/app-amd64"]


def test_latest_stays_with_the_newest_version(registry: MemoryRegistry, tmp_path: Path) -> None:
    for arch in ("amd64", "arm64"):
        registry.put_file(f"/files/app-{arch}", DATA)
    cli, root = make(tmp_path, registry, FETCHED, "1.10.0")
    cli.run(root, "publish")
    newest = tags(registry)["latest"]
    (root / "VERSION").write_text("1.9.1\n")
    done = cli.run(root, "publish")
    assert "held" in done.stderr
    assert tags(registry)["latest"] == newest != tags(registry)["1.9.1"]


def test_what_a_channel_tested_is_tagged_again_by_another(registry: MemoryRegistry, tmp_path: Path) -> None:
    cli, root = make(tmp_path, registry, CHANNELS)
    early = cli.run(root, "publish", "--channel", "release", check=False)
    assert early.returncode == 2
    assert "channel ci has published nothing" in early.stderr
    cli.run(root, "publish", "--channel", "ci")
    tested = tags(registry)
    assert set(tested) == {"1.2.0", "ci-7"}
    assert not [name for _, name in registry.manifests if name.startswith("sha256-")]  # attest = []
    (root / "app").write_text("not tested\n")
    cli.run(root, "publish", "--channel", "release")
    assert tags(registry) == {**tested, "1": tested["ci-7"], "latest": tested["ci-7"]}


def test_a_prerelease_gets_no_stable_tag(registry: MemoryRegistry, tmp_path: Path) -> None:
    cli, root = make(tmp_path, registry, CHANNELS, "2.0.0-rc.1")
    cli.run(root, "publish", "--channel", "ci")
    cli.run(root, "publish", "--channel", "release")
    assert set(tags(registry)) == {"2.0.0-rc.1", "ci-7"}
    assert release(root)["prerelease"]


def test_channels_that_cannot_publish_say_why(registry: MemoryRegistry, tmp_path: Path) -> None:
    cli, root = make(tmp_path, registry, CHANNELS)
    for arguments, words in (
        (("--channel", "pr"), "does not publish"),
        (("--channel", "gated"), "not yet"),
        (("--channel", "relais"), "no channel 'relais'"),
        (("--dev",), "no tag to publish under"),
    ):
        done = cli.run(root, "publish", *arguments, check=False)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    cli.run(root, "publish", "--channel", "gated", "--unchecked")
    assert release(root)["checks"] == {"smoke": "not run"}


def test_a_dry_run_builds_and_moves_nothing(registry: MemoryRegistry, tmp_path: Path) -> None:
    cli, root = make(tmp_path, registry, CHANNELS)
    done = cli.run(root, "publish", "--dry-run", "--format", "json")
    report = json.loads(done.stdout)
    assert report["dry_run"]
    assert [image["state"] for image in report["images"]] == ["pending", "pending"]
    assert registry.manifests == {}
    assert not (root / ".lamella").exists()


def test_refused_credentials_end_it_before_anything_is_built(tmp_path: Path) -> None:
    with MemoryRegistry(user="ada", password="right") as registry:
        cli, root = make(tmp_path, registry, CHANNELS)
        wrong = base64.b64encode(b"ada:wrong-password").decode()
        write_tree(tmp_path / "docker", {"config.json": json.dumps({"auths": {registry.address: {"auth": wrong}}})})
        done = cli.run(root, "publish", check=False)
        assert done.returncode == 7
        assert "docker login" in done.stderr
        assert "wrong-password" not in done.stderr
        assert wrong not in done.stderr
        assert "built" not in done.stderr


def test_no_registry_there_is_the_networks_failure(tmp_path: Path) -> None:
    with MemoryRegistry() as registry:
        cli, root = make(tmp_path, registry, CHANNELS)
    done = cli.run(root, "publish", check=False)
    assert done.returncode == 6
    assert "cannot be reached" in done.stderr


def test_a_quota_is_told_in_the_registrys_words(registry: MemoryRegistry, tmp_path: Path) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"quota of acme exceeded"}]}'
    registry.script(Fault("/blobs/uploads/", times=0, method="PUT", status=413, body=body))
    cli, root = make(tmp_path, registry, CHANNELS)
    done = cli.run(root, "publish", check=False)
    assert done.returncode == 6
    assert "quota of acme exceeded" in done.stderr
    assert tags(registry) == {}
