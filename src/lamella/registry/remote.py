"""One repository of a registry: everything the distribution spec lets a client do with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import BinaryIO

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError, HostileInputError, IntegrityError
from lamella.oci import media
from lamella.oci.digest import check_digest, is_digest, short_digest
from lamella.oci.manifest import MANIFEST_LIMIT, Descriptor
from lamella.oci.reference import Reference, is_tag
from lamella.registry.blobs import Blobs, OnTransfer, Transfer
from lamella.registry.documents import Document, Sink, read_document
from lamella.registry.place import Place
from lamella.registry.referrers import Referrers, referrer_of, subject_of
from lamella.registry.upload import OnBytes, UploadLimits
from lamella.transport.client import Response

__all__ = ["OnTransfer", "RemoteRepository", "Transfer"]

_ACCEPT = {"Accept": f"{media.IMAGE_INDEX}, {media.IMAGE_MANIFEST}, {media.DOCKER_INDEX}, {media.DOCKER_MANIFEST}"}
_PAGE = 1000


class RemoteRepository:
    """A repository of a registry. Thread-safe. Nothing is asked before a method is called.

    ``name`` is ``registry/path`` in full; ``reference`` what it was made for. All methods raise AuthError (missing or
    insufficient credentials), RegistryError (the registry or the network), IntegrityError (other bytes than promised)
    and HostileInputError (malformed answers).
    """

    def __init__(self, place: Place, reference: Reference, *, on_transfer: OnTransfer, limits: UploadLimits) -> None:
        self.reference = reference
        self.name = place.name
        self._place = place
        self._blobs = Blobs(place, on_transfer, limits)
        self._referrers = Referrers(place, self)

    # -- manifests -------------------------------------------------------------------------------------------------

    def head(self, name: str) -> Descriptor | None:
        """Media type, digest and size of a manifest by tag or digest, with one request; None when there is none."""
        what = f"looking for {self._at(name)}"
        answer = self._place.request("HEAD", f"manifests/{_checked_name(name)}", what, headers=_ACCEPT)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._place.failure(answer, what)
        digest = answer.headers.get("docker-content-digest", "") or (name if is_digest(name) else "")
        length = answer.headers.get("content-length", "")
        if not digest or not length.isdecimal():  # the specification only recommends these headers
            document = self.manifest(name)
            return document.descriptor if document else None
        if is_digest(name) and check_digest(digest) != name and digest.partition(":")[0] == name.partition(":")[0]:
            raise IntegrityError(f"{self._place.repository.host} says that {self._at(name)} is {digest}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Descriptor(kind, check_digest(digest), int(length[:18]))

    def manifest(self, name: str, expected: Descriptor | None = None) -> Document | None:
        """A manifest or index by tag or digest, verified, with its bytes as received; None when there is none."""
        answer = self._get_manifest(name)
        return None if answer.status == 404 else self._read(name, answer, expected)

    def require_manifest(self, name: str, expected: Descriptor | None = None) -> Document:
        """As :meth:`manifest`; raises RegistryError with the registry's own words when there is none."""
        answer = self._get_manifest(name)
        if answer.status == 404:
            raise self._place.failure(answer, f"pulling {self._at(name)}")
        return self._read(name, answer, expected)

    def _get_manifest(self, name: str) -> Response:
        what = f"pulling {self._at(name)}"
        path = f"manifests/{_checked_name(name)}"
        answer = self._place.request("GET", path, what, headers=_ACCEPT, limit=MANIFEST_LIMIT)
        if answer.status not in (200, 404):
            raise self._place.failure(answer, what)
        return answer

    def _read(self, name: str, answer: Response, expected: Descriptor | None) -> Document:
        where = self._at(name)
        if expected is None and is_digest(name):
            expected = Descriptor("", name, -1)
        kind = answer.headers.get("content-type", "")
        document = read_document(answer.body, where, content_type=kind, expected=expected)
        claimed = answer.headers.get("docker-content-digest", "")
        if claimed.startswith("sha256:") and claimed != digest_bytes(answer.body):
            raise IntegrityError(
                f"{self._place.repository.host} says the manifest of {where} is {claimed}, and it is not"
            )
        return document

    def push_manifest(
        self, data: bytes, media_type: str, *, tags: Sequence[str] = (), subject: Descriptor | None = None
    ) -> Descriptor:
        """Pushes a manifest or index by digest, then under its tags; confirmed by the registry for each.

        What it names must be there before (R4). Where the registry has no referrers API, the tag that lists the
        referrers of its subject is kept up. ``subject`` is what the document must name, when given.
        """
        descriptor = Descriptor(media_type, digest_bytes(data), len(data))
        found = subject_of(data)
        if subject is not None and (found is None or found.digest != subject.digest):
            raise ConfigError(f"the manifest for {self.name} does not name its subject {subject.digest}")
        answer = self._put_manifest(descriptor.digest, data, descriptor)
        if found is not None and not answer.headers.get("oci-subject") and not self._referrers.has_api(found.digest):
            self._referrers.add(found.digest, referrer_of(data, descriptor))
        self.tag(data, media_type, tags)
        return descriptor

    def tag(self, data: bytes, media_type: str, tags: Sequence[str]) -> None:
        """Moves tags to a manifest that is there; confirmed by the registry for each."""
        descriptor = Descriptor(media_type, digest_bytes(data), len(data))
        for tag in tags:
            self._put_manifest(_checked_tag(tag), data, descriptor)

    def _put_manifest(self, name: str, data: bytes, descriptor: Descriptor) -> Response:
        what, headers = f"pushing {self._at(name)}", {"Content-Type": descriptor.media_type}
        scope = self._place.repository.push_scope
        answer = self._place.request("PUT", f"manifests/{name}", what, scope=scope, headers=headers, body=data)
        if answer.status not in (200, 201, 202):
            raise self._place.failure(answer, what)
        said = answer.headers.get("docker-content-digest", "")
        if not said:
            there = self.head(name)
            said = there.digest if there is not None else "nothing"
        if said != descriptor.digest:
            host = self._place.repository.host
            raise IntegrityError(f"{what}: {host} says it has {said}, sent was {descriptor.digest}")
        return answer

    def delete_manifest(self, digest: str) -> bool:
        """Deletes a manifest with all its tags; False when it was not there.

        Where the registry has no referrers API, it is taken off the list of its subject's referrers.
        """
        subject = None
        if self._place.state.referrers_api is not True:
            document = self.manifest(check_digest(digest))
            subject = subject_of(document.data) if document else None
        gone = self._place.delete(f"manifests/{check_digest(digest)}", f"manifest {short_digest(digest)}")
        if subject is not None and not self._referrers.has_api(subject.digest):
            self._referrers.remove(subject.digest, digest)
        return gone

    def delete_tag(self, tag: str) -> bool:
        """Deletes a tag and leaves its manifest; False when it was not there. Many registries do not offer this."""
        return self._place.delete(f"manifests/{_checked_tag(tag)}", f"tag {tag}")

    # -- blobs -----------------------------------------------------------------------------------------------------

    def has_blob(self, digest: str, size: int = -1) -> bool:
        """Whether a blob is there, with ``size`` bytes when that is given. A yes is kept for the run."""
        return self._blobs.has(digest, size)

    def missing(self, descriptors: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
        """Those blobs that the registry cannot give: each is asked for its first byte.

        A registry may say that a blob exists whose bytes its garbage collection took (distribution 3743, 4569), so
        the answer of HEAD is not enough after a push.
        """
        return tuple(blob for blob in descriptors if not self._blobs.gives(blob))

    def fetch_blob(self, descriptor: Descriptor, sink: Sink) -> None:
        """Hands the bytes of a blob to ``sink``, verified; resumed where a connection broke."""
        self._blobs.fetch(descriptor, sink)

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob as a whole; raises HostileInputError when its descriptor says more than ``limit`` bytes."""
        return self._blobs.read(descriptor, limit)

    def push_blob(
        self,
        descriptor: Descriptor,
        open_: Callable[[], BinaryIO],
        *,
        mount_from: Sequence[str] = (),
        on_bytes: OnBytes = lambda count: None,
        again: bool = False,
        fresh: bool = False,
    ) -> str:
        """Brings a blob into the repository: ``present`` when it was there, ``mounted`` or ``sent``.

        ``open_`` opens the bytes, which must be seekable. ``mount_from`` names repositories of the same registry
        (``registry/path`` or ``path``) that may have it; others are passed over. A blob that several threads push
        goes once. ``again`` sends it although the registry says that it is there (see :meth:`missing`). ``fresh``: it
        was made just now, so one request asks for it and begins to send it, a mount from the repository itself.
        """
        return self._blobs.push(descriptor, open_, mount_from, on_bytes, again=again, fresh=fresh)

    def delete_blob(self, digest: str) -> bool:
        """Deletes a blob; False when it was not there."""
        return self._blobs.delete(digest)

    # -- lists -----------------------------------------------------------------------------------------------------

    def tags(self) -> tuple[str, ...]:
        """All tags, page by page, sorted; none of a repository that is not there."""
        found: set[str] = set()
        what = f"listing the tags of {self.name}"
        for answer in self._place.pages(f"tags/list?n={_PAGE}", what):
            try:
                names = json.loads(answer.body).get("tags") or []
            except (ValueError, AttributeError, RecursionError) as error:
                raise HostileInputError(f"{what}: the answer is no list of tags") from error
            if not isinstance(names, list) or not all(isinstance(name, str) and is_tag(name) for name in names):
                raise HostileInputError(f"{what}: the answer has tags that are none")
            found.update(names)
        return tuple(sorted(found))

    def referrers(self, digest: str, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Manifests that have ``digest`` as their subject, of one artifact type when it is given.

        By the referrers API, or by the tag of the specification's fall-back where there is none.
        """
        entries = self._referrers.list(check_digest(digest))
        return tuple(entry for entry in entries if artifact_type in ("", entry.artifact_type))

    def _at(self, name: str) -> str:
        return str(self.reference.with_tag("").with_digest(name) if is_digest(name) else self.reference.with_tag(name))


def _checked_name(name: str) -> str:
    return name if is_digest(name) else _checked_tag(name)


def _checked_tag(tag: str) -> str:
    if not is_tag(tag):
        raise ConfigError(f"{tag[:80]!r} is not a tag", hint="letters, digits, '_', '.', '-', at most 128")
    return tag
