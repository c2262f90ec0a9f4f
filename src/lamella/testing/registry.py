"""An in-memory registry on loopback with scripted faults: the distribution spec's pull half over real sockets.

    with MemoryRegistry() as registry:
        image = registry.add_image("acme/shop", "1.0", layers=[b"..."])
        registry.script(Fault("/blobs/", cut=100))
        ... pull from f"{registry.address}/acme/shop:1.0" ...
        assert [seen.method for seen in registry.requests] == ["GET", "GET"]

Anything may also be served as a plain file (``put_file``), for downloads that are no registry's.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from lamella.canonical import digest_bytes
from lamella.oci import media
from lamella.oci.config import ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Index, Manifest
from lamella.oci.platform import Platform

__all__ = ["AddedImage", "Fault", "MemoryRegistry", "Seen"]

AMD64 = Platform("linux", "amd64")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a request whose path matches the expression ``path``, ``times`` times (0: always).

    ``status`` replaces the answer; ``headers`` and ``body`` replace or add parts of it. ``cut`` closes the connection
    after so many bytes of the body. ``stall`` sleeps so many seconds before the body. ``drip`` sends a byte each so
    many seconds. ``whole`` ignores a Range; ``shift`` moves the start of a range. ``after`` lets requests pass first.
    """

    path: str
    times: int = 1
    after: int = 0
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    cut: int | None = None
    stall: float = 0.0
    drip: float = 0.0
    whole: bool = False
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class AddedImage:
    """An image that was put in: its manifest, config and layers."""

    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]


