"""The HTTP client: every request has time limits, is retried when that is safe, and never shows a credential.

Redirects are followed here and not by urllib3: credentials go to the host they were meant for and to no other, and
never from HTTPS to plain HTTP (CVE-2020-15157 is of this family).
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from lamella.errors import ConfigError, LamellaError, RegistryError
from lamella.transport.lean import leave_out_http2
from lamella.transport.redaction import clean_body, redact_url
from lamella.transport.retry import RETRIED_STATUS, RetryPolicy, Timing, backoff, retry_after
from lamella.transport.settings import HttpSettings, proxy_for
from lamella.values import dataclass

if TYPE_CHECKING:
    import urllib3

__all__ = ["Body", "Budget", "Client", "FinalError", "Opened", "Readable", "RefusedError", "Response", "TooMuchError"]

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECT_LIMIT = 5
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_CHUNK = 1 << 16
_BLOCK = 1 << 17
"""Bytes that are read of a streamed body, and written, at once."""
_ERROR_BODY = 1 << 14

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
"""What OpenSSL's versions say of a server that answers in plain text."""

Headers = Mapping[str, str]


class Readable(Protocol):
    """A body that is read piece by piece while it is sent; its Content-Length is among the headers."""

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes at most; none at the end."""


Body = bytes | Readable


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whatever its status. ``headers`` have lower-case names; ``url`` is where it came from in the end."""

    status: int
    headers: Headers
    body: bytes
    url: str

    def failure(self, what: str, *, hint: str = "", kind: type[LamellaError] = RegistryError) -> LamellaError:
        """An error that says what the server said, cleaned and short."""
        said = clean_body(self.body)
        where = urlsplit(self.url).netloc.rpartition("@")[2]
        return kind(f"{what}: {where} answered {self.status}{f': {said}' if said else ''}", hint=hint)


class Opened:
    """An answer whose body is still to be read."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self._response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.url = url

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, never waiting for a full piece; raises RegistryError when it is cut or stalls."""
        import urllib3

        try:
            while data := self._response.read1(_CHUNK):
                yield data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RegistryError(f"{_host(self.url)} broke off its answer ({_kind(error)})") from error

    def read(self, limit: int, budget: Budget) -> bytes:
        """The body; raises RegistryError when it is cut, too slow or larger than ``limit`` bytes."""
        parts, size = [], 0
        for data in self.chunks():
            budget.progress(len(data))
            parts.append(data)
            size += len(data)
            if size > limit:
                raise TooMuchError(f"{_host(self.url)} sent more than {limit} bytes where that is the limit")
        return b"".join(parts)

    def response(self) -> Response:
        """An error answer with the start of its body, however much comes; a short one is read to its end, so that
        the connection can be used again.
        """
        body = b""
        with suppress(RegistryError):
            for data in self.chunks():
                body += data
                if len(body) > _ERROR_BODY:
                    break
        return Response(self.status, self.headers, body[:_ERROR_BODY], self.url)

    def close(self) -> None:
        """Closes the connection unless the body was read to its end; then it is in the pool again already."""
        self._response.close()


class FinalError(RegistryError):
    """A failure that another try does not cure."""


class TooMuchError(FinalError):
    """More bytes came than may come."""


class RefusedError(RegistryError):
    """A server answered with a failure of its own until the tries were used up; ``answer`` is the last one."""

    def __init__(self, what: str, answer: Response) -> None:
        super().__init__(answer.failure(what).message)
        self.answer = answer


