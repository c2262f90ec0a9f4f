from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from lamella.oci.platform import Platform
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient, RegistryImage
from lamella.registry.credentials import Credential
from lamella.registry.hosts import RegistrySettings
from lamella.registry.remote import RemoteRepository, Transfer
from lamella.registry.upload import UploadLimits
from lamella.testing.registry import MemoryRegistry
from lamella.transport.client import Client
from lamella.transport.retry import Timing

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


class Collected:
    """A sink that keeps a blob when all of it came, as a store does."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def __call__(self, digest: str, size: int, chunks: Iterator[bytes]) -> None:
        data = b"".join(chunks)
        assert len(data) == size
        self.blobs[digest] = data


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    with MemoryRegistry() as running:
        yield running


@pytest.fixture
def http() -> Iterator[Client]:
    client = Client(timing=Timing(sleep=lambda _: None))
    yield client
    client.close()


@pytest.fixture
def sink() -> Collected:
    return Collected()


Puller = Callable[..., RegistryImage]


@pytest.fixture
def pull(http: Client) -> Puller:
    def image(
        registry: MemoryRegistry,
        name: str,
        *,
        credential: Credential | None = None,
        settings: RegistrySettings | None = None,
    ) -> RegistryImage:
        client = RegistryClient(http, settings, lambda host: credential if host == registry.address else None)
        return client.image(parse_reference(f"{registry.address}/{name}"))

    return image


@dataclass
class Remote:
    """Makes repositories of a registry; ``transfers`` is the log of all their blobs."""

    http: Client
    transfers: list[Transfer] = field(default_factory=list)

    def client(
        self, credential: Credential | None = None, settings: RegistrySettings | None = None, **limits: int
    ) -> RegistryClient:
        return RegistryClient(
            self.http,
            settings,
            lambda _: credential,
            on_transfer=self.transfers.append,
            limits=UploadLimits(**limits),
        )

    def __call__(
        self, registry: MemoryRegistry, name: str, credential: Credential | None = None, **limits: int
    ) -> RemoteRepository:
        client = self.client(credential, None, **limits)
        return client.repository(parse_reference(f"{registry.address}/{name}"))


@pytest.fixture
def remote(http: Client) -> Remote:
    return Remote(http)
