"""What ``lamella run`` does once it knows the container: start it, watch it, stop it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

from lamella.api.removal import SandboxRemover
from lamella.api.run import Runnable, embedded_parts
from lamella.api.session import SessionOptions
from lamella.cli.messages import format_seconds, say, warn
from lamella.clock import SystemClock
from lamella.errors import StepError
from lamella.runtime.health import wait_until_healthy
from lamella.runtime.values import Container, Health
from lamella.store.store import Store

if TYPE_CHECKING:
    from lamella.cli.settings import Settings
    from lamella.images.docker_cli import DockerCli
    from lamella.runtime.keeper import Kept

__all__ = ["embedded", "with_docker"]

_SETTLE = 1.0
"""Seconds that a program without a health check has to run before it counts as started."""


def embedded(container: Container, runnable: Runnable, store: Store, options: SessionOptions, *, detach: bool) -> int:
    """Runs a container on the embedded runtime; its exit status, 0 for one that was left running."""
    from lamella.api.sandbox import make_runner
    from lamella.runtime.embedded import check_embedded, prepare, run_launch
    from lamella.runtime.keeper import start_kept

    check_embedded(container)
    runner = make_runner(store, options)
    store.set_remover(SandboxRemover(store, options))
    try:
        launch = prepare(container, embedded_parts(store, options, runner, warn, runnable.snapshots))
    finally:
        runner.close()
    if detach:
        log = store.logs / f"run-{launch.hostname}-{SystemClock().now()}.log"
        return _leave(container, start_kept(launch, log))
    if container.ports and container.network != "none":
        ports = ", ".join(str(port.container) for port in container.ports)
        say(f"running {container.name} on the host's network, port {ports}; Ctrl-C stops it")
    ended = threading.Event()
    with _stopping() as stop:
        _announce(container, ended)
        try:
            return run_launch(launch, store, stop)
        finally:
            ended.set()


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that the first interrupt or SIGTERM sets; the second interrupt is a KeyboardInterrupt."""
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(container: Container, ended: threading.Event) -> None:
    """Says, from a thread of its own, when the program is healthy, or that it is not yet after a fair time."""
    health = container.health
    if health is None or container.network == "none":
        return

    def watch(health: Health) -> None:
        start = time.monotonic()
        good, word = wait_until_healthy(health, SystemClock(), seconds=_patience(health), ended=ended)
        if good:
            say(f"healthy after {format_seconds(time.monotonic() - start)}: {health}")
        elif not ended.is_set():
            warn(f"{health} does not answer well after {_patience(health):.0f} s: {word}")

    threading.Thread(target=watch, args=(health,), daemon=True).start()


def _patience(health: Health) -> float:
    """Seconds until an engine would call the container unhealthy."""
    return float(health.start + health.interval * health.retries)


def _leave(container: Container, kept: Kept) -> int:
    """Waits until a detached container is well and leaves it; one that is not is stopped, with the end of its log."""
    ended = threading.Event()

    def watch() -> None:
        kept.process.wait()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    health = container.health if container.network != "none" else None
    if health is not None:
        good, word = wait_until_healthy(health, SystemClock(), seconds=_patience(health), ended=ended)
    else:
        good, word = not ended.wait(_SETTLE), "the program has ended"
    if not good:
        kept.process.end()
        lines = kept.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        raise StepError(
            f"{container.name} did not become healthy: {word}", hint=f"its log is {kept.log}", details=tuple(lines)
        )
    click.echo(str(kept.pid))
    where = f", healthy at {health}" if health is not None else ""
    say(f"{container.name} runs as process {kept.pid}{where}; log: {kept.log}")
    say(f"stop it with: kill {kept.pid}")
    return 0


def with_docker(container: Container, store: Store, settings: Settings, *, detach: bool) -> int:
    """Runs a container with a Docker daemon, which gets the image first when it does not have it."""
    from lamella.images.docker_cli import find_docker
    from lamella.runtime.docker import ensure_loaded, run_docker, start_docker

    docker = find_docker(settings.environ)
    docker.server_version()
    if ensure_loaded(store, container, docker, mtime=settings.epoch or 0):
        say(f"loaded {container.name} into {docker.host}")
    if not detach:
        return run_docker(container, docker, terminal=sys.stdin.isatty())
    return _watch_docker(container, docker, start_docker(container, docker))


def _watch_docker(container: Container, docker: DockerCli, identity: str) -> int:
    """Waits for Docker's own health check; the id goes to standard output, as docker run prints it."""
    from lamella.runtime.docker import container_health

    health = container.image.config.runtime.healthcheck
    seconds = _patience(container.health) if container.health is not None else 120.0 if health else _SETTLE
    deadline = time.monotonic() + seconds
    state = container_health(docker, identity)
    while state in ("starting", "running") and time.monotonic() < deadline:
        time.sleep(0.3)
        state = container_health(docker, identity)
    if state not in ("healthy", "running"):
        logs = tuple(docker.run("logs", "--tail", "20", identity).splitlines())
        raise StepError(
            f"{container.name} did not become healthy: {state}",
            hint=f"docker logs {identity[:12]}; docker rm -f {identity[:12]}",
            details=logs,
        )
    click.echo(identity)
    say(f"{container.name} runs as container {identity[:12]} ({state}); stop it with: docker stop {identity[:12]}")
    return 0