class Client:
    """HTTP for everybody. Thread-safe. Connections are kept until :meth:`close`."""

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        policy: RetryPolicy | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.policy = policy or RetryPolicy()
        self.timing = timing or Timing()
        self._settings = settings or HttpSettings()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers | None = None,
        body: bytes | None = None,
        limit: int = 1 << 20,
        repeat: bool = False,
    ) -> Response:
        """One request with its retries; any status below 500 but 429 is an answer, the caller judges it.

        ``limit`` bounds the body in bytes. Only idempotent methods are tried again, and others with ``repeat`` (a
        POST whose double does no harm). Raises RegistryError when there is no answer, or a server error, in the end;
        a last server error is part of the message.
        """
        tries = self.policy.tries if repeat or method in _IDEMPOTENT else 1
        budget = Budget(self, url)
        while True:
            try:
                with self.open(method, url, headers=headers, body=body) as opened:
                    if opened.status not in RETRIED_STATUS:
                        return Response(opened.status, opened.headers, opened.read(limit, budget), opened.url)
                    failure: RegistryError = RefusedError(f"{method} {redact_url(url)}", opened.response())
                    wait = retry_after(opened.headers, self.policy.longest_retry_after)
            except RegistryError as error:
                failure, wait = error, None
            budget.failed(failure, tries=tries, wait=wait)

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Headers | None = None,
        body: Body | None = None,
        patience: float = 0.0,
    ) -> Iterator[Opened]:
        """One try, redirects followed. Raises RegistryError when there is no answer, ConfigError for a bad URL.

        A body that is read while it is sent cannot be sent twice, so its redirect is handed to the caller.
        ``patience`` are seconds that the answer may take beyond the read time-out.
        """
        sent = dict(headers or {})
        for _ in range(_REDIRECT_LIMIT + 1):
            opened = self._send(method, url, sent, body, patience)
            target = opened.headers.get("location", "")
            streamed = body is not None and not isinstance(body, bytes)
            if opened.status not in _REDIRECTS or not target or streamed:
                try:
                    yield opened
                finally:
                    opened.close()
                return
            opened.close()
            following = urljoin(url, target)
            sent = _headers_after(url, following, sent)
            if opened.status == 303 and method != "HEAD":
                method, body = "GET", None
            url = following
        raise FinalError(f"{_host(url)} redirects more than {_REDIRECT_LIMIT} times")

    def _send(self, method: str, url: str, headers: Headers, body: Body | None, patience: float) -> Opened:
        leave_out_http2()
        import urllib3

        parts = _checked(url)
        pool = self._pool(parts.scheme, proxy_for(self._settings, parts.scheme, parts.hostname or ""))
        timeout = self._timeout(streamed=body is not None and not isinstance(body, bytes), patience=patience)
        sent = {"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity", **headers}
        try:
            response = pool.request(
                method,
                url,
                headers=sent,
                body=body,  # type: ignore[arg-type]  # any object with read() is a body (urllib3 user guide)
                redirect=False,
                retries=False,
                timeout=timeout,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.SSLError as error:
            raise _tls_error(url, error) from error
        except (urllib3.exceptions.LocationValueError, UnicodeError) as error:
            raise ConfigError(f"{redact_url(url)} is not a usable URL") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            kind = FinalError if _is_unknown_name(error) else RegistryError
            raise kind(
                f"{_host(url)} cannot be reached ({_kind(error)})",
                hint="check the network, the name and the proxy settings; then try again",
            ) from error
        return Opened(response, url)

    def _timeout(self, *, streamed: bool, patience: float) -> urllib3.Timeout:
        """urllib3 sends under the time-out of connecting; a server that takes a large body may pause for longer."""
        import urllib3

        reading = self._settings.read_timeout + patience
        connecting = self._settings.connect_timeout
        return urllib3.Timeout(connect=max(connecting, reading) if streamed else connecting, read=reading)

    def _pool(self, scheme: str, proxy: str) -> urllib3.PoolManager:
        """Connections of one kind. Reading the system's certificates takes tens of milliseconds, so only TLS does."""
        import urllib3

        key = f"{scheme} {proxy}"
        with self._lock:
            if key not in self._pools:
                size = self._settings.connections
                common: dict[str, Any] = {"num_pools": 16, "maxsize": size, "block": False, "blocksize": _BLOCK}
                if "https" in (scheme, urlsplit(proxy).scheme):
                    common["ssl_context"] = self._tls()
                if proxy:
                    login = urlsplit(proxy).netloc.rpartition("@")[0]
                    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
                    self._pools[key] = urllib3.ProxyManager(proxy, proxy_headers=headers, **common)
                else:
                    self._pools[key] = urllib3.PoolManager(**common)
            return self._pools[key]

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        bundle = self._settings.ca_bundle
        if bundle is not None:
            try:
                context.load_verify_locations(cafile=str(bundle))
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    f"the CA bundle {bundle} cannot be used: {error.strerror or error}", hint="it must be a PEM file"
                ) from error
        return context


