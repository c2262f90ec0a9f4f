"""Downloads that survive a broken connection (RELIABILITY R3): Range from where it stopped, 200 starts over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from lamella.errors import IntegrityError, LamellaError, RegistryError
from lamella.transport.client import Budget, Client, FinalError, Opened, RefusedError, Response, TooMuchError
from lamella.transport.redaction import redact_url
from lamella.transport.retry import RETRIED_STATUS, retry_after

__all__ = ["OnRefusal", "download"]

OnRefusal = Callable[[Response], LamellaError | None]
"""Judges an answer that is neither data nor worth another try: an error to raise, or None to ask again at once
(after it got new credentials, say)."""

HeaderSource = Callable[[], Mapping[str, str]]

_REFUSALS = 2
"""Refusals that are judged: one may be cured by new credentials, not one after another."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def download(
    client: Client,
    url: str,
    *,
    headers: HeaderSource = dict,
    size: int | None = None,
    limit: int,
    on_refusal: OnRefusal | None = None,
) -> Iterator[bytes]:
    """The bytes of ``url``, each once and in order, over as many connections as it takes.

    ``size`` is the announced length in bytes; more is an error as soon as it comes. ``limit`` bounds what comes when
    no size is known. ``headers`` is asked before each request. What the bytes must be is the caller's to check: a
    server may serve others after a restart.

    Raises RegistryError when it does not get on, IntegrityError when another length is announced, and what
    ``on_refusal`` gives.
    """
    run = _Download(client, url, headers, size, limit, on_refusal)
    while not run.complete:
        yield from run.attempt()


class _Download:
    def __init__(
        self,
        client: Client,
        url: str,
        headers: HeaderSource,
        size: int | None,
        limit: int,
        on_refusal: OnRefusal | None,
    ) -> None:
        self.complete = False
        self._client = client
        self._url = url
        self._headers = headers
        self._size = size
        self._limit = limit if size is None else size
        self._on_refusal = on_refusal
        self._budget = Budget(client, url)
        self._at = 0
        self._refusals = 0

    def attempt(self) -> Iterator[bytes]:
        """What one request gives; returns after a failure when another one may be made."""
        sent = dict(self._headers())
        if self._at:
            sent["Range"] = f"bytes={self._at}-"
        try:
            with self._client.open("GET", self._url, headers=sent) as opened:
                if opened.status in (200, 206):
                    yield from self._body(opened)
                    self.complete = True
                    return
                refusal = opened.response()
        except RegistryError as error:
            self._budget.failed(error, tries=self._client.policy.tries)
        else:
            self._refused(refusal)

    def _refused(self, answer: Response) -> None:
        """Waits where another try may help; raises what ends the download."""
        what = f"GET {redact_url(self._url)}"
        if answer.status in RETRIED_STATUS:
            wait = retry_after(answer.headers, self._client.policy.longest_retry_after)
            self._budget.failed(RefusedError(what, answer), tries=self._client.policy.tries, wait=wait)
            return
        if answer.status == 416:
            raise RegistryError(f"{what}: the server has fewer bytes than it gave before")
        verdict: LamellaError | None = answer.failure(what)
        if self._on_refusal is not None and self._refusals < _REFUSALS:
            self._refusals += 1
            verdict = self._on_refusal(answer)
        if verdict is not None:
            raise verdict

    def _body(self, opened: Opened) -> Iterator[bytes]:
        skip = self._at if opened.status == 200 else 0
        announced = opened.headers.get("content-length", "")
        if opened.status == 200 and self._size is not None and announced.isdecimal() and int(announced) != self._size:
            raise IntegrityError(
                f"GET {redact_url(self._url)}: {announced} bytes are announced where {self._size} were promised"
            )
        if opened.status == 206:
            self._check_range(opened)
        for data in opened.chunks():
            self._budget.progress(len(data))
            fresh = data[skip:]
            skip = max(0, skip - len(data))
            if not fresh:
                continue
            self._at += len(fresh)
            if self._at > self._limit:
                raise TooMuchError(f"GET {redact_url(self._url)}: more than the {self._limit} bytes that are allowed")
            yield fresh
        if skip or (self._size is not None and self._at < self._size):
            raise RegistryError(f"GET {redact_url(self._url)}: ended after {self._at} bytes")

    def _check_range(self, opened: Opened) -> None:
        found = _CONTENT_RANGE.fullmatch(opened.headers.get("content-range", ""))
        if found is None or int(found[1]) != self._at:
            raise FinalError(f"GET {redact_url(self._url)}: another range came than byte {self._at} and what follows")
