"""Registries by reference: the client, and the images that are pulled from them (OCI distribution-spec, "Pull")."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from lamella.oci.config import parse_config
from lamella.oci.manifest import Descriptor
from lamella.oci.platform import Platform
from lamella.oci.reference import Reference, parse_reference
from lamella.registry.credentials import Credential
from lamella.registry.documents import (
    ATTESTATION,
    CONFIG_LIMIT,
    Document,
    ImageSource,
    Resolved,
    Sink,
    choose,
    config_of,
    resolved,
)
from lamella.registry.exchange import Exchange
from lamella.registry.hosts import RegistrySettings, Repository
from lamella.registry.layout import open_local
from lamella.registry.place import Place, RepositoryState
from lamella.registry.remote import OnTransfer, RemoteRepository
from lamella.registry.upload import UploadLimits
from lamella.transport.client import Client

__all__ = ["RegistryClient", "RegistryImage", "open_image"]


def open_image(location: str, client: RegistryClient, root: Path) -> ImageSource:
    """The image of ``from`` in a project file: a reference, or ``SCHEME:PATH`` relative to ``root``.

    Raises ConfigError and HostileInputError.
    """
    return open_local(location, root) or client.image(parse_reference(location))


class RegistryClient:
    """Registries, by reference. Thread-safe. ``credentials`` finds what is stored for a registry's name.

    ``on_transfer`` is told of each blob that is moved or found there; ``limits`` say what goes in one request.
    """

    def __init__(
        self,
        http: Client,
        settings: RegistrySettings | None = None,
        credentials: Callable[[str], Credential | None] = lambda _: None,
        *,
        on_transfer: OnTransfer = lambda transfer: None,
        limits: UploadLimits | None = None,
    ) -> None:
        self._settings = settings or RegistrySettings()
        self._exchange = Exchange(http, self._settings, credentials)
        self._on_transfer = on_transfer
        self._limits = limits or UploadLimits()
        self._states: dict[Repository, RepositoryState] = {}
        self._lock = threading.Lock()

    def repository(self, reference: Reference) -> RemoteRepository:
        """The repository of a reference; what it learns is shared by all users of this client."""
        where = Repository.of(reference, self._settings)
        with self._lock:
            state = self._states.setdefault(where, RepositoryState())
        place = Place(self._exchange, where, state)
        return RemoteRepository(place, reference, on_transfer=self._on_transfer, limits=self._limits)

    def image(self, reference: Reference) -> RegistryImage:
        """The image that a reference names; nothing is asked yet."""
        return RegistryImage(self.repository(reference))


class RegistryImage:
    """One image of a registry: ``registry.documents.ImageSource``. The reference is resolved once."""

    def __init__(self, repository: RemoteRepository) -> None:
        self._repository = repository
        self._reference = repository.reference
        self._root: Document | None = None

    @property
    def root(self) -> Document:
        """The index or manifest that the reference names."""
        if self._root is None:
            self._root = self._document(self._reference.digest or self._reference.tag or "latest", None)
        return self._root

    def platforms(self) -> dict[Platform, str]:
        """See :class:`lamella.registry.documents.ImageSource`."""
        if self.root.index is None:
            return {parse_config(self._config_data(self.root)).platform: self.root.descriptor.digest}
        entries = [entry for entry in self.root.index.manifests if ATTESTATION not in entry.annotations]
        return {entry.platform: entry.digest for entry in entries if entry.platform}

    def resolve(self, platform: Platform) -> Resolved:
        """See :class:`lamella.registry.documents.ImageSource`."""
        document, where = self.root, str(self._reference)
        if document.index is not None:
            entry = choose(document.index, platform, where)
            document = self._document(entry.digest, entry)
        return resolved(self.root.descriptor, document, self._config_data(document), platform, where)

    def fetch(self, descriptor: Descriptor, sink: Sink) -> None:
        """See :class:`lamella.registry.documents.ImageSource`."""
        self._repository.fetch_blob(descriptor, sink)

    def _document(self, name: str, expected: Descriptor | None) -> Document:
        return self._repository.require_manifest(name, expected)

    def _config_data(self, document: Document) -> bytes:
        return self._repository.read_blob(config_of(document, str(self._reference)), CONFIG_LIMIT)
