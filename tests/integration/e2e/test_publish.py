"""``publish`` and ``promote`` against real registries: what readers see, what moves, and what a kill leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lamella.sources.hashing import SETTLED_SECONDS
from tests.integration.components.tools import Skopeo
from tests.integration.e2e.conftest import Cli, write_tree

TOML = """
[project]
schema = 1
name = "shop"
repository = "REPOSITORY"
version = "1.2.0"

[axes]
platform = ["linux/amd64", "linux/arm64"]

[layer.base]
from = "scratch"

[layer.data]
files = [{ from = "data", to = "/srv" }]

[layer.app]
files = [{ from = "app", to = "/app/{arch}" }]

[image.shop]
layers = ["base", "data", "app"]
entrypoint = ["/app/run"]
expose = [8080]
tags = ["{version}", "{version}-{arch}", "latest"]
"""
TAGS = {"1.2.0", "1.2.0-amd64", "1.2.0-arm64", "latest"}


@dataclass
class Project:
    """A project that is published to one repository of a registry on loopback."""

    cli: Cli
    folder: Path
    registry: str
    name: str

    def publish(self, *arguments: str) -> dict[str, Any]:
        done = self.cli.run(self.folder, "publish", "--format", "json", "--progress", "quiet", *arguments)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def reference(self, tag: str) -> str:
        return f"docker://{self.registry}/{self.name}:{tag}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.registry}/v2/{self.name}/{path}") as answer:
            return json.load(answer)

    def tags(self) -> set[str]:
        """The tags that people see, none for a repository that is not there."""
        try:
            found = self.get("tags/list")["tags"] or []
        except urllib.error.HTTPError:
            return set()
        return {tag for tag in found if not tag.startswith("sha256-")}

    def has(self, digest: str) -> bool:
        request = urllib.request.Request(f"http://{self.registry}/v2/{self.name}/blobs/{digest}", method="HEAD")
        try:
            with urllib.request.urlopen(request):
                return True
        except urllib.error.HTTPError:
            return False


@pytest.fixture(params=["docker_registry", "oci_registry"])
def any_registry(request: pytest.FixtureRequest) -> str:
    """``host:port`` of a registry without the referrers API, and of one with it."""
    found: str = request.getfixturevalue(request.param)
    return found


def make_project(folder: Path, registry: str, name: str, *, through: str = "") -> Project:
    files: dict[str, str | bytes] = {
        "lamella.toml": TOML.replace("REPOSITORY", f"{through or registry}/{name}"),
        "app": "one\n",
        **{f"data/{number}": os.urandom(200_000) for number in range(3)},
    }
    return Project(Cli(folder / "store"), write_tree(folder / "project", files), registry, name)


def test_a_release_is_what_other_tools_read(any_registry: str, tmp_path: Path, skopeo: Skopeo) -> None:
    project = make_project(tmp_path, any_registry, "readers/shop")
    report = project.publish()
    assert report["complete"]
    assert project.tags() == TAGS
    index = skopeo.inspect(project.reference("latest"), raw=True)
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    config = skopeo.inspect(project.reference("1.2.0-arm64"), config=True)
    assert (config["architecture"], config["config"]["Entrypoint"]) == ("arm64", ["/app/run"])
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == "1.2.0"
    for tag in sorted(TAGS):
        skopeo.run("copy", "--all", "--src-tls-verify=false", project.reference(tag), f"dir:{tmp_path}/{tag}")
    notes = (project.folder / ".lamella/release/notes.md").read_text()
    assert f"docker pull {any_registry}/readers/shop:1.2.0" in notes
    assert "--publish 8080:8080" in notes


def test_nothing_new_is_one_request_per_image(any_registry: str, tmp_path: Path) -> None:
    with counting(any_registry) as proxy:
        project = make_project(tmp_path, any_registry, "still/shop", through=proxy.address)
        project.publish()
        time.sleep(SETTLED_SECONDS + 1)  # a folder that just changed may change again within its time's tick
        project.publish()  # finds nothing to do, and keeps that
        proxy.lines.clear()
        assert project.publish()["unchanged"]
        assert proxy.lines == ["HEAD /v2/still/shop/manifests/1.2.0"]


def test_a_fresh_machine_moves_only_what_changed(any_registry: str, tmp_path: Path) -> None:
    """Only the registry is left of the first machine: its records name the layers, and no byte of them moves."""
    project = make_project(tmp_path, any_registry, "fresh/shop")
    cache = ("--push-records", "--cache-to", f"{any_registry}/fresh/cache", "--attest", "none")
    project.publish(*cache)
    (project.folder / "app").write_text("two\n")
    fresh = Project(Cli(tmp_path / "other"), project.folder, any_registry, "fresh/shop")
    report = fresh.publish("--cache-from", f"{any_registry}/fresh/cache", "--attest", "none")
    assert report["transfer"]["present"] == 1
    assert report["transfer"]["sent"] == 4  # a layer and a config for each platform
    assert report["transfer"]["bytes"] < 10_000
    assert not any(path.stat().st_size > 100_000 for path in (tmp_path / "other").rglob("*") if path.is_file())


def test_promotion_copies_everything_into_another_repository(any_registry: str, tmp_path: Path, skopeo: Skopeo) -> None:
    project = make_project(tmp_path, any_registry, "from/shop")
    digest = {tag["tag"].rpartition(":")[2]: tag["digest"] for tag in project.publish()["tags"]}
    done = project.cli.run(
        project.folder, "promote", "1.2.0", "stable", f"{any_registry}/to/shop:1", "--format", "json"
    )
    assert {move["digest"] for move in json.loads(done.stdout)["tags"]} == {digest["1.2.0"]}
    target = f"docker://{any_registry}/to/shop:1"
    assert skopeo.inspect(target, raw=True) == skopeo.inspect(project.reference("stable"), raw=True)
    skopeo.run("copy", "--all", "--src-tls-verify=false", target, f"dir:{tmp_path}/copy")
    again = project.cli.run(project.folder, "promote", "1.2.0", "stable", "--expect", f"sha256:{'0' * 64}", check=False)
    assert again.returncode == 0  # it is there already
    moved = project.cli.run(project.folder, "promote", "1.2.0-amd64", "stable", "--expect", f"sha256:{'0' * 64}",
                            check=False)  # fmt: skip
    assert moved.returncode == 6
    assert "expected" in moved.stderr
    assert "stable" in project.tags()


def test_a_push_under_a_name_of_ones_own(any_registry: str, tmp_path: Path, skopeo: Skopeo) -> None:
    project = make_project(tmp_path, any_registry, "own/shop")
    name = f"{any_registry}/own/try:now"
    project.cli.run(project.folder, "build", "--prod", "--platform", "linux/amd64,linux/arm64", "-t", name, "--push")
    assert len(skopeo.inspect(f"docker://{name}", raw=True)["manifests"]) == 2
    refused = project.cli.run(project.folder, "build", "--prod", "--push", check=False)
    assert refused.returncode == 2


class CountingProxy:
    """Leads to a registry, notes each request's first line, and calls ``at`` before the one that it is set for."""

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.lines: list[str] = []
        self.stop_at = 0
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._copy, args=(server, client, False), daemon=True).start()
                threading.Thread(target=self._copy, args=(client, server, True), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, requests: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if requests and self._is_stopped(data):
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()  # the other direction closes its own

    def _is_stopped(self, data: bytes) -> bool:
        """Notes a request; from the one that was set on, nothing reaches the registry any more."""
        line = re.match(rb"(GET|HEAD|PUT|POST|PATCH) (\S+) HTTP", data)
        with self._lock:
            if line is not None:
                self.lines.append(f"{line[1].decode()} {line[2].decode()}")
            if self.stop_at and len(self.lines) >= self.stop_at:
                self.stopped.set()
            return self.stopped.is_set()


@contextlib.contextmanager
def counting(target: str) -> Iterator[CountingProxy]:
    proxy = CountingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def killed(project: Project, proxy: CountingProxy, at: int) -> None:
    """A publication that is killed with SIGKILL when it makes its ``at``-th request."""
    proxy.lines.clear()
    proxy.stopped.clear()
    proxy.stop_at = at
    env = {**os.environ, "LAMELLA_STORE": str(project.cli.store)}
    argv = [sys.executable, "-m", "lamella.cli", "publish", "--progress", "quiet"]
    with subprocess.Popen(
        argv, cwd=project.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        assert proxy.stopped.wait(120), "it ended before it was killed"
        process.send_signal(signal.SIGKILL)
    proxy.stop_at = 0
    proxy.stopped.clear()


@pytest.mark.parametrize("at", [6, 14, 30, 60])
def test_a_push_that_is_killed_leaves_no_broken_tag_and_is_completed(
    docker_registry: str, tmp_path: Path, skopeo: Skopeo, at: int
) -> None:
    with counting(docker_registry) as proxy:
        project = make_project(tmp_path, docker_registry, f"killed/at-{at}", through=proxy.address)
        killed(project, proxy, at)
        for tag in sorted(project.tags()):  # whatever is tagged can be pulled
            skopeo.run("copy", "--all", "--src-tls-verify=false", project.reference(tag), f"dir:{tmp_path}/{tag}")
        preview = project.publish("--dry-run")
        blobs = {layer["digest"] for image in preview["images"] for layer in image.get("layers", ())}
        there = {digest for digest in blobs if project.has(digest)}
        proxy.lines.clear()
        report = project.publish()
        assert report["complete"]
        assert project.tags() == TAGS
        sent = {line.partition("digest=")[2] for line in proxy.lines if line.startswith("PUT") and "digest=" in line}
        assert not there & sent, "a blob that was there was sent again"
    for tag in sorted(TAGS):
        skopeo.run("copy", "--all", "--src-tls-verify=false", project.reference(tag), f"dir:{tmp_path}/after-{tag}")
