"""Brings images into repositories: blobs once, manifests after them, then a look whether all of it is really there.

The order is RELIABILITY R4: blobs, configs, manifests, what refers to them, indexes; tags are put by the caller, last.
Everything may be repeated: what is there already is not sent again.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, Protocol

from lamella.canonical import EMPTY_MAP, FrozenMap, digest_bytes
from lamella.clock import SystemClock
from lamella.errors import AuthError, LamellaError, RegistryError
from lamella.graph.protocols import Clock
from lamella.images.catalog import CREATED
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor, Manifest
from lamella.registry.remote import RemoteRepository
from lamella.registry.transfer import WORKERS, Job, OnProgress, transfer
from lamella.registry.upload import OnBytes
from lamella.values import dataclass, field, replace

__all__ = ["EMPTY_CONFIG", "Attachment", "BlobSource", "Freight", "Parcel", "Pusher", "artifact"]

EMPTY_CONFIG = Descriptor("application/vnd.oci.empty.v1+json", digest_bytes(b"{}"), 2)
"""The config of a manifest that is no image (image-spec manifest.md, "Guidance for an Empty Descriptor")."""


class BlobSource(Protocol):
    """Where layers' bytes come from when a registry lacks them, and which repositories may have them already."""

    def open(self, blob: Descriptor) -> BinaryIO:
        """The bytes, seekable, brought here first when they are only in another registry. Raises LamellaError."""

    def homes(self, digest: str) -> tuple[str, ...]:
        """Repositories (``registry/path``) that a registry may mount the blob from."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document about an image, pushed as a manifest whose subject it is (distribution-spec, "Referrers").

    ``media_type`` is the document's and, as in the field, the artifact's type too.
    """

    media_type: str
    data: bytes = field(repr=False)
    annotations: FrozenMap[str, str] = EMPTY_MAP


