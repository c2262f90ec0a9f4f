"""Uploads of blobs (distribution-spec, "Pushing blobs"): whole or in chunks, taken up again where they were cut.

A small blob goes in one PUT, a large one in PATCH requests, so that no proxy's time or size limit is met. After any
failure the registry is asked how far it got (GET of the upload's place); when it does not say, the upload starts
again: docker-registry 2.8 forgets an upload when a request of it is cut, others go on at the very byte. The bytes are
read from the file while they are sent, so memory does not grow with the blob.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

from lamella.errors import IntegrityError, LamellaError, RegistryError, ResourceError
from lamella.oci.manifest import Descriptor
from lamella.registry.answers import read_refusal
from lamella.registry.exchange import Exchange
from lamella.registry.hosts import Repository, is_loopback, is_private
from lamella.transport.client import Budget, FinalError, Response
from lamella.transport.retry import RETRIED_STATUS, retry_after
from lamella.values import dataclass

__all__ = ["OnBytes", "Session", "Upload", "UploadLimits", "begun", "open_session", "upload_place"]

OnBytes = Callable[[int], None]
"""Takes the number of bytes that moved since the last call; negative when some must be sent again. What it raises ends
the transfer."""

_TYPE = {"Content-Type": "application/octet-stream"}
_REDIRECTS = (307, 308)
_PASSING = frozenset({400, 404, 409, 416})
"""An upload that was forgotten, a part that came twice, a proxy that closed an idle connection."""
_FINAL_CODES = frozenset({"NAME_INVALID", "NAME_UNKNOWN", "DENIED", "UNSUPPORTED"})
_NO_CHUNKS = frozenset({400, 404, 405, 411, 416, 501})
"""How registries without chunked uploads refuse the first chunk; the blob goes whole then."""
_CURED = 3
"""Answers that are cured without waiting (new credentials, another place) before the registry has more bytes."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Bytes. A blob up to ``whole`` goes in one request, a larger one in pieces of ``chunk``; a proxy that refuses the
    size of a request gets pieces of ``small``.
    """

    whole: int = 64 << 20
    chunk: int = 32 << 20
    small: int = 512 << 10


@dataclass(frozen=True, slots=True)
class Session:
    """A begun upload: where it goes on, and the smallest piece in bytes that the registry takes."""

    place: str
    least: int = 0


class _Again(Exception):  # noqa: N818 - a turn of the loop, not an error of anybody
    """Another try may help: why, seconds to wait at least, and whether the session is gone."""

    def __init__(self, error: LamellaError, *, wait: float | None = None, lost: bool = False) -> None:
        super().__init__(error.message)
        self.error = RegistryError(error.message, hint=error.hint) if isinstance(error, FinalError) else error
        self.wait = wait
        self.lost = lost


class _Cured(Exception):  # noqa: N818 - as above
    """The same request may be made again at once: there are new credentials, or another place."""


class _Part:
    """Bytes ``start`` to ``end`` of a file, read as they are sent."""

    def __init__(self, file: BinaryIO, start: int, end: int, sent: Callable[[int], None]) -> None:
        self._file = file
        self._at, self._end = start, end
        self._sent = sent

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; raises IntegrityError when the file is shorter than its descriptor says."""
        left = self._end - self._at
        try:
            data = self._file.read(left if size < 0 else min(size, left)) if left else b""
        except OSError as error:
            raise ResourceError(f"a blob cannot be read while it is pushed: {error.strerror or error}") from error
        if left and not data:
            raise IntegrityError(f"a blob that is pushed ends after {self._at} bytes, {left} before its end")
        self._at += len(data)
        self._sent(self._at)
        return data


def open_session(exchange: Exchange, repository: Repository, *, scope: str, query: str = "") -> Response:
    """Begins an upload; any answer. A session that nobody uses is forgotten by the registry.

    A mount (``query``) is tried once: where it fails, sending the blob is sooner done than waiting.
    """
    what = f"pushing to {repository.name}"
    path = f"blobs/uploads/{f'?{query}' if query else ''}"
    return exchange.request("POST", repository, path, scope=scope, what=what, body=b"", repeat=not query)


def begun(answer: Response, repository: Repository) -> Session:
    """The upload that an answer of 202 began."""
    return Session(upload_place(answer, repository), _least(answer))


