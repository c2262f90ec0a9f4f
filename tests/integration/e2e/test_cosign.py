"""Signatures by the real cosign, which then verifies them itself.

No script brings cosign (it takes 8 minutes and 2.6 GB to build), so these run where it is installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.components.tools import Skopeo, ToolError, run_tool
from tests.integration.e2e.conftest import Cli, write_tree

pytestmark = pytest.mark.slow

TOML = """
[project]
schema = 1
name = "signed"
version = "1.0.0"
repository = "REGISTRY/acme/signed"

[axes]
platform = ["linux/amd64", "linux/arm64"]

[layer.base]
from = "scratch"

[layer.files]
files = [{ from = "word", to = "/etc" }]

[image.signed]
layers = ["base", "files"]
tags = ["{version}"]
"""
NO_PASSWORD = {"COSIGN_PASSWORD": ""}


@pytest.fixture
def cosign() -> str:
    return shutil.which("cosign") or pytest.skip(
        "cosign is not on PATH (github.com/sigstore/cosign, tried with 2.6 and 3.1)"
    )


def key_pair(cosign: str, folder: Path) -> Path:
    """A folder with cosign.key and cosign.pub."""
    folder.mkdir()
    run_tool([cosign, "generate-key-pair"], env=NO_PASSWORD, cwd=folder)
    return folder


def verify(cosign: str, keys: Path, image: str) -> list[str]:
    """Digests that cosign finds signed under a reference."""
    flags = ["--allow-http-registry", "--insecure-ignore-tlog", "--private-infrastructure", "--output", "json"]
    said = json.loads(run_tool([cosign, "verify", "--key", str(keys / "cosign.pub"), *flags, image]))
    return [one["critical"]["image"]["docker-manifest-digest"] for one in said]


def publish(cli: Cli, folder: Path) -> subprocess.CompletedProcess[str]:
    return cli.run(folder, "publish", "--attest", "cosign")


@pytest.mark.parametrize("kind", ["oci_registry", "docker_registry"])
def test_what_is_published_is_signed(
    kind: str, cosign: str, request: pytest.FixtureRequest, skopeo: Skopeo, tmp_path: Path
) -> None:
    """The index and what it names, before the tag moves; a second publication signs nothing again."""
    address = request.getfixturevalue(kind)
    keys, others = key_pair(cosign, tmp_path / "keys"), key_pair(cosign, tmp_path / "others")
    folder = write_tree(tmp_path / "project", {"lamella.toml": TOML.replace("REGISTRY", address), "word": "one\n"})
    env = {**NO_PASSWORD, "LAMELLA_COSIGN_KEY": str(keys / "cosign.key"), "LAMELLA_COSIGN_TLOG": "false"}
    cli = Cli(tmp_path / "store", env)
    publish(cli, folder)
    image = f"{address}/acme/signed"
    index = skopeo.inspect(f"docker://{image}:1.0.0", raw=True)
    digests = [entry["digest"] for entry in index["manifests"]]
    assert len(digests) == 2
    assert len(verify(cosign, keys, f"{image}:1.0.0")) == 1
    for digest in digests:
        assert verify(cosign, keys, f"{image}@{digest}") == [digest]
    with pytest.raises(ToolError, match=r"no matching (signatures|attestations)|invalid signature"):
        verify(cosign, others, f"{image}:1.0.0")
    publish(cli, folder)
    assert len(verify(cosign, keys, f"{image}:1.0.0")) == 1
