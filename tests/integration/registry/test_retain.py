"""Retention on real registries: what is kept can be pulled by somebody else's program."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.clock import SystemClock
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.registry.remote import RemoteRepository
from lamella.transport.client import Client
from tests.integration.components.tools import Skopeo
from tests.unit.images.releases import DAY, push_release, push_sbom

TODAY = SystemClock().now() // DAY


@pytest.fixture(params=["docker_registry", "oci_registry"])
def repository(request: pytest.FixtureRequest) -> Iterator[RemoteRepository]:
    """A fresh repository of a registry with deletes: one without, one with the referrers API."""
    address = request.getfixturevalue(request.param)
    http = Client()
    name = f"{address}/retain/{request.node.callspec.id.replace('_', '-')}-{id(http)}"
    yield RegistryClient(http).repository(parse_reference(name))
    http.close()


def lamella(folder: Path, *arguments: str, code: int = 0) -> str:
    argv = [str(Path(sys.executable).with_name("lamella")), *arguments]
    env = {"PATH": "/usr/bin:/bin", "LAMELLA_STORE": str(folder / "store"), "HOME": str(folder)}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_every_kept_tag_can_be_pulled(repository: RemoteRepository, skopeo: Skopeo, tmp_path: Path) -> None:
    """Indexes with untagged children, statements about them and about children, layers that all share."""
    for number in range(6):
        release = push_release(repository, f"1.{number}", f"base-{number}", text=f"r{number}", day=TODAY - 60 + number)
        child = repository.head(release.children[0])
        assert child is not None
        push_sbom(repository, child, TODAY - 60 + number)
    push_release(repository, "latest", text="r5", day=TODAY - 1)
    (tmp_path / "lamella.toml").write_text(
        f"""
        [project]
        schema = 1
        name = "shop"
        repository = "{repository.name}"

        [layer.base]
        files = [{{ from = "lamella.toml", to = "/etc" }}]

        [image.shop]
        layers = ["base"]

        [retain.versions]
        tags = ["1.*", "base-*"]
        keep = 2
        min_age = "7d"
        """
    )
    planned = json.loads(lamella(tmp_path, "retain", "--format", "json"))
    doomed = {row["tag"] for row in planned["tags"] if not row["keep"]}
    assert doomed == {f"{kind}{number}" for kind in ("1.", "base-") for number in range(4)}
    lamella(tmp_path, "retain", "--apply", code=2)  # more than half of the tags
    before = set(repository.tags())
    assert before >= doomed
    done = json.loads(lamella(tmp_path, "retain", "--apply", "--max-share", "70", "--format", "json"))
    assert {row["outcome"] for row in done["removed"]} == {"done"}
    kept = {"1.4", "1.5", "base-4", "base-5", "latest"}
    assert {tag for tag in repository.tags() if not tag.startswith("sha256-")} == kept
    for tag in kept:
        skopeo.run(
            "copy", "--all", "--src-tls-verify=false", f"docker://{repository.name}:{tag}", f"dir:{tmp_path}/{tag}"
        )
        document = repository.manifest(tag)
        assert document is not None
        assert len(repository.referrers(document.descriptor.digest)) >= 1
    listed = json.loads(lamella(tmp_path, "registry", "ls", "--format", "json"))
    assert {row["tag"] for row in listed["repositories"][0]["tags"]} == kept
    assert listed["repositories"][0]["problems"] == []
    stats = json.loads(lamella(tmp_path, "registry", "stats", repository.name, "--format", "json"))
    assert stats["repositories"][0]["counts"]["indexes"] == 2
    assert 0 < stats["repositories"][0]["shared"] <= stats["repositories"][0]["size"]