def upload_place(answer: Response, repository: Repository) -> str:
    """Where an upload goes on: the Location of an answer, resolved and checked.

    A registry behind a proxy may name itself with plain HTTP; its own scheme is kept. Another host gets the bytes but
    no credentials, and must not be plain HTTP or a private address unless the registry is one, too (the SSRF family
    of go-containerregistry's ``TestNextLocationSSRFProtection``). Raises RegistryError.
    """
    location = answer.headers.get("location", "")
    try:
        target = urlsplit(urljoin(answer.url, location))
        host = target.netloc
    except ValueError:
        host = ""
    if not location or not host or "@" in host or target.scheme not in ("http", "https"):
        raise FinalError(f"{repository.host} does not say where an upload goes on")
    if host == repository.host:
        return target._replace(scheme=urlsplit(repository.api).scheme).geturl()
    if is_loopback(host) and is_loopback(repository.host):
        return target.geturl()
    if target.scheme != "https" or (is_private(host) and not is_private(repository.host)):
        why = "plain HTTP" if target.scheme != "https" else "a private address"
        raise FinalError(
            f"{repository.host} sends an upload on to {host}, which is {why}: refused",
            hint="the registry or a proxy before it is set up wrongly",
        )
    return target.geturl()


class Upload:
    """One blob on its way into a repository. Used once."""

    def __init__(
        self,
        exchange: Exchange,
        repository: Repository,
        descriptor: Descriptor,
        open_: Callable[[], BinaryIO],
        *,
        on_bytes: OnBytes,
        limits: UploadLimits,
    ) -> None:
        self._exchange = exchange
        self._repository = repository
        self._blob = descriptor
        self._open = open_
        self._on_bytes = on_bytes
        self._what = f"pushing a blob to {repository.name}"
        self._budget = Budget(exchange.http, repository.api)
        self._small = limits.small
        self._chunk = limits.chunk if descriptor.size > limits.whole else 0
        self._session: Session | None = None
        self._at = self._reported = self._farthest = self._cured = 0
        self._mismatch = False
        self.sent = 0
        """Bytes that went out, those that were sent twice counted twice."""

    def run(self, session: Session | None) -> None:
        """Sends the blob, over as many requests as it takes; ``session`` is one that a refused mount began.

        Raises RegistryError, AuthError, IntegrityError when the registry finds another digest, ResourceError.
        """
        self._session = session
        with self._open() as file:
            while True:
                if self._session is None:
                    self._begin()  # with tries of its own
                try:
                    if self._step(file):
                        return
                except _Cured:
                    self._report(self._at)
                except (_Again, RegistryError) as error:
                    if self._recover(error):
                        return

    def _recover(self, error: _Again | RegistryError) -> bool:
        """After a failure: how far did the registry get? True when it has all. Raises what ends the upload."""
        if isinstance(error, FinalError):
            raise error
        again = error if isinstance(error, _Again) else _Again(error)
        self._budget.failed(again.error, tries=self._exchange.http.policy.tries, wait=again.wait)
        if again.lost or self._session is None or not self._ask():
            self._session, self._at = None, 0
            self._report(0)
            return self._is_there()
        return False

    def _begin(self) -> None:
        answer = open_session(self._exchange, self._repository, scope=self._repository.push_scope)
        if answer.status != 202:
            raise self._exchange.failure(answer, self._what, self._repository)
        self._session, self._at = begun(answer, self._repository), 0

    def _step(self, file: BinaryIO) -> bool:
        """One request; True when the blob is complete."""
        size = self._blob.size
        if not self._chunk and not self._at:
            self._judge(self._send(file, "PUT", self._final(), 0, size), 201)
            return True
        if self._at < size:
            end = min(size, self._at + max(self._chunk or size, self._least))
            self._judge(self._send(file, "PATCH", self._place, self._at, end), 202, at=end)
            return False
        self._judge(self._send(file, "PUT", self._final(), size, size), 201)
        return True

    @property
    def _place(self) -> str:
        return self._session.place if self._session else ""

    @property
    def _least(self) -> int:
        return self._session.least if self._session else 0

    def _final(self) -> str:
        return f"{self._place}{'&' if urlsplit(self._place).query else '?'}digest={self._blob.digest}"

    def _send(self, file: BinaryIO, method: str, url: str, start: int, end: int) -> Response:
        """One request with bytes ``start`` to ``end`` as its body."""
        headers = {**_TYPE, "Content-Length": str(end - start)}
        if method == "PATCH":
            headers["Content-Range"] = f"{start}-{end - 1}"
        credentials = self._exchange.headers(self._repository, self._repository.push_scope, url)
        patience = self._blob.size / (64 << 20) if method == "PUT" else 0.0  # it may hash and move the whole blob
        file.seek(start)
        part = _Part(file, start, end, self._moved)
        http = self._exchange.http
        with http.open(method, url, headers={**headers, **credentials}, body=part, patience=patience) as opened:
            answer = opened.response()
        if answer.status == 401:
            self._cure(answer)
            scope = self._repository.push_scope
            self._exchange.auth.answer(self._repository, scope, answer, credentials, what=self._what)
            raise _Cured
        return answer

    def _cure(self, answer: Response) -> None:
        """Counts an answer that is met without waiting; raises when there were too many."""
        self._cured += 1
        if self._cured > _CURED:
            raise self._exchange.failure(answer, self._what, self._repository)

    def _judge(self, answer: Response, good: int, *, at: int = 0) -> None:
        """Takes an answer to a part; ``at`` is how far the registry should have come."""
        status = answer.status
        if status == good or (status in (200, 201, 204) and good == 201):
            if good == 202:
                self._advance(answer, at)
            self._report(self._blob.size if good == 201 else self._at)
            return
        if status in _REDIRECTS:
            self._cure(answer)
            self._session = Session(upload_place(answer, self._repository), self._least)
            raise _Cured
        raise self._refused(answer, begun=bool(self._at))

    def _refused(self, answer: Response, *, begun: bool) -> LamellaError | _Again:
        """What a refusal of a part means: an end, or another try, which may have to be another way."""
        status, codes = answer.status, read_refusal(answer).codes
        error = self._exchange.failure(answer, self._what, self._repository)
        if status in RETRIED_STATUS:
            return _Again(error, wait=retry_after(answer.headers, self._exchange.http.policy.longest_retry_after))
        if status == 413 and not codes and (self._chunk or self._blob.size) > self._small:
            self._chunk = self._small  # a proxy's limit for one request, not the registry's quota
            return _Again(error, lost=True)
        if codes & {"DIGEST_INVALID", "SIZE_INVALID"}:
            if self._mismatch:
                hint = "the file is not what its name says; run: lamella cache verify"
                return IntegrityError(error.message, hint=hint)
            self._mismatch = True
            return _Again(error, lost=True)
        if self._chunk and not begun and status in _NO_CHUNKS:
            self._chunk = 0
            return _Again(error, lost=True)
        if status in _PASSING and not codes & _FINAL_CODES:
            return _Again(error, lost=status != 416)
        return error

    def _advance(self, answer: Response, at: int) -> None:
        if answer.headers.get("location"):
            self._session = Session(upload_place(answer, self._repository), max(self._least, _least(answer)))
        has = _received(answer)
        if has is None:
            has = at
        if not self._at < has <= at:
            text = f"{self._what}: {self._repository.host} has {has} bytes after {at} were sent"
            raise _Again(RegistryError(text))
        self._confirmed(has)

    def _confirmed(self, at: int) -> None:
        if at > self._farthest:  # an upload that starts again and again makes no progress
            self._farthest = at
            self._budget.confirmed()
            self._cured = 0
        self._at = at

    def _ask(self) -> bool:
        """Asks the registry how far it got; False when it does not say."""
        scope = self._repository.push_scope
        answer = self._exchange.request("GET", self._repository, self._place, scope=scope, what=self._what)
        has = _received(answer)
        if answer.status not in (200, 204) or has is None or has > self._blob.size:
            return False
        if answer.headers.get("location"):
            self._session = Session(upload_place(answer, self._repository), self._least)
        self._confirmed(has)
        self._report(has)
        return True

    def _is_there(self) -> bool:
        """Whether the blob came in although its answer was lost."""
        path, scope = f"blobs/{self._blob.digest}", self._repository.push_scope
        answer = self._exchange.request("HEAD", self._repository, path, scope=scope, what=self._what)
        if answer.status != 200:
            return False
        self._report(self._blob.size)
        return True

    def _moved(self, at: int) -> None:
        moved = max(0, at - self._reported)
        self.sent += moved
        self._budget.sent(moved)
        self._report(at)

    def _report(self, at: int) -> None:
        if at != self._reported:
            moved, self._reported = at - self._reported, at
            self._on_bytes(moved)


def _received(answer: Response) -> int | None:
    """How many bytes of an upload are there, by the Range header; None when it does not tell.

    ``0-0`` is one byte by the specification, and none at all from registries that count from zero.
    """
    found = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", answer.headers.get("range", ""))
    return int(found[1]) + 1 if found is not None and int(found[1]) else None


def _least(answer: Response) -> int:
    value = answer.headers.get("oci-chunk-min-length", "")
    least = 0
    with suppress(ValueError):
        least = int(value[:12]) if value else 0
    return max(0, least)
