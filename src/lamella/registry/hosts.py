"""Registries by name: where their API is, whether plain HTTP is allowed, whose realm is trusted."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from lamella.errors import ConfigError
from lamella.oci.reference import Reference
from lamella.values import dataclass

__all__ = [
    "DEFAULT_REGISTRY",
    "RegistrySettings",
    "Repository",
    "credential_host",
    "is_loopback",
    "is_private",
    "login_hint",
]

DEFAULT_REGISTRY = "docker.io"
"""What a short name means, as everywhere in the field."""

_ALIASES = {"index.docker.io": DEFAULT_REGISTRY, "registry-1.docker.io": DEFAULT_REGISTRY}
_API_HOSTS = {DEFAULT_REGISTRY: "registry-1.docker.io"}
_IMPLICIT_FOLDER = {DEFAULT_REGISTRY: "library"}


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """What the user configured. ``insecure`` are hosts (``name[:port]``) where plain HTTP is used; loopback is one.

    ``realms`` are hosts of token services that are trusted although they are private or plain HTTP.
    """

    default: str = DEFAULT_REGISTRY
    insecure: frozenset[str] = frozenset()
    realms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with the place of its API. ``registry`` is the name that credentials are looked up by."""

    registry: str
    name: str
    api: str

    @classmethod
    def of(cls, reference: Reference, settings: RegistrySettings) -> Repository:
        """The repository of a reference; raises ConfigError for a short name without a default registry."""
        registry = reference.registry or settings.default
        if not registry:
            raise ConfigError(
                f"reference {reference} names no registry and there is no default", hint="write it in full"
            )
        registry = _ALIASES.get(registry, registry)
        name = reference.repository
        folder = _IMPLICIT_FOLDER.get(registry)
        if folder and "/" not in name:
            name = f"{folder}/{name}"
        host = _API_HOSTS.get(registry, registry)
        plain = is_loopback(host) or host in settings.insecure or registry in settings.insecure
        return cls(registry, name, f"{'http' if plain else 'https'}://{host}")

    def url(self, path: str) -> str:
        """The URL of a path below the repository (distribution-spec, "Endpoints")."""
        return f"{self.api}/v2/{self.name}/{path}"

    @property
    def host(self) -> str:
        """The API's host with its port."""
        return urlsplit(self.api).netloc

    @property
    def full_name(self) -> str:
        """``registry/name``, as a reference spells it in full."""
        return f"{self.registry}/{self.name}"

    @property
    def pull_scope(self) -> str:
        """The least scope that pulling needs."""
        return f"repository:{self.name}:pull"

    @property
    def push_scope(self) -> str:
        """The least scope that pushing needs: what is there is looked at, too."""
        return f"repository:{self.name}:pull,push"

    @property
    def delete_scope(self) -> str:
        """The least scope that deleting needs."""
        return f"repository:{self.name}:delete"

    def mount_scope(self, other: str) -> str:
        """The scopes that a mount from another repository of the registry needs (space between resources)."""
        return f"{self.push_scope} repository:{other}:pull"

    def is_own(self, url: str) -> bool:
        """Whether a URL leads to the registry itself; only there go its credentials."""
        own, other = urlsplit(self.api), urlsplit(url)
        return (own.scheme, own.netloc) == (other.scheme, other.netloc)


def credential_host(key: str) -> str:
    """The registry that an entry of Docker's config file is for: a host, or a URL of older versions."""
    host = urlsplit(key).netloc if "://" in key else key.split("/", 1)[0]
    return _ALIASES.get(host, host)


def login_hint(repository: Repository) -> str:
    """What to do when credentials are missing or refused."""
    return f"run: docker login {repository.registry}"


def _bare(host: str) -> str:
    return (urlsplit(f"//{host}").hostname or "").lower()


def is_loopback(host: str) -> bool:
    """Whether ``host[:port]`` is this machine by its spelling."""
    name = _bare(host)
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Whether ``host[:port]`` is spelled as an address that no public service has."""
    name = _bare(host)
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return False
