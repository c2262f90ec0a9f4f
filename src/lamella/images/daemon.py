"""The Docker Engine API where it can be spoken directly: a Unix socket, or TCP without TLS (Docker Engine API v1.41).

One call of the docker program costs more than all of these requests together. Contexts, ssh and TLS stay with the
program, which knows the user's configuration.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from typing import Any, BinaryIO
from urllib.parse import quote

from lamella.errors import RegistryError

__all__ = ["DockerApi", "find_api"]

_TIMEOUT = 600.0
_CONNECT = 5.0
_LOOKED_AT = 40
"""Images whose layers are asked for; more would cost more than they save."""
_DEFAULT = "/var/run/docker.sock"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_CONNECT)
        self.sock.connect(self._path)
        self.sock.settimeout(_TIMEOUT)


class DockerApi:
    """One daemon by its address, on one connection. Not thread-safe. All calls raise RegistryError."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def is_answering(self) -> bool:
        """Whether the daemon answers at all."""
        try:
            return self._ask("GET", "/_ping")[0] == 200
        except RegistryError:
            return False

    def is_containerd(self) -> bool:
        """Whether images live in containerd's store, and not in a graph driver."""
        status = self._get("/info").get("DriverStatus") or []
        return ["driver-type", "io.containerd.snapshotter.v1"] in status

    def image(self, name: str) -> dict[str, Any] | None:
        """What the daemon says of an image; None when it has none of that name."""
        status, document = self._ask("GET", f"/images/{quote(name)}/json?manifests=1")
        if status == 404:
            return None
        return document if isinstance(document, dict) and status == 200 else {}

    def chains(self, first: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The diff_ids of images that are there, those of ``first`` before others, newest before older ones."""
        listed = self._get("/images/json")
        ids = [str(row.get("Id", "")) for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        chains = []
        for name in (*first, *ids[:_LOOKED_AT]):
            found = self.image(name)
            layers = ((found or {}).get("RootFS") or {}).get("Layers") or []
            if layers:
                chains.append(tuple(str(layer) for layer in layers))
        return chains

    def load(self, archive: BinaryIO, size: int) -> str:
        """Loads an archive of ``size`` bytes; the daemon's words when it refuses, empty when it is done."""
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        status, document = self._ask("POST", "/images/load?quiet=1", archive, headers)
        lines = document if isinstance(document, list) else [document]
        errors = [str(line["error"]) for line in lines if isinstance(line, dict) and line.get("error")]
        if status != 200:
            errors.append(str((lines[-1] or {}).get("message", f"status {status}")) if lines else f"status {status}")
        return "; ".join(errors)

    def _get(self, path: str) -> Any:
        status, document = self._ask("GET", path)
        if status != 200:
            raise RegistryError(f"the Docker daemon answered {path} with status {status}")
        return document

    def _ask(
        self, method: str, path: str, body: BinaryIO | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        try:
            self._connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = self._connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise RegistryError(f"the Docker daemon does not answer: {error}") from error
        return answer.status, _documents(data)


def _documents(data: bytes) -> Any:
    """One JSON document, or a list of those that follow each other by line."""
    try:
        return json.loads(data or b"null")
    except ValueError:
        found = []
        for line in data.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found


def find_api(env: Mapping[str, str]) -> DockerApi | None:
    """The daemon that the docker program would speak to, when it can be spoken to directly; None otherwise."""
    if env.get("DOCKER_TLS_VERIFY") or env.get("DOCKER_TLS") or _has_context(env):
        return None
    scheme, _, place = (env.get("DOCKER_HOST") or f"unix://{_DEFAULT}").partition("://")
    if scheme == "unix":
        return DockerApi(_UnixConnection(place)) if os.path.exists(place) else None
    if scheme == "tcp" and place:
        return DockerApi(http.client.HTTPConnection(place, timeout=_TIMEOUT))
    return None


def _has_context(env: Mapping[str, str]) -> bool:
    """Whether a context of the docker program names the daemon. DOCKER_HOST wins over one in the configuration."""
    if env.get("DOCKER_CONTEXT"):
        return env["DOCKER_CONTEXT"] != "default"
    if env.get("DOCKER_HOST"):
        return False
    folder = env.get("DOCKER_CONFIG") or os.path.join(env.get("HOME", ""), ".docker")
    try:
        with open(os.path.join(folder, "config.json"), "rb") as file:
            chosen = json.loads(file.read()).get("currentContext", "")
    except (OSError, ValueError, AttributeError):
        return False
    return bool(chosen) and chosen != "default"
