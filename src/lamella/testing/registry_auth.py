"""Who may do what in the in-memory registry: accounts with prefixes, basic authentication, tokens with scopes."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from lamella.testing.registry_wire import Answer, Seen, refusal
from lamella.values import dataclass, field

__all__ = ["Account", "Gate"]

EVERYWHERE = ("",)


@dataclass(frozen=True, slots=True)
class Account:
    """A user, or with an empty name whoever has no credentials. Rights are prefixes of repository names."""

    name: str = ""
    password: str = ""
    pull: tuple[str, ...] = EVERYWHERE
    push: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()

    @classmethod
    def owner(cls, name: str = "", password: str = "") -> Account:
        """An account that may do everything."""
        return cls(name, password, EVERYWHERE, EVERYWHERE, EVERYWHERE)

    def may(self, repository: str, action: str) -> bool:
        """Whether the account has a right: pull, push or delete."""
        prefixes = {"pull": self.pull, "push": self.push, "delete": self.delete}.get(action, ())
        return any(repository.startswith(prefix) for prefix in prefixes)

    @property
    def basic(self) -> str:
        """What its Authorization header says."""
        return f"Basic {base64.b64encode(f'{self.name}:{self.password}'.encode()).decode()}"


@dataclass(slots=True)
class Gate:
    """Judges requests. Without accounts and tokens everybody may do everything.

    With ``tokens``, a token service gives out tokens that hold only the rights that were asked for and are the
    account's. ``issued`` are the valid tokens: a test may clear the list, or add a token that may do everything.
    """

    accounts: Sequence[Account] = ()
    anonymous: Account | None = None
    tokens: bool = False
    realm: str = ""
    issued: list[str] = field(default_factory=list)
    grants: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are."""
        return not self.accounts and not self.tokens

    def judge(self, seen: Seen, repository: str, action: str) -> Answer | None:
        """The refusal of a request, None when it may go on. Without a repository any known user may."""
        if self.is_open:
            return None
        return self._bearer(seen, repository, action) if self.tokens else self._basic(seen, repository, action)

    def may(self, seen: Seen, repository: str, action: str) -> bool:
        """Whether a request has one more right (the source of a mount)."""
        return self.judge(seen, repository, action) is None

    def _basic(self, seen: Seen, repository: str, action: str) -> Answer | None:
        account = self._who(seen)
        if account is None:
            return _challenge('Basic realm="test"')
        if repository and not account.may(repository, action):
            if account.name:
                return refusal(403, "DENIED", "requested access to the resource is denied")
            return _challenge('Basic realm="test"')
        return None

    def _bearer(self, seen: Seen, repository: str, action: str) -> Answer | None:
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        with self.lock:
            known = token in self.issued
            granted = self.grants.get(token)
        if known and (granted is None or not repository or (repository, action) in granted):
            return None
        actions = {"push": "pull,push"}.get(action, action)
        scope = f',scope="repository:{repository}:{actions}"' if repository else ""
        error = ',error="insufficient_scope"' if known else ""
        return _challenge(f'Bearer realm="{self.realm}",service="test"{scope}{error}')

    def token(self, seen: Seen, query: Mapping[str, list[str]]) -> Answer:
        """The token service's answer: by GET with basic authentication, or by POST with a refresh token."""
        form = parse_qs(seen.body.decode(errors="replace")) if seen.method == "POST" else {}
        account = self._refreshed(form) if form else self._who(seen)
        if account is None:
            return refusal(401, "UNAUTHORIZED", "wrong user name or password")
        wanted = " ".join((form or query).get("scope", []))
        granted = frozenset(
            (name, action)
            for name, actions in re.findall(r"repository:(\S+):(\S+)", wanted)
            for action in actions.split(",")
            if account.may(name, action)
        )
        with self.lock:
            token = f"token-{len(self.grants)}-{re.sub('[^a-z0-9]', '.', wanted)}"
            self.issued.append(token)
            self.grants[token] = granted
        return Answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    def _who(self, seen: Seen) -> Account | None:
        given = seen.headers.get("authorization", "")
        if not given:
            return self.anonymous
        return next((account for account in self.accounts if account.basic == given), None)

    def _refreshed(self, form: Mapping[str, list[str]]) -> Account | None:
        """The account whose password is the refresh token; any token does where there are no accounts."""
        given = form.get("refresh_token", [""])[0]
        return next((account for account in self.accounts if account.password == given), None) or (
            self.anonymous if not self.accounts else None
        )


def _challenge(value: str) -> Answer:
    answer = refusal(401, "UNAUTHORIZED", "authentication required")
    answer.headers["WWW-Authenticate"] = value
    return answer
