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

__all__ = ["CacheRepository", "Say"]

Say = Callable[[str], None]


class CacheRepository:
    """A place that records are read from. Thread-safe. ``open_`` gives the repository when it is first asked."""

    def __init__(self, place: Place, open_: Callable[[], RemoteRepository], say: Say) -> None:
        self.place = place
        self.name = str(place)
        self.asked = 0
        """Records that were asked for, one request each."""
        self.bytes = 0
        """Bytes that came: manifests and blobs."""
        self._open = open_
        self._say = say
        self._remote: RemoteRepository | None = None
        self._closed = False
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

    def _close(self, error: LamellaError) -> None:
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._say(f"cache repository {self.name} is left out: {error.message}")
