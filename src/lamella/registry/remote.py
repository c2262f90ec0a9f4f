"""One repository of a registry: everything the distribution spec lets a client do with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError, HostileInputError, IntegrityError, LamellaError, RegistryError
from lamella.oci import media
from lamella.oci.digest import check_digest, is_digest, short_digest
from lamella.oci.manifest import MANIFEST_LIMIT, Descriptor, parse_index
from lamella.oci.reference import Reference, is_tag
from lamella.registry.documents import Document, Sink, read_document, verified
from lamella.registry.exchange import Exchange
from lamella.registry.hosts import Repository
from lamella.registry.referrers import fallback_tag, merged, referrer_of, referrers_index, subject_of, without
from lamella.registry.upload import OnBytes, Session, Upload, UploadLimits, open_session, upload_place
from lamella.transport.client import Response

__all__ = ["MANIFEST_TYPES", "OnTransfer", "RemoteRepository", "RepositoryState", "Transfer"]

MANIFEST_TYPES = f"{media.IMAGE_INDEX}, {media.IMAGE_MANIFEST}, {media.DOCKER_INDEX}, {media.DOCKER_MANIFEST}"
"""What an Accept header names."""

_LIST_LIMIT = 8 << 20
_PAGE = 1000
_PAGES = 10_000
_RACES = 5
"""Times that a list of referrers is written again because somebody else wrote it at the same time."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One blob that was moved, or did not have to be: ``action`` is present, mounted, sent or fetched.

    ``bytes`` went over the wire, those that were sent twice counted twice; ``size`` is the blob's.
    """

    repository: str
    digest: str
    size: int
    action: str
    bytes: int


OnTransfer = Callable[[Transfer], None]
"""Called once for each blob when it is done, from whatever thread moved it."""


@dataclass(slots=True)
class RepositoryState:
    """What a run knows of a repository, shared by its users: blobs that are there, whether referrers have an API."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    blobs: dict[str, int] = field(default_factory=dict)
    pushing: dict[str, threading.Lock] = field(default_factory=dict)
    referrers_api: bool | None = None

    @contextmanager
    def only_one(self, digest: str) -> Iterator[None]:
        """Holds the right to push a blob; a second one waits and finds it there."""
        with self.lock:
            mine = self.pushing.setdefault(digest, threading.Lock())
        with mine:
            yield


