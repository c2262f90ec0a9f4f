"""Engines and registries, started privately: everything they write is below one folder, nothing outlives ``stop``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.integration.components.installed import DOCKER_28, GO, docker_plugins, find_component
from tests.integration.components.presence import find_program
from tests.integration.components.processes import (
    Bridge,
    DaemonError,
    Running,
    end,
    free_port,
    run_command,
    spawn,
    wait_until_ready,
)


def start_registry(folder: Path) -> Running:
    """docker-registry 2.8 (distribution) on a free loopback port, deletion enabled; info: ``address``."""
    address = f"127.0.0.1:{free_port()}"
    path = registry_config(folder, {"addr": address})
    process = spawn(["docker-registry", "serve", str(path)], folder / "log")
    wait_until_ready(process, lambda: _answers(f"http://{address}/v2/"), folder / "log")
    return Running({"address": address, "log": f"{folder}/log"}, lambda: end(process))


def registry_config(folder: Path, http: Mapping[str, Any]) -> Path:
    """A configuration of docker-registry with its data below a folder; ``http`` is that section of it."""
    config = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return path


def start_oci_registry(folder: Path) -> Running:
    """The in-memory registry with the referrers API on loopback; info: ``address``, ``log`` (a line per request)."""
    component = find_component(GO)
    if component is None:
        raise DaemonError("component go is not there")
    address = f"127.0.0.1:{free_port()}"
    process = spawn([str(component / "bin/ociregistry"), address], folder / "log")
    wait_until_ready(process, lambda: _answers(f"http://{address}/v2/"), folder / "log")
    return Running({"address": address, "log": f"{folder}/log"}, lambda: end(process))


def start_docker(folder: Path) -> Running:
    """This machine's Docker Engine (Debian 12: 20.10); info as of ``start_engine``."""
    return start_engine(folder, os.environ, {})


def start_docker28(folder: Path) -> Running:
    """Docker Engine of Debian sid with the store of graph drivers (overlay2)."""
    return start_engine(folder, _environment28(), {}, *_init28())


def start_docker28_containerd(folder: Path) -> Running:
    """Docker Engine of Debian sid with containerd's image store."""
    return start_engine(folder, _environment28(), {"features": {"containerd-snapshotter": True}}, *_init28())


def _environment28() -> dict[str, str]:
    """PATH with the unpacked programs first; runc is the machine's own, for sid's wants a newer libc."""
    component = find_component(DOCKER_28)
    if component is None:
        raise DaemonError("component docker28 is not there")
    path = os.pathsep.join([f"{component}/usr/bin", f"{component}/usr/sbin", os.environ.get("PATH", ""), "/usr/sbin"])
    return {**os.environ, "PATH": path}


def _init28() -> tuple[str, ...]:
    """docker-init is a dangling link in that package."""
    tini = find_program("tini-static")
    return () if tini is None else ("--init-path", tini)


def start_engine(folder: Path, env: Mapping[str, str], config: Mapping[str, Any], *arguments: str) -> Running:
    """Docker Engine with its own data, sockets and bridge; info: ``host``, ``config`` (for DOCKER_CONFIG), ``log``.

    A second engine on the default bridge would take it from the first, so this one has a bridge of its own and
    leaves the packet filter alone: published ports work on loopback, containers have no way out. Steps that need
    the network say ``--network host``, which is this machine's own.
    """
    dockerd = shutil.which("dockerd", path=env.get("PATH")) or "dockerd"
    # The builder's own collection deletes what a test has just made when the disk is nearly full.
    settings = {**config, "builder": {"gc": {"enabled": False}}}
    (folder / "daemon.json").write_text(json.dumps(settings), encoding="utf-8")
    bridge = Bridge.create(folder)
    argv = [dockerd, "--host", f"unix://{folder}/d.sock", "--bridge", bridge.name, "--pidfile", f"{folder}/pid"]
    argv += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--config-file", f"{folder}/daemon.json"]
    argv += ["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false", "--log-level", "warn"]
    process = spawn([*argv, *arguments], folder / "log", env)

    def stop() -> None:
        end(process)
        unmount_below(folder)
        bridge.remove()

    try:
        wait_until_ready(process, lambda: _accepts(folder / "d.sock"), folder / "log")
    except DaemonError:
        stop()
        raise
    info = {"host": f"unix://{folder}/d.sock", "config": str(client_config(folder)), "log": f"{folder}/log"}
    return Running(info, stop)


def client_config(folder: Path) -> Path:
    """A folder for DOCKER_CONFIG with the plugins that are there, and nothing of the user's."""
    config = folder / "config"
    (config / "cli-plugins").mkdir(parents=True)
    component = find_component(DOCKER_28)
    for name, path in docker_plugins(component).items() if component else ():
        (config / "cli-plugins" / name).symlink_to(path)
    return config


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _accepts(path: Path) -> bool:
    """Whether a daemon on a socket answers a ping (Docker Engine API, ``/_ping``)."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return b" 200 " in client.recv(64)
    return False


def unmount_below(folder: Path) -> None:
    """Unmount, innermost first, what a daemon left mounted below its folder."""
    for point in sorted(_mounts_below(folder), reverse=True):
        run_command("umount", "--lazy", point)


def _mounts_below(folder: Path) -> Iterator[str]:
    """Mount points below a folder (proc(5), field 5 of mountinfo)."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = line.split()[4]
        if point.startswith(f"{folder}/"):
            yield point


def remove(folder: Path) -> None:
    """Delete a daemon's folder; what another process still writes there must not fail the run."""
    shutil.rmtree(folder, ignore_errors=True)
