"""Requests to a registry: with its credentials, its challenges answered, and one word for each failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from lamella.errors import HostileInputError, IntegrityError, LamellaError, RegistryError
from lamella.oci.digest import check_digest
from lamella.registry.answers import failure
from lamella.registry.auth import Authorizer
from lamella.registry.credentials import Credential
from lamella.registry.hosts import RegistrySettings, Repository
from lamella.transport.client import Budget, Client, RefusedError, Response, TooMuchError
from lamella.transport.download import download
from lamella.transport.retry import RETRIED_STATUS, retry_after

__all__ = ["Exchange"]

_CHALLENGES = 2
"""Refusals that one request answers: a token may have expired just before."""


class Exchange:
    """HTTP to registries as somebody. Thread-safe."""

    def __init__(
        self, http: Client, settings: RegistrySettings, credentials: Callable[[str], Credential | None]
    ) -> None:
        self.http = http
        self.auth = Authorizer(http, settings, credentials)

    def request(
        self,
        method: str,
        repository: Repository,
        url: str,
        *,
        scope: str,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = 1 << 20,
        repeat: bool = False,
    ) -> Response:
        """One request; any answer but a 401 that can be cured. ``url`` is whole, or a path below the repository.

        ``what`` is the work in words; ``limit`` bounds the answer in bytes; ``repeat`` allows a POST to be tried
        again. Raises AuthError and RegistryError.
        """
        whole = url if "://" in url else repository.url(url)
        for left in range(_CHALLENGES, -1, -1):
            sent = self.headers(repository, scope, whole)
            try:
                answer = self.http.request(
                    method, whole, headers={**(headers or {}), **sent}, body=body, limit=limit, repeat=repeat
                )
            except RefusedError as error:
                raise self.failure(error.answer, what, repository) from error
            except TooMuchError as error:
                raise HostileInputError(f"{what}: {error.message}") from error
            if answer.status != 401 or not left:
                return answer
            self.auth.answer(repository, scope, answer, sent, what=what)
        return answer

    def headers(self, repository: Repository, scope: str, url: str) -> dict[str, str]:
        """The credentials of a request: none for another host than the registry's own."""
        return self.auth.headers(repository, scope) if repository.is_own(url) else {}

    def failure(self, answer: Response, what: str, repository: Repository) -> LamellaError:
        """The error for an answer that is not what was asked for."""
        known, secrets = partial(self.auth.has_credential, repository), self.auth.secrets()
        return failure(answer, what, repository, has_credential=known, secrets=secrets)

    def first_byte(self, repository: Repository, digest: str, what: str, scope: str = "") -> tuple[Response, bool]:
        """Asks for the first byte of a blob: any answer without its body, and whether a byte came.

        A registry that knows no ranges sends all of it; the rest is not read. ``scope`` is the repository's scope for
        pulling, unless more is wanted of the same token.
        """
        url, scope = repository.url(f"blobs/{digest}"), scope or repository.pull_scope
        budget, policy, challenged = Budget(self.http, url), self.http.policy, 0
        while True:
            sent = self.headers(repository, scope, url)
            wait = None
            try:
                with self.http.open("GET", url, headers={"Range": "bytes=0-0", **sent}) as opened:
                    if opened.status in (200, 206):
                        begins = next(opened.chunks(), b"") != b""
                        return Response(opened.status, opened.headers, b"", opened.url), begins
                    answer = opened.response()
                if answer.status == 401 and challenged < _CHALLENGES:
                    challenged += 1
                    self.auth.answer(repository, scope, answer, sent, what=what)
                    continue
                if answer.status not in RETRIED_STATUS:
                    return answer, False
                failure, wait = (
                    self.failure(answer, what, repository),
                    retry_after(answer.headers, policy.longest_retry_after),
                )
            except RegistryError as error:
                failure = error
            budget.failed(failure, tries=policy.tries, wait=wait)

    def chunks(self, repository: Repository, digest: str, size: int) -> Iterator[bytes]:
        """The bytes of a blob as they come, resumed where the connection broke; not verified here."""
        scope, what = repository.pull_scope, f"pulling a blob of {repository.name}"
        url = repository.url(f"blobs/{check_digest(digest)}")
        sent: dict[str, str] = {}

        def headers() -> dict[str, str]:
            nonlocal sent
            sent = self.auth.headers(repository, scope)
            return sent

        def refused(answer: Response) -> LamellaError | None:
            if answer.status != 401:
                return self.failure(answer, what, repository)
            self.auth.answer(repository, scope, answer, sent, what=what)
            return None

        try:
            yield from download(self.http, url, headers=headers, size=size, limit=size, on_refusal=refused)
        except RefusedError as error:
            raise self.failure(error.answer, what, repository) from error
        except TooMuchError as error:
            raise IntegrityError(f"{what}: {error.message}") from error