class RemoteRepository:
    """A repository of a registry. Thread-safe. Nothing is asked before a method is called.

    ``name`` is ``registry/path`` in full; ``reference`` what it was made for. All methods raise AuthError (missing or
    insufficient credentials), RegistryError (the registry or the network), IntegrityError (other bytes than promised)
    and HostileInputError (malformed answers).
    """

    def __init__(
        self,
        exchange: Exchange,
        reference: Reference,
        repository: Repository,
        state: RepositoryState,
        *,
        on_transfer: OnTransfer,
        limits: UploadLimits,
    ) -> None:
        self.reference = reference
        self.name = repository.full_name
        self._exchange = exchange
        self._repository = repository
        self._state = state
        self._on_transfer = on_transfer
        self._limits = limits

    # -- manifests -------------------------------------------------------------------------------------------------

    def head(self, name: str) -> Descriptor | None:
        """Media type, digest and size of a manifest by tag or digest, with one request; None when there is none."""
        what, headers = f"looking for {self._at(name)}", {"Accept": MANIFEST_TYPES}
        answer = self._request("HEAD", f"manifests/{_checked_name(name)}", what, headers=headers)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._failure(answer, what)
        digest = answer.headers.get("docker-content-digest", "") or (name if is_digest(name) else "")
        length = answer.headers.get("content-length", "")
        if not digest or not length.isdecimal():  # the specification only recommends these headers
            document = self.manifest(name)
            return document.descriptor if document else None
        if is_digest(name) and check_digest(digest) != name and digest.partition(":")[0] == name.partition(":")[0]:
            raise IntegrityError(f"{self._repository.host} says that {self._at(name)} is {digest}")
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
            raise self._failure(answer, f"pulling {self._at(name)}")
        return self._read(name, answer, expected)

    def _get_manifest(self, name: str) -> Response:
        what, headers = f"pulling {self._at(name)}", {"Accept": MANIFEST_TYPES}
        answer = self._request("GET", f"manifests/{_checked_name(name)}", what, headers=headers, limit=MANIFEST_LIMIT)
        if answer.status not in (200, 404):
            raise self._failure(answer, what)
        return answer

    def _read(self, name: str, answer: Response, expected: Descriptor | None) -> Document:
        where = self._at(name)
        if expected is None and is_digest(name):
            expected = Descriptor("", name, -1)
        kind = answer.headers.get("content-type", "")
        document = read_document(answer.body, where, content_type=kind, expected=expected)
        claimed = answer.headers.get("docker-content-digest", "")
        if claimed.startswith("sha256:") and claimed != digest_bytes(answer.body):
            raise IntegrityError(f"{self._repository.host} says the manifest of {where} is {claimed}, and it is not")
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
        if found is not None and not answer.headers.get("oci-subject") and not self._has_referrers(found.digest):
            self._list_referrer(found.digest, referrer_of(data, descriptor))
        self.tag(data, media_type, tags)
        return descriptor

    def tag(self, data: bytes, media_type: str, tags: Sequence[str]) -> None:
        """Moves tags to a manifest that is there; confirmed by the registry for each."""
        descriptor = Descriptor(media_type, digest_bytes(data), len(data))
        for tag in tags:
            self._put_manifest(_checked_tag(tag), data, descriptor)

    def _put_manifest(self, name: str, data: bytes, descriptor: Descriptor) -> Response:
        what = f"pushing {self._at(name)}"
        answer = self._request(
            "PUT", f"manifests/{name}", what, headers={"Content-Type": descriptor.media_type}, body=data
        )
        if answer.status not in (200, 201, 202):
            raise self._failure(answer, what)
        said = answer.headers.get("docker-content-digest", "")
        if not said:
            there = self.head(name)
            said = there.digest if there is not None else "nothing"
        if said != descriptor.digest:
            raise IntegrityError(f"{what}: {self._repository.host} says it has {said}, sent was {descriptor.digest}")
        return answer

    # -- blobs -----------------------------------------------------------------------------------------------------

    def has_blob(self, digest: str, size: int = -1) -> bool:
        """Whether a blob is there, with ``size`` bytes when that is given. A yes is kept for the run."""
        return self._has(digest, size, self._repository.pull_scope)

    def _has(self, digest: str, size: int, scope: str) -> bool:
        known = self._state.blobs.get(check_digest(digest))
        if known is not None:
            return size < 0 or known in (-1, size)
        what = f"looking for a blob of {self._repository.name}"
        answer = self._exchange.request("HEAD", self._repository, f"blobs/{digest}", scope=scope, what=what)
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise self._failure(answer, what)
        length = answer.headers.get("content-length", "")
        there = int(length[:18]) if length.isdecimal() else -1
        if size >= 0 and there not in (-1, size):
            return False
        self._state.blobs[digest] = there
        return True

    def missing(self, descriptors: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
        """Those blobs that the registry cannot give: each is asked for its first byte.

        A registry may say that a blob exists whose bytes its garbage collection took (distribution 3743, 4569), so
        the answer of HEAD is not enough after a push.
        """
        gone = tuple(blob for blob in descriptors if not self._gives(blob))
        for blob in gone:
            self._state.blobs.pop(blob.digest, None)
        return gone

    def _gives(self, blob: Descriptor) -> bool:
        what = f"checking a blob of {self._repository.name}"
        headers = {"Range": "bytes=0-0"} if blob.size else {}
        path = f"blobs/{check_digest(blob.digest)}"
        # a registry without ranges sends all of it; what is beyond the limit is not read
        url = self._repository.url(path)
        scope = self._repository.pull_scope
        for _ in range(3):
            sent = self._exchange.headers(self._repository, scope, url)
            with self._exchange.http.open("GET", url, headers={**headers, **sent}) as opened:
                if opened.status in (200, 206):
                    return not blob.size or next(opened.chunks(), b"") != b""
                answer = opened.response()
            if answer.status == 404:
                return False
            if answer.status != 401:
                break
            self._exchange.auth.answer(self._repository, scope, answer, sent, what=what)
        raise self._failure(answer, what)

    def fetch_blob(self, descriptor: Descriptor, sink: Sink) -> None:
        """Hands the bytes of a blob to ``sink``, verified; resumed where a connection broke."""
        chunks = self._exchange.chunks(self._repository, descriptor.digest, descriptor.size)
        sink(descriptor.digest, descriptor.size, verified(chunks, descriptor, self.name))
        self._moved(descriptor, "fetched", descriptor.size)

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob as a whole; raises HostileInputError when its descriptor says more than ``limit`` bytes."""
        if descriptor.size > limit:
            text = f"blob {short_digest(descriptor.digest)} of {self.name} has {descriptor.size} bytes"
            raise HostileInputError(f"{text}, more than {limit}")
        chunks = self._exchange.chunks(self._repository, descriptor.digest, descriptor.size)
        data = b"".join(verified(chunks, descriptor, self.name))
        self._moved(descriptor, "fetched", descriptor.size)
        return data

    def push_blob(
        self,
        descriptor: Descriptor,
        open_: Callable[[], BinaryIO],
        *,
        mount_from: Sequence[str] = (),
        on_bytes: OnBytes = lambda count: None,
        again: bool = False,
    ) -> str:
        """Brings a blob into the repository: ``present`` when it was there, ``mounted`` or ``sent``.

        ``open_`` opens the bytes, which must be seekable. ``mount_from`` names repositories of the same registry
        (``registry/path`` or ``path``) that may have it; others are passed over. A blob that several threads push
        goes once. ``again`` sends it although the registry says that it is there (see :meth:`missing`).
        """
        with self._state.only_one(check_digest(descriptor.digest)):
            sent = 0
            session: Session | None = None
            if not again and self._has(descriptor.digest, descriptor.size, self._repository.push_scope):
                action = "present"
            elif (mounted := not again and self._mount(descriptor, mount_from)) is True:
                action = "mounted"
            else:
                session = mounted if isinstance(mounted, Session) else None
                upload = Upload(
                    self._exchange, self._repository, descriptor, open_, on_bytes=on_bytes, limits=self._limits
                )
                upload.run(session)
                action, sent = "sent", upload.sent
            self._state.blobs[descriptor.digest] = descriptor.size
        self._moved(descriptor, action, sent)
        return action

    def _mount(self, blob: Descriptor, sources: Sequence[str]) -> Session | bool:
        """True when a source had it; else the session that the last refusal began, or False.

        A mount that is not allowed is no error: the blob is sent then.
        """
        session: Session | bool = False
        for source in dict.fromkeys(filter(None, map(self._same_registry, sources))):
            query = f"mount={blob.digest}&from={source}"
            scope = self._repository.mount_scope(source)
            try:
                answer = open_session(self._exchange, self._repository, scope=scope, query=query)
            except LamellaError:
                continue
            if answer.status == 201:
                return True
            if answer.status == 202:
                session = Session(upload_place(answer, self._repository))
        return session

    def _same_registry(self, name: str) -> str:
        """The path of a repository of the same registry, empty for another one and for this one."""
        head, slash, rest = name.partition("/")
        path = name
        if slash and head == self._repository.registry:
            path = rest
        elif slash and ("." in head or ":" in head or head == "localhost"):
            return ""
        return path if path != self._repository.name else ""

    # -- lists -----------------------------------------------------------------------------------------------------

    def tags(self) -> tuple[str, ...]:
        """All tags, page by page, sorted; none of a repository that is not there."""
        import json

        found: set[str] = set()
        what = f"listing the tags of {self.name}"
        for answer in self._pages(f"tags/list?n={_PAGE}", what):
            try:
                names = json.loads(answer.body).get("tags") or []
            except (ValueError, AttributeError, RecursionError) as error:
                raise HostileInputError(f"{what}: the answer is no list of tags") from error
            if not isinstance(names, list) or not all(isinstance(name, str) and is_tag(name) for name in names):
                raise HostileInputError(f"{what}: the answer has tags that are none")
            found.update(names)
        return tuple(sorted(found))

    def _pages(self, path: str, what: str) -> Iterator[Response]:
        """Each page of a list; nothing for a 404. The next page is at the Link header (RFC 8288)."""
        url, seen = self._repository.url(path), set[str]()
        while url not in seen and len(seen) < _PAGES:
            seen.add(url)
            answer = self._request("GET", url, what, limit=_LIST_LIMIT)
            if answer.status == 404:
                return
            if answer.status != 200:
                raise self._failure(answer, what)
            yield answer
            target = _next_page(answer.headers.get("link", ""))
            if not target:
                return
            following = urlsplit(urljoin(answer.url, target))
            if following.netloc != self._repository.host:
                raise HostileInputError(f"{what}: the next page is said to be at {following.netloc}")
            url = following._replace(scheme=urlsplit(self._repository.api).scheme).geturl()

    def referrers(self, digest: str, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Manifests that have ``digest`` as their subject, of one artifact type when it is given.

        By the referrers API, or by the tag of the specification's fall-back where there is none.
        """
        what = f"listing what refers to {short_digest(check_digest(digest))} in {self.name}"
        entries: list[Descriptor] = []
        if self._state.referrers_api is not False:
            for answer in self._pages(f"referrers/{digest}", what):
                self._state.referrers_api = True
                entries += referrers_index(answer.body, self.name)
        if self._state.referrers_api is not True:
            document = self.manifest(fallback_tag(digest))
            entries += document.index.manifests if document and document.index else ()
        unique = {entry.digest: entry for entry in entries}
        return tuple(entry for entry in unique.values() if artifact_type in ("", entry.artifact_type))

    def _has_referrers(self, digest: str) -> bool:
        """Whether the registry has the API: it answers 200 with an empty list for what nobody refers to."""
        if self._state.referrers_api is None:
            answer = self._request("GET", f"referrers/{digest}", f"asking {self._repository.host} for referrers")
            self._state.referrers_api = answer.status == 200
        return self._state.referrers_api

    def _list_referrer(self, subject: str, referrer: Descriptor) -> None:
        """Adds to the list under the fall-back tag, and looks whether another writer was faster."""
        tag = fallback_tag(subject)
        with self._state.only_one(tag):
            for _ in range(_RACES):
                document = self.manifest(tag)
                data = merged(document.data if document else b"", referrer)
                if data is None:
                    return
                self._put_manifest(tag, data, Descriptor(media.IMAGE_INDEX, digest_bytes(data), len(data)))
        raise RegistryError(
            f"the list of referrers {self.name}:{tag} is changed by others all the time", hint="try again later"
        )

    # -- deletes ---------------------------------------------------------------------------------------------------

    def delete_manifest(self, digest: str) -> bool:
        """Deletes a manifest with all its tags; False when it was not there.

        Where the registry has no referrers API, it is taken off the list of its subject's referrers.
        """
        document = self.manifest(check_digest(digest)) if self._state.referrers_api is False else None
        subject = subject_of(document.data) if document else None
        gone = self._delete(f"manifests/{digest}", f"manifest {short_digest(digest)}")
        if subject is not None:
            self._unlist_referrer(subject.digest, digest)
        return gone

    def delete_tag(self, tag: str) -> bool:
        """Deletes a tag and leaves its manifest; False when it was not there. Many registries do not offer this."""
        return self._delete(f"manifests/{_checked_tag(tag)}", f"tag {tag}")

    def delete_blob(self, digest: str) -> bool:
        """Deletes a blob; False when it was not there."""
        gone = self._delete(f"blobs/{check_digest(digest)}", f"blob {short_digest(digest)}")
        self._state.blobs.pop(digest, None)
        return gone

    def _delete(self, path: str, which: str) -> bool:
        what = f"deleting {which} of {self.name}"
        scope = self._repository.delete_scope
        answer = self._exchange.request("DELETE", self._repository, path, scope=scope, what=what)
        if answer.status == 404:
            return False
        if answer.status not in (200, 202, 204):
            raise self._failure(answer, what)
        return True

    def _unlist_referrer(self, subject: str, digest: str) -> None:
        tag = fallback_tag(subject)
        with self._state.only_one(tag):
            document = self.manifest(tag)
            data = without(document.data, digest) if document else None
            if document is None or data is None:
                return
            if parse_index(data).manifests:
                self._put_manifest(tag, data, Descriptor(media.IMAGE_INDEX, digest_bytes(data), len(data)))
            else:
                self._delete(f"manifests/{document.descriptor.digest}", f"tag {tag}")

    # -- parts -----------------------------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        what: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        limit: int = 1 << 20,
    ) -> Response:
        scope = self._repository.push_scope if method == "PUT" else self._repository.pull_scope
        return self._exchange.request(
            method, self._repository, path, scope=scope, what=what, headers=headers, body=body, limit=limit
        )

    def _failure(self, answer: Response, what: str) -> LamellaError:
        return self._exchange.failure(answer, what, self._repository)

    def _moved(self, blob: Descriptor, action: str, count: int) -> None:
        self._on_transfer(Transfer(self.name, blob.digest, blob.size, action, count))

    def _at(self, name: str) -> str:
        pinned = replace(self.reference, tag="", digest=name) if is_digest(name) else self.reference.with_tag(name)
        return str(pinned)


def _checked_name(name: str) -> str:
    return name if is_digest(name) else _checked_tag(name)


def _checked_tag(tag: str) -> str:
    if not is_tag(tag):
        raise ConfigError(f"{tag[:80]!r} is not a tag", hint="letters, digits, '_', '.', '-', at most 128")
    return tag


def _next_page(link: str) -> str:
    """The target of a Link header whose relation is ``next``; empty without one."""
    for part in link.split(","):
        target, _, parameters = part.partition(">")
        if 'rel="next"' in parameters.replace(" ", "") or "rel=next" in parameters.replace(" ", ""):
            return target.strip().removeprefix("<")
    return ""
