"""Starts a container with a Docker daemon, through its command line."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lamella.errors import LamellaError, RegistryError
from lamella.images.docker_cli import DockerCli
from lamella.images.load import load_images
from lamella.process import interrupts_left_to_programs, spawn
from lamella.runtime.values import Container, Port
from lamella.store.store import Store

__all__ = ["container_health", "docker_arguments", "ensure_loaded", "published_port", "run_docker", "start_docker"]


def docker_arguments(container: Container, *, env_file: str, detach: bool = False, terminal: bool = False) -> list[str]:
    """The words after ``docker run``. Pure.

    Variables are in ``env_file``, so that none stands in an argument list; those that its form cannot hold (values
    of several lines) are taken by name from docker's own environment.
    """
    words = ["--detach"] if detach else ["--rm"]
    if container.interactive:
        words += ["--interactive", *(["--tty"] if terminal else [])]
    words += ["--env-file", env_file]
    words += [word for name in _changed(container) if "\n" in container.env[name].value for word in ("--env", name)]
    for port in container.ports:
        words += ["--publish", _published(port)]
    for volume in container.volumes:
        words += ["--volume", f"{volume.source}:{volume.target}{':ro' if volume.read_only else ''}"]
    given = (
        ("--user", container.user if container.origins.get("user") != "image" else ""),
        ("--workdir", container.workdir if container.origins.get("workdir") == "--workdir" else ""),
        ("--network", container.network if container.network != "bridge" else ""),
        ("--memory", str(container.memory) if container.memory else ""),
        ("--cpus", container.cpus),
    )
    words += [word for option, value in given if value for word in (option, value)]
    words += [option for option, wanted in (("--read-only", container.read_only), ("--init", container.init)) if wanted]
    return [*words, *_program(container)]


def _published(port: Port) -> str:
    host = f"{port.address}:{port.host}" if port.address else str(port.host)
    return f"{host}:{port.container}/{port.protocol}"


def _program(container: Container) -> list[str]:
    """The image and its arguments; another entrypoint goes before the image as an option."""
    runtime = container.image.config.runtime
    rest = container.argv[len(runtime.entrypoint) :]
    if container.argv[: len(runtime.entrypoint)] == runtime.entrypoint:
        return [container.name, *(rest if container.arguments else ())]
    return ["--entrypoint", container.argv[0], container.name, *container.argv[1:]]


def _changed(container: Container) -> list[str]:
    """Variables that the image does not have already."""
    return [name for name, variable in container.env.items() if variable.origin not in ("image", "default")]


def ensure_loaded(store: Store, container: Container, docker: DockerCli, *, mtime: int = 0) -> bool:
    """Loads the image unless the daemon has this very one under its name; whether it had to."""
    try:
        there = docker.run("image", "inspect", "--format", "{{.Id}}", container.name)
    except LamellaError:
        there = ""
    if there in (container.image.manifest.config.digest, container.image.descriptor.digest):
        return False
    load_images(store, (container.image,), docker, mtime=mtime)
    return True


def run_docker(container: Container, docker: DockerCli, *, terminal: bool = False) -> int:
    """``docker run`` with this process's streams; its exit status. Docker hands signals on to the program."""
    with _environment(container, docker) as (env_file, env), interrupts_left_to_programs():
        words = docker_arguments(container, env_file=env_file, terminal=terminal)
        with spawn(docker.argv("run", *words), env=env, terminal=True, error=RegistryError) as process:
            return process.wait()


def start_docker(container: Container, docker: DockerCli) -> str:
    """``docker run --detach``; the container's id. Raises RegistryError with Docker's words."""
    with _environment(container, docker) as (env_file, env):
        words = docker_arguments(container, env_file=env_file, detach=True)
        return DockerCli(docker.program, docker.env.with_items(env)).run("run", *words)


@contextmanager
def _environment(container: Container, docker: DockerCli) -> Iterator[tuple[str, Mapping[str, str]]]:
    """A private file with the container's variables, and docker's own environment."""
    values = {name: container.env[name].value for name in _changed(container)}
    handle, path = tempfile.mkstemp(prefix="lamella-env-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in values.items() if "\n" not in value)
        yield path, {**{name: value for name, value in values.items() if "\n" in value}, **docker.env}
    finally:
        os.unlink(path)


def container_health(docker: DockerCli, identity: str) -> str:
    """``healthy``, ``starting``, ``unhealthy``, ``running`` (no check), or ``exited`` with its status."""
    state = json.loads(docker.run("inspect", "--format", "{{json .State}}", identity))
    if not state.get("Running"):
        return f"exited {state.get('ExitCode', 0)}"
    return str((state.get("Health") or {}).get("Status") or "running")


def published_port(docker: DockerCli, identity: str, port: int) -> int:
    """The port of this machine under which a port of the container is reached; 0 when it is not published."""
    try:
        line = docker.run("port", identity, f"{port}/tcp").splitlines()[0]
    except (LamellaError, IndexError):
        return 0
    return int(line.rpartition(":")[2])
