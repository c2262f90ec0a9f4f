"""The real components answer, and one instance serves all test processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path

import pytest

from tests.integration.components.keeper import ROOT, shared_daemon
from tests.integration.components.presence import require_program
from tests.integration.components.processes import DaemonError
from tests.integration.components.tools import DockerEngine, Skopeo, ToolError, Umoci


def is_listening(address: str) -> bool:
    """Whether something takes connections at ``host:port``."""
    host, port = address.split(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


@pytest.fixture
def layout(tmp_path: Path, umoci: Umoci) -> Path:
    """An OCI layout with one image ``one`` of one layer, made without any of our code."""
    (tmp_path / "hello").write_text("hello\n")
    with tarfile.open(tmp_path / "layer.tar", "w") as archive:
        archive.add(tmp_path / "hello", "etc/hello")
    path = tmp_path / "layout"
    umoci.run("init", "--layout", str(path))
    umoci.run("new", "--image", f"{path}:one")
    umoci.run("raw", "add-layer", "--image", f"{path}:one", str(tmp_path / "layer.tar"))
    umoci.run("config", "--image", f"{path}:one", "--config.cmd", "/etc/hello")
    return path


def test_umoci_unpacks_what_it_made(layout: Path, umoci: Umoci, tmp_path: Path) -> None:
    assert (umoci.unpack(layout, "one", tmp_path / "bundle") / "etc/hello").read_text() == "hello\n"


def test_skopeo_reads_a_layout(layout: Path, skopeo: Skopeo) -> None:
    assert len(skopeo.inspect(f"oci:{layout}:one", raw=True)["layers"]) == 1
    assert skopeo.inspect(f"oci:{layout}:one", config=True)["config"]["Cmd"] == ["/etc/hello"]


def test_skopeo_says_why_it_refuses(tmp_path: Path, skopeo: Skopeo) -> None:
    with pytest.raises(ToolError, match="nowhere"):
        skopeo.inspect(f"oci:{tmp_path}/nowhere:one")


def test_the_registry_takes_and_gives_an_image(layout: Path, skopeo: Skopeo, registry: str) -> None:
    skopeo.copy(f"oci:{layout}:one", f"docker://{registry}/components/one:1")
    with urllib.request.urlopen(f"http://{registry}/v2/components/one/tags/list") as response:
        assert json.load(response)["tags"] == ["1"]
    assert skopeo.inspect(f"docker://{registry}/components/one:1", config=True)["config"]["Cmd"] == ["/etc/hello"]


def test_docker_engine_takes_and_exports_an_image(
    layout: Path, skopeo: Skopeo, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    archive = tmp_path / "image.tar"
    skopeo.copy(f"oci:{layout}:one", f"docker-archive:{archive}:components/one:1")
    docker_engine.cli("load", "--input", str(archive))
    container = docker_engine.cli("create", "components/one:1").strip()
    docker_engine.cli("export", "--output", str(tmp_path / "root.tar"), container)
    docker_engine.cli("rm", container)
    with tarfile.open(tmp_path / "root.tar") as exported:
        assert "etc/hello" in exported.getnames()


def test_docker_engine_runs_an_image(skopeo: Skopeo, docker_engine: DockerEngine, umoci: Umoci, tmp_path: Path) -> None:
    program = require_program("docker-init", "docker.io")  # statically linked, so an image of its own
    with tarfile.open(tmp_path / "layer.tar", "w", dereference=True) as archive:
        archive.add(program, "init")
    layout = tmp_path / "layout"
    umoci.run("init", "--layout", str(layout))
    umoci.run("new", "--image", f"{layout}:run")
    umoci.run("raw", "add-layer", "--image", f"{layout}:run", str(tmp_path / "layer.tar"))
    skopeo.copy(f"oci:{layout}:run", f"docker-archive:{tmp_path}/image.tar:components/run:1")
    docker_engine.cli("load", "--input", f"{tmp_path}/image.tar")
    assert "tini version" in docker_engine.cli("run", "--rm", "components/run:1", "/init", "--version")


def test_a_second_user_finds_the_running_daemon_and_the_last_one_ends_it(tmp_path: Path) -> None:
    require_program("docker-registry")
    with shared_daemon("registry", tmp_path) as first:
        with shared_daemon("registry", tmp_path) as second:
            assert first == second
        assert is_listening(first["address"])
    deadline = time.monotonic() + 120
    while (tmp_path / "daemon").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_listening(first["address"])
    assert not (tmp_path / "info").exists()


def test_a_killed_test_run_leaves_no_daemon(tmp_path: Path) -> None:
    require_program("docker-registry")
    program = (
        "import os, pathlib, sys\n"
        "from tests.integration.components.keeper import ROOT, shared_daemon\n"
        "with shared_daemon('registry', pathlib.Path(sys.argv[1])) as info:\n"
        "    print(info['address'], flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False
    )
    assert killed.returncode == -9
    deadline = time.monotonic() + 120
    while (tmp_path / "daemon").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_listening(killed.stdout.strip())


def test_a_daemon_that_cannot_start_says_why(tmp_path: Path) -> None:
    require_program("docker-registry")
    (tmp_path / "daemon").mkdir()
    (tmp_path / "daemon/config.yml").mkdir()
    with pytest.raises(DaemonError, match=r"config\.yml"), shared_daemon("registry", tmp_path):
        pass
