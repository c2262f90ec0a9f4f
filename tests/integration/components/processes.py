"""Processes of daemons: started so that they cannot outlive their starter, awaited, ended."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping
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


def spawn(argv: list[str], log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
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
            env=env,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a daemon to stop; kill it when it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    """Wait for a daemon's first answer. Raises DaemonError when it ends or stays silent."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            end(process)
            raise DaemonError(_last_lines(log))
        time.sleep(0.05)


def _last_lines(log: Path, count: int = 8) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def run_command(name: str, *args: str) -> str:
    """Standard output of a command of the system that has to succeed. Raises DaemonError with its words."""
    done = subprocess.run([find_program(name) or name, *args], check=False, capture_output=True, text=True)
    if done.returncode:
        raise DaemonError(f"{name} {' '.join(args)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def free_port() -> int:
    """A TCP port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge of this machine with a network of 254 addresses of its own; named after the folder it is for."""

    name: str
    prefix: str

    @classmethod
    def named_after(cls, folder: Path) -> Bridge:
        """The bridge of a folder, made or not."""
        number = zlib.crc32(str(folder).encode())
        return cls(f"lml{number:08x}", f"10.{200 + number % 50}.{number // 50 % 256}")

    @classmethod
    def create(cls, folder: Path) -> Bridge:
        """Makes the bridge and gives it the first address."""
        bridge = cls.named_after(folder)
        if Path("/sys/class/net", bridge.name).exists():  # of a keeper that was killed; its folder is now ours
            bridge.remove()
        run_command("ip", "link", "add", bridge.name, "type", "bridge")
        run_command("ip", "addr", "add", f"{bridge.address(1)}/24", "dev", bridge.name)
        return bridge

    def address(self, host: int) -> str:
        """The address of a host of this network; 1 is this machine."""
        return f"{self.prefix}.{host}"

    def remove(self) -> None:
        run_command("ip", "link", "del", self.name)
