"""HTTP downloads: into a store by digest, resumed where they broke, proven before anybody reads them.

:class:`Fetch` has the methods that ``engines.executor`` asks of a downloader; where blobs are kept and how a tar is
read is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from lamella.errors import AuthError, ConfigError, IntegrityError, LamellaError
from lamella.sources.checksums import find_checksum
from lamella.sources.extract import OpenTar, extract_member
from lamella.transport.client import Client, Response
from lamella.transport.download import download
from lamella.transport.redaction import redact_url

__all__ = ["DOWNLOAD_LIMIT", "Blobs", "Fetch"]

DOWNLOAD_LIMIT = 64 << 30
"""Bytes of one download at most: models are large, disks are finite."""

_SUMS_LIMIT = 8 << 20

OnBytes = Callable[[int], None]


class Blobs(Protocol):
    """Where downloads go; the store's blobs are one."""

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether a blob is there."""

    def put_stream(self, chunks: Iterable[bytes], expected: str = "", size: int | None = None) -> tuple[str, int]:
        """Stores a blob whole or not at all; raises IntegrityError when it is not ``expected``."""

    def open(self, digest: str) -> BinaryIO:
        """A blob's bytes, seekable."""


class Fetch:
    """Brings URLs into ``blobs``. Thread-safe as far as ``blobs`` is."""

    def __init__(self, http: Client, blobs: Blobs, *, open_tar: OpenTar, limit: int = DOWNLOAD_LIMIT) -> None:
        self._http = http
        self._blobs = blobs
        self._open_tar = open_tar
        self._limit = limit

    def download(
        self, url: str, *, sha256: str, secret: bytes | None = None, on_bytes: OnBytes = lambda count: None
    ) -> str:
        """The digest of the blob with the bytes of ``url``.

        ``sha256`` (hex) proves them unless empty; a blob that is there already is not fetched. ``secret`` is sent as a
        bearer token, over HTTPS only. ``on_bytes`` is told each piece's length.

        Raises RegistryError, AuthError for a refusal, ConfigError for a bad URL, IntegrityError for other bytes.
        """
        expected = f"sha256:{sha256.lower()}" if sha256 else ""
        if expected and self._blobs.has(expected):
            return expected
        headers = _headers(url, secret)
        chunks = download(self._http, url, headers=lambda: headers, limit=self._limit, on_refusal=_refused(url))
        try:
            return self._blobs.put_stream(_told(chunks, on_bytes), expected)[0]
        except IntegrityError as error:
            raise IntegrityError(
                f"{redact_url(url)} does not have the sha256 that is expected: {error.message}",
                hint="if the new content is right, write its sha256; otherwise do not use it",
            ) from error

    def checksum(self, url: str, name: str) -> str:
        """The hex sha256 that the checksum file at ``url`` gives for ``name``. Raises RegistryError and AuthError."""
        answer = self._http.request("GET", url, limit=_SUMS_LIMIT)
        what = f"fetching {redact_url(url)}"
        if answer.status != 200:
            raise answer.failure(what, kind=AuthError) if answer.status in (401, 403) else answer.failure(what)
        return find_checksum(answer.body.decode("utf-8", "replace"), name, where=redact_url(url))

    def extract(self, blob: str, member: str, target: Path, filename: str) -> None:
        """Writes a file or directory of a fetched archive as ``target``; see ``sources.extract``."""
        with self._blobs.open(blob) as archive:
            extract_member(archive, member, target, name=filename, open_tar=self._open_tar)


def _headers(url: str, secret: bytes | None) -> dict[str, str]:
    if secret is None:
        return {}
    if urlsplit(url).scheme != "https":
        raise ConfigError(f"{redact_url(url)} would get a secret over plain HTTP", hint="use an https URL")
    text = secret.decode("latin-1").strip()
    if not text or any(ord(char) < 0x21 or ord(char) > 0x7E for char in text):
        raise ConfigError(f"the secret for {redact_url(url)} is not a token: it is empty or has other characters")
    return {"Authorization": f"Bearer {text}"}


def _refused(url: str) -> Callable[[Response], LamellaError | None]:
    def judge(answer: Response) -> LamellaError | None:
        what = f"fetching {redact_url(url)}"
        if answer.status in (401, 403):
            hint = "give the fetch a secret whose value is a bearer token"
            return answer.failure(what, hint=hint, kind=AuthError)
        return answer.failure(what)

    return judge


def _told(chunks: Iterator[bytes], on_bytes: OnBytes) -> Iterator[bytes]:
    for data in chunks:
        on_bytes(len(data))
        yield data
