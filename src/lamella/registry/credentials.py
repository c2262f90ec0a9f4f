"""Credentials: values that cannot be printed by accident, and Docker's config file as their source."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError
from lamella.registry.hosts import credential_host
from lamella.values import dataclass, replace

__all__ = ["AUTH_VARIABLE", "Credential", "DockerConfig", "docker_config", "parse_docker_config"]

AUTH_VARIABLE = "DOCKER_AUTH_CONFIG"


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A user name with its password, or an identity token (an OAuth 2 refresh token, as Docker stores it)."""

    username: str
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credential(username={self.username!r}, [hidden])"

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        return (self.password, self.identity_token, self.basic.partition(" ")[2])


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """Docker's ``config.json``: credentials by registry, and the helper programs that hold others.

    ``helpers`` maps a registry to the name of its helper; ``default_helper`` holds all others, empty for none.
    ``given`` are credentials of the environment, which come before everything else.
    """

    credentials: Mapping[str, Credential] = EMPTY_MAP
    helpers: Mapping[str, str] = EMPTY_MAP
    default_helper: str = ""
    given: Mapping[str, Credential] = EMPTY_MAP

    def find(self, registry: str) -> Credential | None:
        """The stored credential of a registry."""
        return self.credentials.get(registry)

    def helper(self, registry: str) -> str:
        """The helper that holds a registry's credential, empty for none."""
        return self.helpers.get(registry, self.default_helper)


def parse_docker_config(data: bytes, *, file: str = "config.json") -> DockerConfig:
    """Reads a ``config.json``. Raises ConfigError, whose message never holds what is in it."""
    try:
        document = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not JSON") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{file} is not a JSON object")
    auths, helpers = document.get("auths") or {}, document.get("credHelpers") or {}
    if not isinstance(auths, dict) or not isinstance(helpers, dict):
        raise ConfigError(f"{file}: auths and credHelpers are objects by registry")
    found = {credential_host(key): _credential(value, key, file) for key, value in auths.items()}
    return DockerConfig(
        FrozenMap({host: credential for host, credential in found.items() if credential is not None}),
        FrozenMap({credential_host(key): str(name) for key, name in helpers.items()}),
        str(document.get("credsStore") or ""),
    )


def docker_config(folder: Path | None, env: Mapping[str, str]) -> DockerConfig:
    """What is stored in ``config.json`` in Docker's folder and given in ``DOCKER_AUTH_CONFIG``, which has the form of
    the file and of which ``auths`` counts (docker(1) since 28.3, GitLab CI). Raises ConfigError.
    """
    path = folder / "config.json" if folder else None
    try:
        stored = parse_docker_config(path.read_bytes(), file=str(path)) if path and path.is_file() else DockerConfig()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    given = env.get(AUTH_VARIABLE, "")
    return (
        replace(stored, given=parse_docker_config(given.encode(), file=AUTH_VARIABLE).credentials) if given else stored
    )


def _credential(entry: Any, key: str, file: str) -> Credential | None:
    """One entry of ``auths``; None for one that only says that a helper has it."""
    if not isinstance(entry, dict):
        raise ConfigError(f"{file}: the entry of {key} is not an object")
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            decoded = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, ValueError):
            raise ConfigError(f"{file}: the auth of {key} is not base64", hint=f"run: docker login {key}") from None
        username, _, password = decoded.partition(":")
    token = str(entry.get("identitytoken") or "")
    if not username and not token:
        return None
    return Credential(username, password.rstrip("\0"), token)