class Budget:
    """Tries and seconds that one request, or one download, has left."""

    def __init__(self, client: Client, url: str) -> None:
        self._policy, self._timing = client.policy, client.timing
        self._start = self._timing.monotonic()
        self._url = url
        self._failures = 0
        self._moved = 0

    def progress(self, count: int) -> None:
        """Bytes came: the tries start again, and there is more time. Raises RegistryError for a trickle."""
        self._failures = 0
        self._moved += count
        if self._left() <= 0:
            raise self._too_slow("sends")

    def sent(self, count: int) -> None:
        """Bytes went out: there is more time, but only what the server confirms gives more tries. Raises as above."""
        self._moved += count
        if self._left() <= 0:
            raise self._too_slow("takes what is sent")

    def confirmed(self) -> None:
        """The server has more than before: the tries start again."""
        self._failures = 0

    def _too_slow(self, does: str) -> RegistryError:
        return RegistryError(
            f"{_host(self._url)} {does} too slowly: {self._moved} bytes in {self._policy.deadline:g} s and more",
            hint="try again later",
        )

    def _left(self) -> float:
        allowed = self._policy.deadline + self._moved / self._policy.slowest
        return allowed - (self._timing.monotonic() - self._start)

    def failed(self, error: LamellaError, *, tries: int, wait: float | None = None) -> None:
        """Waits before the next try; raises ``error`` when there is none."""
        self._failures += 1
        pause = backoff(self._policy, self._failures, self._timing)
        if wait is not None:
            pause = max(pause, wait)
        if isinstance(error, FinalError) or self._failures >= tries or pause >= self._left():
            raise error
        self._timing.sleep(pause)


def _tls_error(url: str, error: Exception) -> RegistryError:
    """What TLS ran into: a certificate and a refused handshake are final, a connection that ended is not."""
    cause = error.args[0] if error.args else error
    reason = getattr(cause, "reason", "") or type(cause).__name__
    if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
        return RegistryError(f"{_host(url)} cannot be reached (connection lost)", hint="try again")
    if reason in _NO_TLS:
        return FinalError(
            f"{_host(url)} does not speak TLS",
            hint="a registry with plain HTTP must be named as an insecure one (LAMELLA_INSECURE_REGISTRIES)",
        )
    if not isinstance(cause, ssl.CertificateError):
        return FinalError(f"{_host(url)}: no TLS connection can be made ({reason})")
    return FinalError(
        f"{_host(url)} has no valid TLS certificate ({cause.verify_message})",
        hint="a company's own certificate authority is trusted when LAMELLA_CA_BUNDLE names its PEM file",
    )


def _is_unknown_name(error: Exception) -> bool:
    """Whether the name service says that there is no such name, rather than nothing (getaddrinfo(3))."""
    cause = error.__cause__
    return isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME


def _checked(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{redact_url(url)} is not an http or https URL")
    return parts


def _headers_after(before: str, after: str, headers: Headers) -> dict[str, str]:
    """The headers that go on to where a redirect leads. Raises RegistryError for one from HTTPS to plain HTTP."""
    old, new = urlsplit(before), urlsplit(after)
    if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme != "https"):
        raise FinalError(f"{_host(before)} redirects from {old.scheme} to {new.scheme or 'nowhere'}, which is refused")
    if (old.scheme, old.hostname, old.port) == (new.scheme, new.hostname, new.port):
        return dict(headers)
    return {name: value for name, value in headers.items() if name.lower() not in _PRIVATE_HEADERS}


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or redact_url(url)


def _kind(error: Exception) -> str:
    """What went wrong, in words that cannot hold a URL or a header."""
    import urllib3

    names = {
        urllib3.exceptions.NameResolutionError: "the name is not known",
        urllib3.exceptions.NewConnectionError: "connection refused or no route",
        urllib3.exceptions.ConnectTimeoutError: "no connection in time",
        urllib3.exceptions.ReadTimeoutError: "no data in time",
        urllib3.exceptions.ProxyError: "the proxy refused or is not there",
        urllib3.exceptions.IncompleteRead: "fewer bytes than announced",
        urllib3.exceptions.ProtocolError: "connection lost",
    }
    return next((text for kind, text in names.items() if isinstance(error, kind)), type(error).__name__)
