"""Each engine that issue 9 names builds something small, from a base that this run made."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.components.installed import DOCKER_28, GO, component_versions, require_component
from tests.integration.components.keeper import ROOT
from tests.integration.components.processes import Bridge
from tests.integration.components.tools import BuildKit, BuildKitPair, DockerEngine, Skopeo, ToolError, Umoci


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    return path


def finished_steps(progress: str) -> dict[str, bool]:
    """Names of the vertices of a rawjson stream, and whether each came from the cache."""
    steps: dict[str, bool] = {}
    for line in progress.splitlines():
        for vertex in json.loads(line).get("vertexes") or ():
            if "completed" in vertex:
                steps[vertex["name"]] = vertex.get("cached", False)
    return steps


def build_and_read(engine: DockerEngine, context: Path, base: str, *arguments: str) -> str:
    """Builds two lines, finds the step in the progress, and reads the made file from a container.

    Whether a second build finds the step in the cache is not asked: other tests of the run share the engine, and one
    with a graph driver was seen to make it again after many of them.
    """
    step = f"RUN echo '{context}' > /made"
    (context / "Dockerfile").write_text(f"FROM {base}\n{step}\n")
    done = engine.buildx("build", "--progress", "rawjson", "--load", "--tag", "two:lines", str(context))
    assert finished_steps(done.stderr)[f"[2/2] {step}"] is False
    return engine.cli("run", "--rm", "--network", "none", "two:lines", "cat", "/made").strip()


def test_docker_20_builds_with_the_buildx_of_sid(docker20: DockerEngine, context: Path, base_reference: str) -> None:
    assert docker20.cli("version", "--format", "{{.Server.Version}}").startswith("20.10.")
    assert build_and_read(docker20, context, base_reference) == str(context)


def test_docker_28_builds(docker28_store: DockerEngine, context: Path, base_reference: str) -> None:
    assert int(docker28_store.cli("version", "--format", "{{.Server.Version}}").split(".")[0]) >= 28
    assert build_and_read(docker28_store, context, base_reference) == str(context)


def test_both_stores_of_docker_28_are_what_they_say(docker28: DockerEngine, docker28_containerd: DockerEngine) -> None:
    status = "{{.Driver}} {{json .DriverStatus}}"
    assert docker28.cli("info", "--format", status).startswith("overlay2 ")
    assert "io.containerd.snapshotter" in docker28_containerd.cli("info", "--format", status)


def test_compose_is_there(docker28: DockerEngine) -> None:
    versions = component_versions(require_component(DOCKER_28))
    assert docker28.cli("compose", "version", "--short").strip().split("+")[0] in versions["docker-compose"]


def test_steps_on_docker_reach_the_package_archive(docker28: DockerEngine, context: Path, base_reference: str) -> None:
    (context / "Dockerfile").write_text(f"FROM {base_reference}\nRUN apt-get update --error-on=any\n")
    done = docker28.buildx("build", "--progress", "rawjson", "--network", "host", str(context))
    assert any("apt-get update" in name for name in finished_steps(done.stderr))


def test_two_engines_leave_each_other_their_bridges(docker20: DockerEngine, docker28: DockerEngine) -> None:
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    assert sum(line.startswith("lml") for line in links.splitlines()) >= 2


def test_buildkitd_builds_and_pushes(
    buildkitd: BuildKit, context: Path, base_reference: str, oci_registry: str, skopeo: Skopeo
) -> None:
    assert component_versions(require_component(GO))["github.com/moby/buildkit"] in buildkitd.buildctl("--version")
    (context / "Dockerfile").write_text(f'FROM {base_reference}\nRUN echo made > /made\nCMD ["/made"]\n')
    name = f"{oci_registry}/components/buildkitd:1"
    inputs = ["--local", f"context={context}", "--local", f"dockerfile={context}", "--frontend", "dockerfile.v0"]
    buildkitd.buildctl("build", *inputs, "--output", f"type=image,name={name},push=true")
    assert skopeo.inspect(f"docker://{name}", config=True)["config"]["Cmd"] == ["/made"]


def test_the_registry_in_memory_lists_referrers(oci_registry: str, base_reference: str) -> None:
    with urllib.request.urlopen(f"http://{oci_registry}/v2/base/referrers/sha256:{'0' * 64}") as answer:
        found: dict[str, Any] = json.load(answer)
    assert found["mediaType"] == "application/vnd.oci.image.index.v1+json"


def test_the_pair_builds_each_platform_on_its_node(
    buildkit_pair: BuildKitPair,
    context: Path,
    base_image: Path,
    base_image_arm64: Path,
    skopeo: Skopeo,
    umoci: Umoci,
    tmp_path: Path,
) -> None:
    pair = buildkit_pair
    for layout, architecture in ((base_image, "amd64"), (base_image_arm64, "arm64")):
        pair.skopeo(skopeo, "copy", f"oci:{layout}:base", f"docker://{pair.registry}/base:{architecture}")
    (context / "Dockerfile").write_text(
        f"ARG TARGETARCH\nFROM {pair.registry}/base:$TARGETARCH AS made\nRUN uname -m > /machine\n"
        "FROM scratch\nCOPY --from=made /machine /\n"
    )
    builder = pair.create_builder(tmp_path)
    image = f"docker://{pair.registry}/components/two:1"
    pair.buildx(
        tmp_path, "build", "--builder", builder, "--platform", "linux/amd64,linux/arm64", "--provenance=false",
        "--push", "--tag", image.removeprefix("docker://"), str(context),
    )  # fmt: skip
    index = json.loads(pair.skopeo(skopeo, "inspect", "--raw", image))
    assert sorted(entry["platform"]["architecture"] for entry in index["manifests"]) == ["amd64", "arm64"]
    for architecture, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        layout = tmp_path / f"{architecture}.layout"
        pair.skopeo(skopeo, "--override-arch", architecture, "copy", image, f"oci:{layout}:two")
        root = umoci.unpack(layout, "two", tmp_path / architecture)
        assert (root / "machine").read_text().strip() == machine


def test_the_pair_has_a_way_out(
    buildkit_pair: BuildKitPair, context: Path, base_image: Path, skopeo: Skopeo, tmp_path: Path
) -> None:
    pair = buildkit_pair
    pair.skopeo(skopeo, "copy", f"oci:{base_image}:base", f"docker://{pair.registry}/base:amd64")
    (context / "Dockerfile").write_text(f"FROM {pair.registry}/base:amd64\nRUN apt-get update --error-on=any\n")
    pair.buildx(
        tmp_path, "build", "--builder", pair.create_builder(tmp_path), "--platform", "linux/amd64", str(context)
    )


def test_the_pair_refuses_who_has_no_certificate(buildkit_pair: BuildKitPair) -> None:
    stranger = BuildKit(buildkit_pair.amd64, buildkit_pair.buildctl_path, buildkit_pair.buildx_path)
    authority = str(buildkit_pair.certificates / "ca.pem")
    certificate, key = (str(buildkit_pair.certificates / name) for name in ("client.pem", "client.key"))
    words = ("--tlscacert", authority, "--timeout", "5")
    assert "linux/amd64" in stranger.buildctl(*words, "--tlscert", certificate, "--tlskey", key, "debug", "workers")
    with pytest.raises(ToolError, match="failed to list workers"):  # TLS 1.3 refuses after the handshake, in any words
        stranger.buildctl(*words, "debug", "workers")


def test_a_killed_user_leaves_neither_nodes_nor_networks(buildkit_pair: BuildKitPair, tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from tests.integration.components.keeper import shared_daemon\n"
        "with shared_daemon('buildkit-pair', pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=False).returncode == -9
    deadline = time.monotonic() + 120
    while (tmp_path / "daemon").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    bridge = Bridge.named_after(tmp_path / "daemon").name
    assert not [link.name for link in Path("/sys/class/net").iterdir() if link.name.startswith(bridge)]
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in running