@dataclass(slots=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class MemoryRegistry:
    """The registry; entering the ``with`` block starts it on a free port of 127.0.0.1.

    ``user`` and ``password`` are wanted when given: as basic authentication, or with ``tokens`` from a token service on
    the same server. With ``tokens`` alone, anonymous tokens are given out. ``realm`` overrides what a challenge names.
    """

    def __init__(self, *, user: str = "", password: str = "", tokens: bool = False, realm: str = "") -> None:
        self.requests: list[Seen] = []
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.files: dict[str, bytes] = {}
        self.user, self.password, self.tokens, self.realm = user, password, tokens, realm
        self.connections = 0
        """How many were opened."""
        self.issued: list[str] = []
        """Tokens that are valid; a test may clear the list to let them expire."""
        self._faults: list[tuple[Fault, int]] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.registry = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The base of all URLs."""
        return f"http://{self.address}"

    # -- content ---------------------------------------------------------------------------------------------------

    def put_file(self, path: str, data: bytes) -> str:
        """Serves ``data`` at ``path``; returns its URL."""
        self.files[path] = data
        return f"{self.url}{path}"

    def put_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Stores a blob."""
        digest = digest_bytes(data)
        self.blobs[digest] = data
        return Descriptor(media_type, digest, len(data))

    def put_manifest(self, repository: str, data: bytes, media_type: str, *tags: str) -> Descriptor:
        """Stores a manifest or index under its digest and tags."""
        digest = digest_bytes(data)
        for name in (digest, *tags):
            self.manifests[repository, name] = (media_type, data)
        return Descriptor(media_type, digest, len(data))

    def add_image(
        self,
        repository: str,
        *tags: str,
        layers: Sequence[bytes] = (b"layer",),
        platform: Platform = AMD64,
        runtime: RuntimeConfig | None = None,
    ) -> AddedImage:
        """Stores an image whose layers hold the given bytes as gzip."""
        diff_ids = tuple(digest_bytes(data) for data in layers)
        config = ImageConfig(platform, runtime or RuntimeConfig(), diff_ids)
        described = tuple(self.put_blob(gzip.compress(data, mtime=0), media.LAYER_GZIP) for data in layers)
        config_descriptor = self.put_blob(config.to_bytes(), media.IMAGE_CONFIG)
        manifest = Manifest(config_descriptor, described)
        descriptor = self.put_manifest(repository, manifest.to_bytes(), media.IMAGE_MANIFEST, *tags)
        return AddedImage(replace(descriptor, platform=platform), config_descriptor, described, diff_ids)

    def add_index(self, repository: str, *tags: str, manifests: Sequence[Descriptor]) -> Descriptor:
        """Stores an index of manifests that are there."""
        return self.put_manifest(repository, Index(tuple(manifests)).to_bytes(), media.IMAGE_INDEX, *tags)

    def script(self, *faults: Fault) -> None:
        """Adds faults; the first that matches a request and is not used up is its own."""
        with self._lock:
            self._faults += [(fault, 0) for fault in faults]

    # -- answering -------------------------------------------------------------------------------------------------

    def take_fault(self, path: str) -> Fault | None:
        """The fault of this request, counted."""
        with self._lock:
            for index, (fault, used) in enumerate(self._faults):
                if not re.search(fault.path, path) or (fault.times and used >= fault.after + fault.times):
                    continue
                self._faults[index] = (fault, used + 1)
                return fault if used >= fault.after else None
        return None

    def answer(self, seen: Seen) -> _Answer:
        """The answer to a request when nothing goes wrong."""
        parts = urlsplit(seen.path)
        if parts.path == "/token":
            return self._token(seen, parse_qs(parts.query))
        if parts.path in self.files:
            return _ranged(self.files[parts.path], seen)
        if not parts.path.startswith("/v2"):
            return _error(404, "NOT_FOUND", "no such file")
        refusal = self._refusal(seen, parts.path)
        return refusal or self._object(seen, parts.path)

    def _object(self, seen: Seen, path: str) -> _Answer:
        if path in ("/v2", "/v2/"):
            return _Answer(200, b"{}", {"Content-Type": "application/json"})
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", path)
        if found is None:
            return _error(404, "NAME_UNKNOWN", "no such repository")
        if found[2] == "blobs":
            data = self.blobs.get(found[3])
            return _error(404, "BLOB_UNKNOWN", "no such blob") if data is None else _ranged(data, seen)
        stored = self.manifests.get((found[1], found[3]))
        if stored is None:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        headers = {"Content-Type": stored[0], "Docker-Content-Digest": digest_bytes(stored[1])}
        return _Answer(200, stored[1], headers)

    def _refusal(self, seen: Seen, path: str) -> _Answer | None:
        given = seen.headers.get("authorization", "")
        if not self.user and not self.tokens:
            return None
        if not self.tokens:
            return None if given == self._basic() else _challenge('Basic realm="test"')
        if given.removeprefix("Bearer ") in self.issued:
            return None
        realm = self.realm or f"{self.url}/token"
        name = re.match(r"/v2/(.+)/(?:manifests|blobs)/", path)
        scope = f',scope="repository:{name[1]}:pull"' if name else ""
        return _challenge(f'Bearer realm="{realm}",service="test"{scope}')

    def _token(self, seen: Seen, query: Mapping[str, list[str]]) -> _Answer:
        if self.user and seen.headers.get("authorization", "") != self._basic():
            return _error(401, "UNAUTHORIZED", "wrong user name or password")
        with self._lock:
            token = f"token-{len(self.issued)}-{query.get('scope', [''])[0].replace(':', '.').replace('/', '.')}"
            self.issued.append(token)
        return _Answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    def _basic(self) -> str:
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def _error(status: int, code: str, message: str) -> _Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return _Answer(status, body, {"Content-Type": "application/json"})


def _challenge(value: str) -> _Answer:
    answer = _error(401, "UNAUTHORIZED", "authentication required")
    answer.headers["WWW-Authenticate"] = value
    return answer


def _ranged(data: bytes, seen: Seen) -> _Answer:
    """All of ``data``, or what a Range header asks for (RFC 9110, 14)."""
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
    if wanted is None:
        return _Answer(200, data, headers)
    start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
    if start > end:
        return _Answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return _Answer(206, data[start : end + 1], headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: MemoryRegistry

    def get_request(self) -> tuple[socket.socket, Any]:
        self.registry.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""

    def _serve(self) -> None:
        registry = self.server.registry
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        seen = Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        registry.requests.append(seen)
        fault = registry.take_fault(self.path) or Fault("")
        if fault.whole or fault.shift:
            seen = replace(seen, headers=_other_range(seen.headers, fault))
        answer = registry.answer(seen)
        if fault.status:
            answer = _Answer(fault.status, fault.body or b"", {})
        elif fault.body is not None:
            answer.body = fault.body
        answer.headers.update(fault.headers)
        self._send(answer, fault)

    def _send(self, answer: _Answer, fault: Fault) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if fault.stall:
            self.wfile.flush()
            time.sleep(fault.stall)
        if self.command == "HEAD":
            return
        data = answer.body if fault.cut is None else answer.body[: fault.cut]
        if fault.drip:
            for index in range(len(data)):
                self.wfile.write(data[index : index + 1])
                self.wfile.flush()
                time.sleep(fault.drip)
        else:
            self.wfile.write(data)
        if fault.cut is not None:
            self.wfile.flush()
            self.close_connection = True


def _other_range(headers: Mapping[str, str], fault: Fault) -> dict[str, str]:
    changed = dict(headers)
    wanted = changed.pop("range", "")
    if fault.shift and (start := re.search(r"\d+", wanted)):
        changed["range"] = f"bytes={int(start[0]) + fault.shift}-"
    return changed
