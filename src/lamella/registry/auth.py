"""Who we are to a registry: challenges, tokens, and where credentials may go (RELIABILITY R5).

A credential belongs to the registry it was stored for. It goes to that registry, or to the realm which that registry
names over HTTPS; a private address or plain HTTP is a realm only when the registry itself is such a host, or when the
user said so.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

from lamella.errors import AuthError, RegistryError
from lamella.registry.answers import said
from lamella.registry.credentials import Credential
from lamella.registry.hosts import RegistrySettings, Repository, is_loopback, is_private, login_hint
from lamella.transport.client import Client, RefusedError, Response
from lamella.values import dataclass

__all__ = ["Authorizer", "Challenge", "parse_challenges", "wanted_scope"]

_TOKEN_LIMIT = 64 * 1024
_SHORTEST = 60.0
"""Seconds that a token lives when the service does not say (distribution, token authentication)."""
_MARGIN = 10.0

_PARAMETER = re.compile(r"""\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))""")
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9-]*)(?=\s|,|$)(?!\s*=)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header: scheme in lower case and its parameters."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """A parameter, empty when it is not there."""
        return dict(self.parameters).get(name, "")


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """The challenges of a WWW-Authenticate header (RFC 9110, 11.6.1); what cannot be read ends the list."""
    found: list[Challenge] = []
    at = 0
    while scheme := _SCHEME.match(header, at):
        at = scheme.end()
        parameters: list[tuple[str, str]] = []
        while pair := _PARAMETER.match(header, at):
            value = re.sub(r"\\(.)", r"\1", pair[2]) if pair[2] is not None else pair[3]
            parameters.append((pair[1].lower(), value))
            at = pair.end()
        found.append(Challenge(scheme[1].lower(), tuple(parameters)))
    return tuple(found)


@dataclass(frozen=True, slots=True, repr=False)
class _Token:
    value: str
    until: float

    def __repr__(self) -> str:
        return "_Token([hidden])"


class Authorizer:
    """Answers challenges. Tokens are kept by (registry, scope) and never shown. Thread-safe."""

    def __init__(
        self, http: Client, settings: RegistrySettings, credentials: Callable[[str], Credential | None]
    ) -> None:
        self._http = http
        self._settings = settings
        self._credentials = credentials
        self._tokens: dict[tuple[str, str], _Token] = {}
        self._basic: set[str] = set()
        self._lock = threading.Lock()
        self._asking: dict[tuple[str, str], threading.Lock] = {}
        self._sent: set[str] = set()

    def headers(self, repository: Repository, scope: str) -> dict[str, str]:
        """What a request to the registry carries: nothing before it was challenged."""
        with self._lock:
            token = self._tokens.get((repository.host, scope))
            basic = repository.host in self._basic
        if token is not None and token.until > self._http.timing.monotonic():
            return {"Authorization": f"Bearer {token.value}"}
        credential = self._known(repository) if basic else None
        return {"Authorization": credential.basic} if credential is not None else {}

    def answer(
        self, repository: Repository, scope: str, refusal: Response, sent: Mapping[str, str], *, what: str
    ) -> None:
        """Gets what a 401 answer asks for, so that the request, made with the headers ``sent``, can be made again.

        ``what`` is the work in words, for the error. Threads that are refused together ask for one token.

        Raises AuthError when there is nothing to offer, or what was offered was refused; RegistryError when the
        token service does not answer.
        """
        if not repository.is_own(refusal.url):  # a redirect led away; its wishes are not ours
            raise self._refused(what, refusal)
        challenges = {challenge.scheme: challenge for challenge in parse_challenges(_header(refusal))}
        credential = self._known(repository)
        if "bearer" in challenges:
            with self._lock:
                asking = self._asking.setdefault((repository.host, scope), threading.Lock())
            with asking:
                if self.headers(repository, scope) not in ({}, dict(sent)):
                    return  # another thread was here first
                self._get_token(repository, scope, challenges["bearer"], credential, what)
        elif "basic" not in challenges:
            raise self._refused(what, refusal)
        elif credential is None or not credential.password:
            raise AuthError(
                f"{repository.registry} wants a user name and password, and none is stored for it",
                hint=login_hint(repository),
            )
        elif sent.get("Authorization") == credential.basic:
            what = f"the stored credentials of {repository.registry} are refused"
            raise self._refused(what, refusal, login_hint(repository))
        else:
            with self._lock:
                self._basic.add(repository.host)

    def has_credential(self, repository: Repository) -> bool:
        """Whether anything is stored for a registry; without it, we are anonymous."""
        return self._credentials(repository.registry) is not None

    def _get_token(
        self, repository: Repository, scope: str, challenge: Challenge, credential: Credential | None, what: str
    ) -> None:
        wanted = wanted_scope(challenge.get("scope"), scope)
        token = self._fetch_token(repository, challenge, wanted, credential, what)
        with self._lock:
            self._tokens[repository.host, scope] = token

    def _known(self, repository: Repository) -> Credential | None:
        """The stored credential; what it hides is remembered, so that no message shows it."""
        credential = self._credentials(repository.registry)
        if credential is not None:
            with self._lock:
                self._sent.update(credential.secrets)
        return credential

    def secrets(self) -> frozenset[str]:
        """What was sent so far and must not be shown, should a server repeat it."""
        with self._lock:
            return frozenset(self._sent | {token.value for token in self._tokens.values()}) - {""}

    def _refused(self, what: str, answer: Response, hint: str = "") -> AuthError:
        where = urlsplit(answer.url).netloc.rpartition("@")[2]
        return AuthError(f"{what}: {where} answered {answer.status}{said(answer, self.secrets())}", hint=hint)

    def _fetch_token(
        self, repository: Repository, challenge: Challenge, scope: str, credential: Credential | None, what: str
    ) -> _Token:
        realm = self._checked_realm(repository, challenge.get("realm"))
        what = f"{what}: asking {urlsplit(realm).netloc} for a token"
        try:
            answer = self._ask_service(realm, challenge.get("service"), scope, credential)
        except RefusedError as error:
            answer = error.answer
        if answer.status in (400, 401, 403):
            raise self._refused(what, answer, login_hint(repository))
        if answer.status != 200:
            where = urlsplit(realm).netloc
            raise RegistryError(f"{what}: {where} answered {answer.status}{said(answer, self.secrets())}")
        return self._token_of(answer, what)

    def _ask_service(self, realm: str, service: str, scope: str, credential: Credential | None) -> Response:
        """By POST with an identity token (OAuth 2), else by GET, with a password when there is one."""
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "scope": scope,
                "client_id": "lamella",
                "refresh_token": credential.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode(form).encode()
            return self._http.request("POST", realm, headers=headers, body=body, limit=_TOKEN_LIMIT, repeat=True)
        asked = [("service", service), *(("scope", part) for part in scope.split())]
        query = urlencode([(name, value) for name, value in asked if value])
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{query}"
        sent = {"Authorization": credential.basic} if credential is not None else {}
        return self._http.request("GET", url, headers=sent, limit=_TOKEN_LIMIT)

    def _token_of(self, answer: Response, what: str) -> _Token:
        """The token of an answer (distribution, "Token Authentication Specification")."""
        try:
            document = json.loads(answer.body)
            value = document.get("token") or document.get("access_token") or ""
            seconds = float(document.get("expires_in") or _SHORTEST)
        except (ValueError, TypeError, AttributeError, RecursionError):
            value, seconds = "", 0.0
        if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
            raise RegistryError(f"{what}: the answer holds no token")
        return _Token(value, self._http.timing.monotonic() + max(1.0, seconds - _MARGIN))

    def _checked_realm(self, repository: Repository, realm: str) -> str:
        """The realm when credentials may go there; raises AuthError otherwise."""
        try:
            parts = urlsplit(realm)
            host, name = parts.netloc, parts.hostname
        except ValueError:
            host, name = "", None
        if not name or parts.scheme not in ("http", "https") or "@" in host:
            raise AuthError(f"{repository.host} names {realm[:80]!r} as its token service, which is not a URL")
        own = urlsplit(repository.api)
        if host in self._settings.realms or (parts.scheme, host) == (own.scheme, own.netloc):
            return realm
        if is_loopback(repository.host) and is_loopback(host):
            return realm
        if parts.scheme != "https" or is_private(host):
            why = "plain HTTP" if parts.scheme != "https" else "a private address"
            raise AuthError(
                f"{repository.host} names {host} as its token service, which is {why}: credentials do not go there",
                hint=f"if that is right, set LAMELLA_TRUSTED_REALMS={host}",
            )
        return realm


def wanted_scope(challenged: str, ours: str) -> str:
    """The scope to ask a token for: ``ours``, the least that the work needs.

    A registry may call the repository by another name than its URL does (a mirror, an implicit folder); then what it
    names counts, cut down to the actions of ours (R5). ``*`` is asked for only where deleting is the work.
    """
    actions = {action for _, found in _resources(ours) for action in found}
    own = {resource for resource, _ in _resources(ours)}
    allowed = actions | ({"*"} if "delete" in actions else set())
    cut = [(resource, [action for action in found if action in allowed]) for resource, found in _resources(challenged)]
    named = [(resource, found) for resource, found in cut if found]
    if not named or any(resource in own and "*" not in found for resource, found in named):
        return ours
    return " ".join(f"{resource}:{','.join(found)}" for resource, found in named)


def _resources(scope: str) -> list[tuple[str, list[str]]]:
    """``repository:name`` and actions of each part of a scope; what is no repository's is left out."""
    parts = [part.rpartition(":") for part in scope.split() if part.startswith("repository:") and part.count(":") > 1]
    return [(resource, actions.split(",")) for resource, _, actions in parts]


def _header(response: Response) -> str:
    return response.headers.get("www-authenticate", "")
