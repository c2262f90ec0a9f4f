"""A registry that takes uploads of any size and keeps their digests only: what a client needs is measured, not a disk.

``python -m benchmarks.discarding_registry`` prints its port and serves on loopback until its standard input
ends; then it prints how many bytes of blobs it has taken.
It knows what a push asks for (distribution-spec: HEAD and GET of blobs and manifests, POST, PATCH and PUT of uploads).
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PIECE = 1 << 20
UPLOADS: dict[str, tuple[hashlib._Hash, int]] = {}
BLOBS: dict[str, int] = {}
MANIFESTS: dict[str, tuple[str, bytes]] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def receive(self, upload: str) -> None:
        """Takes a body into the digest of an upload."""
        digest, size = UPLOADS[upload]
        left = int(self.headers.get("Content-Length", "0"))
        while left:
            data = self.rfile.read(min(PIECE, left))
            if not data:
                raise ConnectionError("cut")
            digest.update(data)
            left -= len(data)
            size += len(data)
        UPLOADS[upload] = digest, size

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path == "/v2/":
            self.answer(200)
        elif "/manifests/" in self.path and name in MANIFESTS:
            media_type, body = MANIFESTS[name]
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            self.answer(200, {"Content-Type": media_type, "Docker-Content-Digest": digest}, body)
        elif "/blobs/" in self.path and name in BLOBS:
            if "Range" in self.headers:
                self.answer(206, {"Content-Range": f"bytes 0-0/{BLOBS[name]}"}, b"\0")
            else:
                self.answer(200, {"Content-Length": str(BLOBS[name]), "Docker-Content-Digest": name})
        else:
            self.answer(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')

    def do_POST(self) -> None:
        upload = os.urandom(8).hex()
        UPLOADS[upload] = hashlib.sha256(), 0
        self.answer(202, {"Location": f"{urlsplit(self.path).path.rstrip('/')}/{upload}"})

    def do_PATCH(self) -> None:
        upload = urlsplit(self.path).path.rpartition("/")[2]
        self.receive(upload)
        self.answer(202, {"Location": self.path, "Range": f"0-{UPLOADS[upload][1] - 1}"})

    def do_PUT(self) -> None:
        parts = urlsplit(self.path)
        name = parts.path.rpartition("/")[2]
        if "/manifests/" in parts.path:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            MANIFESTS[name] = MANIFESTS[digest] = self.headers["Content-Type"], body
            self.answer(201, {"Docker-Content-Digest": digest})
            return
        self.receive(name)
        taken, size = UPLOADS.pop(name)
        digest = parse_qs(parts.query)["digest"][0]
        if digest != f"sha256:{taken.hexdigest()}":
            self.answer(400, {"Content-Type": "application/json"}, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
            return
        BLOBS[digest] = size
        self.answer(201, {"Docker-Content-Digest": digest})


def main() -> None:
    """Serves until whoever started it goes away."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    print(sum(BLOBS.values()), flush=True)


if __name__ == "__main__":
    main()