@dataclass(frozen=True, slots=True)
class Parcel:
    """One image for one repository. ``config`` are the config's bytes; ``attach`` makes the documents about the image,
    when it is pushed and not before. ``fresh`` are blobs that were made just now, so hardly any registry has them.
    """

    manifest: Manifest
    config: bytes = field(repr=False)
    attach: Callable[[], tuple[Attachment, ...]] = field(default=tuple, compare=False, repr=False)
    fresh: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What the manifest names, each once."""
        return tuple(dict.fromkeys((*self.manifest.layers, self.manifest.config)))


def artifact(attachment: Attachment, subject: Descriptor) -> Manifest:
    """The manifest of an attachment (image-spec manifest.md, "Guidelines for Artifact Usage")."""
    layer = Descriptor(attachment.media_type, digest_bytes(attachment.data), len(attachment.data))
    return Manifest(
        EMPTY_CONFIG,
        (layer,),
        annotations=attachment.annotations,
        subject=Descriptor(subject.media_type, subject.digest, subject.size),
        artifact_type=attachment.media_type,
    )


@dataclass(slots=True)
class Freight:
    """What moved: blobs by how they came (present, mounted, sent), and the bytes of those that were sent.

    ``log`` has each as (repository, digest, bytes, how), in the order they were done.
    """

    blobs: dict[str, int] = field(default_factory=lambda: {"present": 0, "mounted": 0, "sent": 0})
    sent_bytes: int = 0
    log: list[tuple[str, str, int, str]] = field(default_factory=list)


class Pusher:
    """Pushes parcels and remembers what could not be brought. Used once; ``on_progress`` takes bytes done and all."""

    def __init__(
        self, source: BlobSource, on_progress: OnProgress = lambda done, total: None, clock: Clock | None = None
    ) -> None:
        self._source = source
        self._on_progress = on_progress
        self._clock = clock or SystemClock()
        self._failed: dict[tuple[str, str], LamellaError] = {}
        self._denied: dict[str, AuthError] = {}
        self._lock = threading.Lock()
        self.freight = Freight()

    def bring(self, parcels: Iterable[tuple[RemoteRepository, Parcel]]) -> None:
        """Brings the blobs of all parcels, several at a time; a blob that several need is sent once and then mounted.

        One that cannot be brought does not stop the others: :meth:`push` raises its error for the parcels that need it.
        """
        places: dict[str, dict[str, RemoteRepository]] = {}
        blobs: dict[str, tuple[Descriptor, Parcel]] = {}
        for repository, parcel in parcels:
            for blob in parcel.blobs:
                blobs.setdefault(blob.digest, (blob, parcel))
                places.setdefault(blob.digest, {})[repository.name] = repository
        jobs = [
            Job(blob.size, partial(self._everywhere, tuple(places[digest].values()), parcel, blob))
            for digest, (blob, parcel) in blobs.items()
        ]
        transfer(jobs, on_progress=self._on_progress)

    def _everywhere(
        self, repositories: tuple[RemoteRepository, ...], parcel: Parcel, blob: Descriptor, on_bytes: OnBytes
    ) -> None:
        """One blob to all repositories that need it, one after the other, so that later ones mount it."""
        homes: tuple[str, ...] = ()
        for repository in repositories:
            try:
                self._bring(repository, parcel, blob, homes, on_bytes)
                homes = (repository.name,)
            except LamellaError as error:
                self._failed[repository.name, blob.digest] = error
                if isinstance(error, AuthError):
                    self._denied.setdefault(repository.name, error)

    def _bring(
        self,
        repository: RemoteRepository,
        parcel: Parcel,
        blob: Descriptor,
        homes: tuple[str, ...] = (),
        on_bytes: OnBytes = lambda count: None,
        *,
        again: bool = False,
    ) -> None:
        denied = self._denied.get(repository.name)
        if denied is not None:  # the others would be refused as well, one by one
            raise denied

        def open_() -> BinaryIO:
            if blob.digest == parcel.manifest.config.digest:
                return io.BytesIO(parcel.config)
            return self._source.open(blob)

        mount_from = () if again else (*homes, *self._source.homes(blob.digest))
        fresh = blob.digest in parcel.fresh
        action = repository.push_blob(blob, open_, mount_from=mount_from, on_bytes=on_bytes, again=again, fresh=fresh)
        with self._lock:
            self.freight.blobs[action] += 1
            self.freight.sent_bytes += blob.size if action == "sent" else 0
            self.freight.log.append((repository.name, blob.digest, blob.size, action))

    def push(self, repository: RemoteRepository, parcel: Parcel) -> Descriptor:
        """Pushes a parcel's manifest by digest, and what refers to it, after its blobs; looks whether all is there.

        A blob that the registry says to have and cannot give (distribution 3743) is sent again. Raises the error of a
        blob that could not be brought, RegistryError, AuthError.
        """
        for blob in parcel.blobs:
            error = self._failed.get((repository.name, blob.digest))
            if error is not None:
                raise error
        data = parcel.manifest.to_bytes()
        try:
            descriptor = repository.push_manifest(data, parcel.manifest.media_type)
        except RegistryError:  # it may have found that a blob is gone
            if not self._repair(repository, parcel):
                raise
            descriptor = repository.push_manifest(data, parcel.manifest.media_type)
        self._repair(repository, parcel)
        self._attach_all(repository, parcel.attach(), descriptor)
        return descriptor

    def _attach_all(self, repository: RemoteRepository, attachments: Sequence[Attachment], subject: Descriptor) -> None:
        """Pushes what refers to an image, unless a push before did: those of the first push say when it was published,
        which nothing of the image itself does (DESIGN 7b.8).
        """
        there = {entry.artifact_type for entry in repository.referrers(subject.digest)} if attachments else frozenset()
        created = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for attachment in attachments:
            if attachment.media_type not in there:
                dated = FrozenMap({**attachment.annotations, CREATED: created})
                self._attach(repository, replace(attachment, annotations=dated), subject)

    def _repair(self, repository: RemoteRepository, parcel: Parcel) -> bool:
        """Sends again what the registry cannot give; whether there was anything. Raises when it still cannot."""
        gone = _missing(repository, parcel.blobs)
        for blob in gone:
            self._bring(repository, parcel, blob, again=True)
        lost = _missing(repository, gone)
        if lost:
            raise RegistryError(
                f"{repository.name} took blob {short_digest(lost[0].digest)} and cannot give it back",
                hint="no tag was moved; the registry's storage or its garbage collection needs a look",
            )
        return bool(gone)

    def _attach(self, repository: RemoteRepository, attachment: Attachment, subject: Descriptor) -> None:
        manifest = artifact(attachment, subject)
        for blob, data in ((manifest.config, b"{}"), (manifest.layers[0], attachment.data)):
            repository.push_blob(blob, partial(io.BytesIO, data))
        repository.push_manifest(manifest.to_bytes(), manifest.media_type, subject=subject)


def _missing(repository: RemoteRepository, blobs: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """Those that the registry cannot give, asked for side by side: each answer is a round trip."""
    if len(blobs) <= 1:
        return repository.missing(blobs)
    with ThreadPoolExecutor(min(WORKERS, len(blobs))) as pool:
        found = pool.map(lambda blob: repository.missing((blob,)), blobs)
        return tuple(blob for part in found for blob in part)
