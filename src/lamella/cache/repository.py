"""One cache repository as something to read: records by key, blobs by digest.

A cache that cannot be asked is a cache without anything in it: that is said once, and the run goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lamella.cache.artifact import RecordArtifact, read_artifact, record_tag
from lamella.cache.domains import Place
from lamella.errors import AuthError, HostileInputError, IntegrityError, LamellaError, RegistryError
from lamella.oci.manifest import MANIFEST_LIMIT, Descriptor
from lamella.store.store import Store

if TYPE_CHECKING:
    from lamella.registry.documents import Document
    from lamella.registry.remote import RemoteRepository

__all__ = ["CacheRepository", "Outage", "Say"]

Say = Callable[[str], None]


class Outage:
    """Registries that did not answer, or refused, in a run: said once for all of their repositories."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._silent: set[str] = set()
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def has(self, registry: str) -> bool:
        """Whether a registry did not answer and is not asked again."""
        return registry in self._silent

    def add(self, registry: str, name: str, error: LamellaError) -> None:
        """Notes what a repository ended with: a refusal is its own, silence is that of the whole registry."""
        with self._lock:
            first = registry not in self._told
            self._told.add(registry)
            if not isinstance(error, AuthError):
                self._silent.add(registry)
        if first:
            self._say(f"cache repository {name} is left out: {error.message}")


class CacheRepository:
    """A place that records are read from. Thread-safe. ``open_`` gives the repository when it is first asked;
    ``outage`` is shared by the repositories of a run.
    """

    def __init__(
        self, place: Place, open_: Callable[[], RemoteRepository], say: Say, outage: Outage | None = None
    ) -> None:
        self.place = place
        self.name = str(place)
        self.asked = 0
        """Records that were asked for, one request each."""
        self.bytes = 0
        """Bytes that came: manifests and blobs."""
        self._open = open_
        self._say = say
        self._remote: RemoteRepository | None = None
        self._outage = outage or Outage(say)
        self._refused = False
        self._lock = threading.Lock()

    @property
    def remote(self) -> RemoteRepository:
        """The repository."""
        with self._lock:
            if self._remote is None:
                self._remote = self._open()
            return self._remote

    def find(self, key: str) -> RecordArtifact | None:
        """The record of a resolved key, with one request; None when there is none that may be used."""
        if self._closed:
            return None
        try:
            self.asked += 1
            document = self.remote.manifest(record_tag(key, self.place.prefix))
            return None if document is None else self._read(key, document)
        except (RegistryError, AuthError) as error:
            self._close(error)
        except (HostileInputError, IntegrityError) as error:
            self._say(f"{self.name}: a record was refused: {error.message}")
        return None

    def manifest(self, tag: str) -> bytes | None:
        """The bytes of a manifest by its tag; None when there is none or the repository is left out."""
        if self._closed:
            return None
        try:
            document = self.remote.manifest(tag)
        except (RegistryError, AuthError) as error:
            self._close(error)
            return None
        self.bytes += len(document.data) if document is not None else 0
        return document.data if document is not None else None

    def has(self, key: str) -> bool:
        """Whether there is something under a key's tag, with one request."""
        try:
            return not self._closed and self.remote.head(record_tag(key, self.place.prefix)) is not None
        except (RegistryError, AuthError) as error:
            self._close(error)
            return False

    def _read(self, key: str, document: Document) -> RecordArtifact:
        if document.manifest is None:
            raise HostileInputError(f"the tag of record {key} is an index")
        self.bytes += len(document.data)
        config = document.manifest.config
        return read_artifact(key, document.manifest, config.data or self._read_blob(config))

    def small(self, descriptor: Descriptor) -> bytes:
        """The bytes of a small artefact: those that are embedded, or its blob. Raises as the registry client does."""
        return descriptor.data or self._read_blob(descriptor)

    def _read_blob(self, descriptor: Descriptor) -> bytes:
        data = self.remote.read_blob(descriptor, 16 * MANIFEST_LIMIT)
        self.bytes += len(data)
        return data

    def fetch(self, descriptor: Descriptor, store: Store) -> None:
        """Brings a blob into the store, verified. Raises as the registry client does."""

        def sink(digest: str, size: int, chunks: Iterator[bytes]) -> None:
            with store.blobs.writer(needed=size) as out:
                for piece in chunks:
                    out.write(piece)
                out.commit(digest, size)

        self.remote.fetch_blob(descriptor, sink)
        self.bytes += descriptor.size

    def fetch_file(self, descriptor: Descriptor, target: Path) -> None:
        """Writes a blob to a file, verified."""

        def sink(_digest: str, _size: int, chunks: Iterator[bytes]) -> None:
            with open(target, "wb") as out:
                out.writelines(chunks)

        self.remote.fetch_blob(descriptor, sink)
        self.bytes += descriptor.size

    @property
    def _closed(self) -> bool:
        return self._refused or self._outage.has(self.place.repository.registry)

    def _close(self, error: LamellaError) -> None:
        self._refused = True
        self._outage.add(self.place.repository.registry, self.name, error)
