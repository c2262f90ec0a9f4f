"""Credential helpers: ``docker-credential-NAME get`` (docker-credential-helpers, "Development").

A helper gets the registry's name on its input and gives a JSON object with Username and Secret. What it says is never
shown beyond its first line on failure, and what it gives is never shown at all.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping

from lamella.errors import AuthError
from lamella.registry.credentials import Credential, DockerConfig
from lamella.transport.redaction import clean_body

__all__ = ["CredentialSource", "run_helper"]

_SECONDS = 60.0
"""A helper may ask a keychain, which may ask a person."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = "credentials not found in native keychain"
"""What the reference implementation says when there is nothing; it is no failure."""

_TOKEN_USER = "<token>"  # noqa: S105 - the user name that marks an identity token, by the helpers' protocol
_DOCKER_HUB = "https://index.docker.io/v1/"


class CredentialSource:
    """Finds the credential of a registry: in the environment, in Docker's config file, or from the helper it names.

    A helper is asked once for each registry. Thread-safe; usable as the ``credentials`` of a RegistryClient. ``env``
    is the helper's whole environment. Raises AuthError when a helper fails.
    """

    def __init__(self, config: DockerConfig, env: Mapping[str, str]) -> None:
        self._config = config
        self._env = env
        self._lock = threading.Lock()
        self._found: dict[str, Credential | None] = {}

    def __call__(self, registry: str) -> Credential | None:
        """The credential of a registry, None when nothing is stored."""
        given = self._config.given.get(registry)
        if given is not None:
            return given
        helper = self._config.helper(registry)
        if not helper:
            return self._config.find(registry)
        with self._lock:
            if registry not in self._found:
                own = registry in self._config.helpers
                found = run_helper(helper, registry, self._env)
                # a default helper that has nothing does not hide what the file holds
                self._found[registry] = found if own else found or self._config.find(registry)
            return self._found[registry]


def run_helper(name: str, registry: str, env: Mapping[str, str]) -> Credential | None:
    """What the helper ``docker-credential-NAME`` holds for a registry; None when that is nothing.

    Raises AuthError when it is not installed, fails, or gives something else.
    """
    from lamella.process import run

    if not _NAME.fullmatch(name):
        raise AuthError(f"the credential helper {name[:80]!r} in Docker's config file is not a program's name")
    program = f"docker-credential-{name}"
    hint = f"run it by hand: echo {registry} | {program} get"
    done = run(
        [program, "get"],
        env=env,
        stdin=_server(registry).encode(),
        timeout=_SECONDS,
        check=False,
        error=AuthError,
        hint=f"install it, or run: docker login {registry} without it",
    )
    if done.code:
        said = (done.stdout + b"\n" + done.stderr).strip().split(b"\n")[0]
        if _NOT_FOUND.encode() in said:
            return None
        why = f"it ended with {done.code}: {clean_body(said)}"
        raise AuthError(f"{program} has no credential for {registry}: {why}", hint=hint)
    try:
        found = json.loads(done.stdout)
        user, secret = found["Username"], found["Secret"]
    except (ValueError, TypeError, KeyError, RecursionError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise AuthError(f"{program} gave no credential in the helpers' form for {registry}", hint=hint)
    if not secret:
        return None
    return Credential(user, "", secret) if user == _TOKEN_USER else Credential(user, secret)


def _server(registry: str) -> str:
    """The name that a registry is stored under; Docker Hub's is a URL for historic reasons."""
    return _DOCKER_HUB if registry == "docker.io" else registry
