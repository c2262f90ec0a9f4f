"""Real daemons, started privately: everything they write is below one folder, and nothing outlives ``stop``."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.integration.components.presence import find_program

READY_SECONDS = 60.0
STOP_SECONDS = 20.0


class DaemonError(Exception):
    """A daemon ended or stayed silent; carries the tail of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A started daemon: ``info`` is what its users need, ``stop`` ends it and removes its traces."""

    info: Mapping[str, str]
    stop: Callable[[], None]


def start_registry(folder: Path) -> Running:
    """docker-registry 2.8 (distribution) on a free loopback port, deletion enabled; info: ``address``."""
    address = f"127.0.0.1:{_free_port()}"
    config = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    process = _spawn(["docker-registry", "serve", str(path)], folder / "log")
    _wait_until_ready(process, lambda: _answers(f"http://{address}/v2/"), folder / "log")
    return Running({"address": address}, lambda: _end(process))


def start_docker(folder: Path) -> Running:
    """Docker Engine with its own data, sockets and bridge; info: ``host``.

    A second engine on the default bridge would take it from the first, so this one has a bridge of its own and
    leaves the packet filter alone: published ports work on loopback, containers have no way out.
    """
    number = zlib.crc32(str(folder).encode())
    bridge = f"lml{number:08x}"
    subnet = f"10.{200 + number % 50}.{number // 50 % 256}.1/24"
    _command("ip", "link", "add", bridge, "type", "bridge")
    _command("ip", "addr", "add", subnet, "dev", bridge)
    host = f"unix://{folder}/d.sock"
    argv = ["dockerd", "--host", host, "--bridge", bridge, "--pidfile", f"{folder}/pid"]
    argv += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--config-file", f"{folder}/none.json"]
    argv += ["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false", "--log-level", "warn"]
    (folder / "none.json").write_text("{}", encoding="utf-8")
    process = _spawn(argv, folder / "log")

    def stop() -> None:
        _end(process)
        _unmount_below(folder)
        _command("ip", "link", "del", bridge)

    try:
        _wait_until_ready(process, lambda: _accepts(folder / "d.sock"), folder / "log")
    except DaemonError:
        stop()
        raise
    return Running({"host": host}, stop)


STARTERS: Mapping[str, Callable[[Path], Running]] = {"docker": start_docker, "registry": start_registry}


def _spawn(argv: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a daemon that the kernel kills when its starter dies (setpriv(1) ``--pdeathsig``)."""
    program = find_program(argv[0])
    if program is None:
        raise DaemonError(f"{argv[0]} is not installed")
    with log.open("wb") as out:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            _end(process)
            raise DaemonError(_last_lines(log))
        time.sleep(0.05)


def _last_lines(log: Path, count: int = 8) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(name: str, *args: str) -> None:
    subprocess.run([find_program(name) or name, *args], check=True, capture_output=True)


def _unmount_below(folder: Path) -> None:
    for point in sorted(_mounts_below(folder), reverse=True):
        _command("umount", "--lazy", point)


def _mounts_below(folder: Path) -> Iterator[str]:
    """Mount points below a folder (proc(5), field 5 of mountinfo)."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = line.split()[4]
        if point.startswith(f"{folder}/"):
            yield point


def remove(folder: Path) -> None:
    """Delete a daemon's folder; what another process still writes there must not fail the run."""
    shutil.rmtree(folder, ignore_errors=True)
