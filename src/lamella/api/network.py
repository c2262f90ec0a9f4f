"""Clients of the network, put together from a session's options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamella.api.options import SessionOptions
from lamella.registry.client import RegistryClient
from lamella.registry.credentials import docker_config
from lamella.registry.helpers import CredentialSource
from lamella.registry.hosts import RegistrySettings
from lamella.transport.client import Client
from lamella.transport.retry import RetryPolicy
from lamella.transport.settings import HttpSettings

if TYPE_CHECKING:  # a publication without changes asks a registry and downloads nothing
    from lamella.sources.fetch import Fetch
    from lamella.store.store import Store

__all__ = ["http_client", "make_fetch", "registry_client", "stored_credentials"]


def http_client(options: SessionOptions, *, policy: RetryPolicy | None = None, connect_timeout: float = 10.0) -> Client:
    """HTTP as the user configured it: certificates and proxies (``https_proxy`` and its like, curl(1)).

    ``policy`` and ``connect_timeout`` (seconds) are for what nobody should wait long for.
    """
    env = options.environ

    def either(name: str) -> str:
        return env.get(name) or env.get(name.upper()) or ""

    skipped = tuple(part for part in either("no_proxy").split(",") if part.strip())
    settings = HttpSettings(
        ca_bundle=options.ca_bundle,
        http_proxy=env.get("http_proxy", ""),  # the capital form is a header of CGI programs and is not honoured
        https_proxy=either("https_proxy") or either("all_proxy"),
        no_proxy=skipped,
        connect_timeout=connect_timeout,
    )
    return Client(settings, policy=policy)


def make_fetch(store: Store, options: SessionOptions) -> Fetch:
    """Downloads of artefacts and wheels into a store."""
    from lamella.layers.reader import LayerReader
    from lamella.sources.fetch import Fetch

    return Fetch(http_client(options), store.blobs, open_tar=LayerReader)


def registry_client(
    options: SessionOptions, *, policy: RetryPolicy | None = None, connect_timeout: float = 10.0
) -> RegistryClient:
    """Registries with the user's stored credentials; hosts that are not loopback need HTTPS unless configured."""
    insecure = frozenset(part for part in options.insecure_registries if part)
    realms = frozenset(part for part in options.environ.get("LAMELLA_TRUSTED_REALMS", "").split(",") if part)
    http = http_client(options, policy=policy, connect_timeout=connect_timeout)
    return RegistryClient(http, RegistrySettings(insecure=insecure, realms=realms), stored_credentials(options))


def stored_credentials(options: SessionOptions) -> CredentialSource:
    """The user's credentials by the name of a registry."""
    return CredentialSource(docker_config(options.docker_config, options.environ), options.environ)
