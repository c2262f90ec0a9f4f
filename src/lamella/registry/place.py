"""One repository as a place to ask: its requests, its failures, its pages, and what a run has learnt of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

from lamella.errors import HostileInputError, LamellaError
from lamella.registry.exchange import Exchange
from lamella.registry.hosts import Repository
from lamella.transport.client import Response
from lamella.values import dataclass, field

__all__ = ["Place", "RepositoryState"]

_LIST_LIMIT = 8 << 20
_PAGES = 10_000


@dataclass(slots=True)
class RepositoryState:
    """What a run knows of a repository, shared by its users: blobs that are there, those of which it gave the first
    byte, whether referrers have an API.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    blobs: dict[str, int] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    busy: dict[str, threading.Lock] = field(default_factory=dict)
    referrers_api: bool | None = None

    @contextmanager
    def only_one(self, name: str) -> Iterator[None]:
        """Holds the right to write one blob or tag; a second one waits and finds it there."""
        with self.lock:
            mine = self.busy.setdefault(name, threading.Lock())
        with mine:
            yield


@dataclass(frozen=True, slots=True)
class Place:
    """A repository and the way to it."""

    exchange: Exchange
    repository: Repository
    state: RepositoryState

    @property
    def name(self) -> str:
        """``registry/path`` in full."""
        return self.repository.full_name

    def request(
        self,
        method: str,
        path: str,
        what: str,
        *,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = 1 << 20,
    ) -> Response:
        """One request; any answer. ``scope`` is pulling unless given."""
        scope = scope or self.repository.pull_scope
        return self.exchange.request(
            method, self.repository, path, scope=scope, what=what, headers=headers, body=body, limit=limit
        )

    def failure(self, answer: Response, what: str) -> LamellaError:
        """The error for an answer that is not what was asked for."""
        return self.exchange.failure(answer, what, self.repository)

    def delete(self, path: str, which: str) -> bool:
        """Deletes something; False when it was not there."""
        what = f"deleting {which} of {self.name}"
        answer = self.request("DELETE", path, what, scope=self.repository.delete_scope)
        if answer.status == 404:
            return False
        if answer.status not in (200, 202, 204):
            raise self.failure(answer, what)
        return True

    def pages(self, path: str, what: str) -> Iterator[Response]:
        """Each page of a list; nothing for a 404. The next page is at the Link header (RFC 8288)."""
        url, seen = self.repository.url(path), set[str]()
        while url not in seen and len(seen) < _PAGES:
            seen.add(url)
            answer = self.request("GET", url, what, limit=_LIST_LIMIT)
            if answer.status == 404:
                return
            if answer.status != 200:
                raise self.failure(answer, what)
            yield answer
            target = _next_page(answer.headers.get("link", ""))
            if not target:
                return
            following = urlsplit(urljoin(answer.url, target))
            if following.netloc != self.repository.host:
                raise HostileInputError(f"{what}: the next page is said to be at {following.netloc}")
            url = following._replace(scheme=urlsplit(self.repository.api).scheme).geturl()


def _next_page(link: str) -> str:
    """The target of a Link header whose relation is ``next``; empty without one."""
    for part in link.split(","):
        target, _, parameters = part.partition(">")
        if 'rel="next"' in parameters.replace(" ", "") or "rel=next" in parameters.replace(" ", ""):
            return target.strip().removeprefix("<")
    return ""
