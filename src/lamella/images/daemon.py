"""The Docker Engine API where it can be spoken directly: a Unix socket, or TCP without TLS (Docker Engine API v1.41).

One call of the docker program costs more than all of these requests together. SSH and TLS stay with the program.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from lamella.errors import RegistryError
from lamella.images.daemon_wire import Wire, tcp_connector, unix_connector

__all__ = ["DockerApi", "diff_ids", "find_api"]

_LOOKED_AT = 40
"""Images whose layers are asked for; more would cost more than they save."""
_DEFAULT = "/var/run/docker.sock"
_PORT = 2375


class DockerApi:
    """One daemon by its address, on one connection. Not thread-safe. All calls raise RegistryError."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def close(self) -> None:
        """Closes the connection."""
        self._wire.close()

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

    def chains(self) -> Iterator[tuple[str, ...]]:
        """The diff_ids of images that are there, newest first; each is asked for when it is wanted."""
        listed = self._get("/images/json")
        ids = [str(row.get("Id", "")) for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        for one in ids[:_LOOKED_AT]:
            yield diff_ids(self.image(one))

    def load(self, archive: BinaryIO, size: int) -> str:
        """Loads an archive of ``size`` bytes; the daemon's words when it refuses, empty when it is done."""
        status, document = self._ask("POST", "/images/load?quiet=1", archive, size)
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

    def _ask(self, method: str, path: str, body: BinaryIO | None = None, size: int = 0) -> tuple[int, Any]:
        try:
            status, data = self._wire.ask(method, path, body, size)
        except OSError as error:
            raise RegistryError(f"the Docker daemon does not answer: {error}") from error
        return status, _documents(data)


def diff_ids(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The layers of an image, lowest first, by what :meth:`DockerApi.image` says of it."""
    layers: Iterable[object] = ((found or {}).get("RootFS") or {}).get("Layers") or ()
    return tuple(str(layer) for layer in layers)


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
    host = env.get("DOCKER_HOST") or _context_host(env)
    if not host or env.get("DOCKER_TLS_VERIFY") or env.get("DOCKER_TLS"):
        return None
    scheme, _, place = host.partition("://")
    if scheme == "unix":
        return DockerApi(Wire(unix_connector(place), "docker")) if os.path.exists(place) else None
    if scheme == "tcp" and place:
        return _over_tcp(place)
    return None


def _over_tcp(place: str) -> DockerApi | None:
    """``host:port``; None for what is none, which the docker program then says."""
    try:
        parts = urlsplit(f"tcp://{place}")
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        return None
    return DockerApi(Wire(tcp_connector(host, port), parts.netloc)) if host else None


def _context_host(env: Mapping[str, str]) -> str:
    """The address that a context of the docker program names, Docker's own without one; empty where only the program
    gets there (TLS, SSH) or the context is not there. A context is a folder that is named by the digest of its name
    (docker's ``cli/context/store``); DOCKER_HOST wins over all of them.
    """
    folder = env.get("DOCKER_CONFIG") or os.path.join(env.get("HOME", ""), ".docker")
    name = env.get("DOCKER_CONTEXT") or _configured_context(folder)
    if name in ("", "default"):
        return f"unix://{_DEFAULT}"
    store, place = os.path.join(folder, "contexts"), hashlib.sha256(name.encode()).hexdigest()
    if os.path.exists(os.path.join(store, "tls", place, "docker")):
        return ""
    try:
        with open(os.path.join(store, "meta", place, "meta.json"), "rb") as file:
            return str(json.loads(file.read())["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _configured_context(folder: str) -> str:
    try:
        with open(os.path.join(folder, "config.json"), "rb") as file:
            return str(json.loads(file.read()).get("currentContext") or "")
    except (OSError, ValueError, AttributeError):
        return ""
