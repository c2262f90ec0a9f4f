from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamella.oci.config import Healthcheck, RuntimeConfig
from lamella.store import Store
from tests.integration.components.presence import missing, require_program
from tests.integration.images.hello import HELLO
from tests.unit.images.samples import put_image
from tests.unit.layers.archives import tar_bytes, tar_dir, tar_file, tar_symlink
from tests.unit.store.samples import open_store

SERVER = b"""
import http.server, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello\\n")
    def log_message(self, *args): pass
def stop(number, frame):
    print("bye", flush=True); sys.exit(3)
signal.signal(signal.SIGTERM, stop)
time.sleep(0.3)
print("listening", flush=True)
http.server.HTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
"""
"""A program that is healthy after a moment and ends with a word and a status of its own."""

ROOT = tar_bytes([
    tar_symlink("usr/bin", "bin"),
    tar_symlink("usr/lib", "lib"),
    tar_symlink("usr/lib64", "lib64"),
    tar_dir("usr"),
    tar_dir("tmp", 0o1777),
    tar_dir("data", 0o750, uid=7, gid=8),
    tar_dir("app"),
    tar_file("app/server.py", SERVER),
    tar_dir("etc"),
    tar_file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nshop:x:7:8::/home/shop:/bin/sh\n"),
    tar_file("etc/group", b"root:x:0:\nshop:x:8:\nvideo:x:44:shop\n"),
])  # fmt: skip
"""A root file system that borrows the host's programs by ``-v /usr:/usr:ro``."""

HOST = ("-v", "/usr:/usr:ro")


@dataclass(frozen=True, slots=True)
class Lamella:
    """The command line as a process of its own."""

    env: dict[str, str]
    cwd: Path

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "lamella.cli", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*words),
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def lamella(tmp_path: Path) -> Lamella:
    require_program("bwrap", "bubblewrap")
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "HOME", "LANG")}
    env |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONPATH": _paths()}
    return Lamella(env, tmp_path)


def _paths() -> str:
    return os.pathsep.join(path for path in sys.path if path)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "cache" / "lamella") as opened:
        yield opened


@pytest.fixture
def images(store: Store, lamella: Lamella, port: int) -> Store:
    """``hello:dev`` ends at once with 7, ``tools:dev`` has the host's programs, ``server:dev`` answers at ``port``."""
    hello = tar_bytes([tar_dir("app"), tar_file("app/hello", HELLO, 0o755)])
    put_image(store, "hello:dev", [hello], runtime=RuntimeConfig(user="10001", entrypoint=("/app/hello",)))
    put_image(
        store, "tools:dev", [ROOT], runtime=RuntimeConfig(user="shop", env=("A=image",), working_dir="/made/here")
    )
    second = 1_000_000_000
    question = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/healthz')"
    check = Healthcheck(("CMD", "/usr/bin/python3", "-c", question), second, 5 * second, second, 10)
    program = ("/usr/bin/python3", "-u", "/app/server.py", str(port))
    server = RuntimeConfig(user="7:8", entrypoint=program, exposed_ports=(f"{port}/tcp",), healthcheck=check)
    put_image(store, "server:dev", [ROOT], runtime=server)
    probe = lamella.run("run", "hello:dev")
    if probe.returncode == 8:
        missing(f"no sandbox: {probe.stderr}")
    return store
