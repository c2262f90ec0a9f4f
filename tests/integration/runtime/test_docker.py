"""``lamella run --engine docker`` with a private Docker Engine 20.10."""

from __future__ import annotations

import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.store import Store
from tests.integration.components.tools import DockerEngine
from tests.integration.images.hello import STATUS, TEXT
from tests.integration.runtime.conftest import HOST, Lamella


@pytest.fixture
def docker(lamella: Lamella, docker_engine: DockerEngine) -> Lamella:
    """The command line with the private engine in its environment."""
    return replace(lamella, env={**lamella.env, **docker_engine.env})


def test_the_image_is_loaded_once_and_its_status_passed_on(images: Store, docker: Lamella) -> None:
    first = docker.run("run", "hello:dev", "--engine", "docker")
    assert (first.returncode, first.stdout) == (STATUS, TEXT.decode())
    assert "loaded hello:dev" in first.stderr
    second = docker.run("run", "hello:dev", "--engine", "docker")
    assert (second.returncode, "loaded" in second.stderr) == (STATUS, False)


def test_settings_arrive(images: Store, docker: Lamella, tmp_path: Path) -> None:
    (tmp_path / "e").write_text("FROM_FILE=1\n")
    script = 'id -u; pwd; echo $A $B $FROM_FILE; echo "$LINES_"'
    done = docker.run(
        "run", "tools:dev", *HOST, "--engine", "docker", "-u", "9", "-w", "/tmp", "-e", "B=2", "-e", "LINES_=x\ny",
        "--env-file", "e", "--", "/bin/sh", "-c", script,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["9", "/tmp", "image 2 1", "x", "y"]


def test_a_detached_container_is_healthy_on_another_port(
    images: Store, docker: Lamella, docker_engine: DockerEngine, port: int
) -> None:
    other = port - 1
    done = docker.run("run", "server:dev", *HOST, "--engine", "docker", "-p", f"127.0.0.1:{other}:{port}", "--detach")
    assert done.returncode == 0, done.stderr
    identity = done.stdout.strip()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{other}/", timeout=60) as answer:
            assert answer.read() == b"hello\n"
        assert "healthy" in done.stderr
    finally:
        docker_engine.cli("rm", "--force", identity)


def test_a_container_that_ends_is_an_error_with_its_words(images: Store, docker: Lamella) -> None:
    done = docker.run("run", "hello:dev", "--engine", "docker", "--detach")
    assert done.returncode == 1
    assert f"exited {STATUS}" in done.stderr
    assert TEXT.decode().strip() in done.stderr


def test_a_daemon_that_is_not_there_is_said(images: Store, lamella: Lamella, docker_engine: DockerEngine) -> None:
    gone = replace(lamella, env={**lamella.env, **docker_engine.env, "DOCKER_HOST": "unix:///no/such.sock"})
    done = gone.run("run", "hello:dev", "--engine", "docker")
    assert (done.returncode, "does not answer" in done.stderr) == (6, True)
