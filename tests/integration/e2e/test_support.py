"""The support table of docs/guides/buildkit.md: each row is what one kind of engine really does here."""

from __future__ import annotations

import hashlib
import json
import ssl
import tarfile
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.components.tools import BuildKitPair, Skopeo
from tests.integration.e2e.conftest import Cli, write_tree
from tests.integration.e2e.engines import client, engine_environment
from tests.integration.e2e.test_engines import built, digest, project

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "buildkit.md"

NETWORKED = """
[layer.open]
run = [["sh", "-c", "cut -d: -f1 -s /proc/net/dev > /var/open"]]
network = true
"""


def assert_row(*cells: str) -> None:
    """The guide's table has this row."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in GUIDE.read_text().splitlines()]
    assert list(cells) in rows, f"the guide has no row | {' | '.join(cells)} |"


def with_network(folder: Path) -> Path:
    """The project with a second step, which has the network where the first one has none."""
    text = (folder / "lamella.toml").read_text().replace("[layer.files]", f"{NETWORKED}\n[layer.files]")
    text = text.replace('"setup", "files"', '"setup", "open", "files"')
    script = (folder / "setup/run").read_text() + "cut -d: -f1 -s /proc/net/dev > /var/lib/app/closed\n"
    return write_tree(folder, {"lamella.toml": text, "setup/run": script})


def member(archive: Path, name: str) -> str:
    """A file of a tar."""
    with tarfile.open(archive) as tar:
        found = tar.extractfile(next(item for item in tar if item.name.strip("./") == name))
        assert found is not None
        return found.read().decode()


@pytest.mark.parametrize(
    ("name", "label", "level", "closed"),
    [
        ("local", "local", "", "each step"),
        ("docker20", "Docker Engine 20.10", "L0", "with `--allow-network` only"),
        ("docker28", "Docker Engine 28", "L4", "each step"),
    ],
)
def test_one_machine(
    name: str, label: str, level: str, closed: str, cli: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = replace(cli, env=engine_environment(name, request.getfixturevalue, tmp_path / "client"))
    folder = with_network(project(tmp_path / "project", f"support-{name}"))
    archive = tmp_path / "image.tar"
    first = engine.run(folder, "build", "--output", f"type=tar,dest={archive}", check=False)
    if level == "L0":
        assert (first.returncode, "--allow-network" in first.stderr) == (8, True)
        engine.run(folder, "build", "--allow-network", "--output", f"type=tar,dest={archive}")
    else:
        assert first.returncode == 0, first.stderr
        assert member(archive, "var/lib/app/closed").split() == ["lo"], "the step had no network"
        assert len(member(archive, "var/open").split()) > 1, "the other one had"
    if level:
        assert f"{level} (BuildKit" in first.stderr or level == "L0"
    assert_row(label, level or "-", "its own", closed, "equal")


def test_a_pair_of_nodes(
    buildkit_pair: BuildKitPair,
    base_image: Path,
    base_image_arm64: Path,
    skopeo: Skopeo,
    cli: Cli,
    tmp_path: Path,
) -> None:
    """Behind mutual TLS, each platform on its own node; both engines make one image of this machine's platform."""
    pair = buildkit_pair
    base = two_platforms(pair, skopeo, {"amd64": base_image, "arm64": base_image_arm64})
    folder = project(tmp_path / "project", "support-pair")
    text = (folder / "lamella.toml").read_text().replace('bootstrap = "debian/bookworm"', f'from = "{base}"')
    text += '\n[axes]\nplatform = ["linux/amd64", "linux/arm64"]\n'
    write_tree(folder, {"lamella.toml": text, "setup/run": "mkdir -p /var/lib/app && uname -m > /var/lib/app/all\n"})
    home = tmp_path / "client"
    env = {**client(pair.buildx_path, home), "SSL_CERT_FILE": str(pair.certificates / "bundle.pem")}
    pair_env = {**pair.env(home / "docker"), **env, "BUILDX_CONFIG": str(home / "docker" / "buildx")}
    builder = pair.create_builder(home / "docker")
    remote = replace(cli, env={**pair_env, "LAMELLA_ENGINE": "buildkit", "BUILDX_BUILDER": builder})
    remote.run(folder, "lock")
    report = remote.build(folder, "--all")
    images = {image["platform"]: image for image in report["images"]}
    assert set(images) == {"linux/amd64", "linux/arm64"}
    for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
        archive = tmp_path / f"{machine}.tar"
        remote.run(folder, "build", "--platform", platform, "--output", f"type=tar,dest={archive}")
        assert member(archive, "var/lib/app/all").strip() == machine, "the step ran on the node of its platform"
    local = replace(cli, env={"LAMELLA_ENGINE": "local", "SSL_CERT_FILE": env["SSL_CERT_FILE"]})
    assert built(local.build(folder, "--platform", "linux/amd64")) == set()
    again = local.build(folder, "--platform", "linux/amd64", "--rebuild")
    assert built(again) == {"setup"}
    assert digest(again) == images["linux/amd64"]["containerimage.digest"]
    assert_row("remote pair, mutual TLS", "L4", "one node each", "each step", "equal")


def two_platforms(pair: BuildKitPair, skopeo: Skopeo, layouts: dict[str, Path]) -> str:
    """An index over one-platform images in the pair's registry; its reference."""
    entries = []
    for architecture, layout in layouts.items():
        place = f"docker://{pair.registry}/support/base:{architecture}"
        pair.skopeo(skopeo, "copy", f"oci:{layout}:base", place)
        raw = pair.skopeo(skopeo, "inspect", "--raw", place).encode()
        entries.append({
            "mediaType": json.loads(raw).get("mediaType", "application/vnd.oci.image.manifest.v1+json"),
            "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
            "size": len(raw),
            "platform": {"os": "linux", "architecture": architecture},
        })  # fmt: skip
    media = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": media, "manifests": entries}).encode()
    request = urllib.request.Request(
        f"https://{pair.registry}/v2/support/base/manifests/two", index, {"Content-Type": media}, method="PUT"
    )
    trust = ssl.create_default_context(cafile=str(pair.certificates / "bundle.pem"))
    with urllib.request.urlopen(request, timeout=30, context=trust) as answer:
        assert answer.status == 201
    return f"{pair.registry}/support/base:two"
