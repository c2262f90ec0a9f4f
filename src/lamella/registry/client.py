"""Pulling from a registry (OCI distribution-spec, "Pull")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from lamella.canonical import digest_bytes
from lamella.errors import AuthError, IntegrityError, LamellaError, RegistryError
from lamella.oci import media
from lamella.oci.config import parse_config
from lamella.oci.digest import check_digest
from lamella.oci.manifest import MANIFEST_LIMIT, Descriptor
from lamella.oci.platform import Platform
from lamella.oci.reference import Reference, parse_reference
from lamella.registry.auth import Authorizer
from lamella.registry.credentials import Credential
from lamella.registry.documents import (
    ATTESTATION,
    Document,
    ImageSource,
    Resolved,
    Sink,
    choose,
    config_of,
    read_document,
    resolved,
    verified,
)
from lamella.registry.hosts import RegistrySettings, Repository
from lamella.registry.layout import open_local
from lamella.transport.client import Client, Response
from lamella.transport.download import download

__all__ = ["RegistryClient", "RegistryImage", "open_image"]

_ACCEPT = f"{media.IMAGE_INDEX}, {media.IMAGE_MANIFEST}, {media.DOCKER_INDEX}, {media.DOCKER_MANIFEST}"
_CHALLENGES = 2
"""Refusals that one request answers: a token may have expired just before."""


def open_image(location: str, client: RegistryClient, root: Path) -> ImageSource:
    """The image of ``from`` in a project file: a reference, or ``SCHEME:PATH`` relative to ``root``.

    Raises ConfigError and HostileInputError.
    """
    return open_local(location, root) or client.image(parse_reference(location))


class RegistryClient:
    """Registries, by reference. Thread-safe. ``credentials`` finds what is stored for a registry's name."""

    def __init__(
        self,
        http: Client,
        settings: RegistrySettings | None = None,
        credentials: Callable[[str], Credential | None] = lambda _: None,
    ) -> None:
        self._http = http
        self._settings = settings or RegistrySettings()
        self._auth = Authorizer(http, self._settings, credentials)

    def image(self, reference: Reference) -> RegistryImage:
        """The image that a reference names; nothing is asked yet."""
        return RegistryImage(self, reference, Repository.of(reference, self._settings))

    def get(self, repository: Repository, path: str, *, limit: int, accept: str) -> Response:
        """One small object of a repository; any answer but 401. Raises AuthError and RegistryError."""
        scope = repository.pull_scope
        for _ in range(_CHALLENGES):
            sent = self._auth.headers(repository, scope)
            answer = self._http.request("GET", repository.url(path), headers={**sent, "Accept": accept}, limit=limit)
            if answer.status != 401:
                return answer
            self._auth.answer(repository, scope, answer, sent)
        sent = self._auth.headers(repository, scope)
        return self._http.request("GET", repository.url(path), headers={**sent, "Accept": accept}, limit=limit)

    def chunks(self, repository: Repository, digest: str, size: int) -> Iterator[bytes]:
        """The bytes of a blob as they come, resumed where the connection broke; not verified here."""
        scope, what = repository.pull_scope, f"pulling a blob of {repository.name}"
        sent: dict[str, str] = {}

        def headers() -> dict[str, str]:
            nonlocal sent
            sent = self._auth.headers(repository, scope)
            return sent

        def refused(answer: Response) -> LamellaError | None:
            if answer.status != 401:
                return _failure(answer, what, repository)
            self._auth.answer(repository, scope, answer, sent)
            return None

        return download(
            self._http,
            repository.url(f"blobs/{check_digest(digest)}"),
            headers=headers,
            size=size,
            limit=size,
            on_refusal=refused,
        )


class RegistryImage:
    """One image of a registry: ``registry.documents.ImageSource``. The reference is resolved once."""

    def __init__(self, client: RegistryClient, reference: Reference, repository: Repository) -> None:
        self._client = client
        self._reference = reference
        self._repository = repository
        self._root: Document | None = None

    @property
    def root(self) -> Document:
        """The index or manifest that the reference names."""
        if self._root is None:
            wanted = Descriptor("", self._reference.digest, -1) if self._reference.digest else None
            self._root = self._document(self._reference.digest or self._reference.tag or "latest", wanted)
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
        chunks = self._client.chunks(self._repository, descriptor.digest, descriptor.size)
        sink(descriptor.digest, descriptor.size, verified(chunks, descriptor, str(self._reference)))

    def _document(self, name: str, expected: Descriptor | None) -> Document:
        answer = self._client.get(self._repository, f"manifests/{name}", limit=MANIFEST_LIMIT, accept=_ACCEPT)
        where = str(self._reference)
        if answer.status != 200:
            raise _failure(answer, f"pulling {where}", self._repository)
        document = read_document(
            answer.body, where, content_type=answer.headers.get("content-type", ""), expected=expected
        )
        claimed = answer.headers.get("docker-content-digest", "")
        if claimed.startswith("sha256:") and claimed != digest_bytes(answer.body):
            raise IntegrityError(f"{self._repository.host} says the manifest of {where} is {claimed}, and it is not")
        return document

    def _config_data(self, document: Document) -> bytes:
        where = str(self._reference)
        descriptor = config_of(document, where)
        chunks = self._client.chunks(self._repository, descriptor.digest, descriptor.size)
        return b"".join(verified(chunks, descriptor, where))


def _failure(answer: Response, what: str, repository: Repository) -> LamellaError:
    """The error for an answer that is not what was asked for (R6: 7 is not 6)."""
    hint = f"run: docker login {repository.registry}"
    if answer.status in (401, 403):
        return answer.failure(what, hint=hint, kind=AuthError)
    if answer.status == 404:
        return answer.failure(what, hint="check the name and tag; a private repository also answers like this")
    return answer.failure(what, kind=RegistryError)
