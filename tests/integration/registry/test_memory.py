"""Memory while pushing stays where it is, whatever the size of the blob."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BLOCK = 1 << 20


class Swallow(BaseHTTPRequestHandler):
    """Takes any upload and keeps nothing of it."""

    protocol_version = "HTTP/1.1"
    taken = 0

    def do_GET(self) -> None:
        self._answer(404)

    def do_POST(self) -> None:
        self._answer(202, Location="/v2/a/blobs/uploads/1")

    def do_PATCH(self) -> None:
        left = int(self.headers["content-length"])
        Swallow.taken += left
        while left:
            left -= len(self.rfile.read(min(BLOCK, left)))
        end = self.headers["content-range"].partition("-")[2]
        self._answer(202, Location="/v2/a/blobs/uploads/1", Range=f"0-{end}")

    def do_PUT(self) -> None:
        self._answer(201, Location="/v2/a/blobs/1")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()


PUSH = """
import os, sys
from lamella.oci.manifest import Descriptor
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.transport.client import Client

descriptor = Descriptor("application/octet-stream", "sha256:" + "0" * 64, os.path.getsize(sys.argv[2]))
target = RegistryClient(Client()).repository(parse_reference(sys.argv[1]))
target.push_blob(descriptor, lambda: open(sys.argv[2], "rb"))
status = open("/proc/self/status").read()  # getrusage(2) would tell of the process that started this one, too
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
"""


@pytest.fixture
def swallow() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Swallow)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}/a"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_large_blob_takes_no_more_memory_than_a_small_one(swallow: str, tmp_path: Path) -> None:
    """The size is LAMELLA_TEST_PUSH_GIB, 1 when that is not set; the file is sparse."""
    size = int(os.environ.get("LAMELLA_TEST_PUSH_GIB", "1")) << 30
    file = tmp_path / "blob"
    with file.open("wb") as out:
        out.truncate(size)
    before = Swallow.taken
    argv = [sys.executable, "-c", PUSH, swallow, str(file)]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    assert Swallow.taken - before == size
    assert int(done.stdout) < 96 * 1024, "KiB; the interpreter with urllib3 has some 40 MiB before the first byte"
