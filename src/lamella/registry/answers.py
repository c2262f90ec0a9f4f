"""What registries answer when they refuse, as errors with the right exit code and their own words (R2, R6)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus

from lamella.errors import AuthError, LamellaError, RegistryError
from lamella.registry.hosts import Repository, login_hint
from lamella.transport.client import FinalError, Response
from lamella.transport.redaction import clean_body
from lamella.values import dataclass

__all__ = ["Refusal", "failure", "read_refusal", "said"]

_NOT_FOUND = "check the name and tag; a private repository also answers like this"
_HINTS = {
    HTTPStatus.NOT_FOUND: _NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: "the registry does not do this: it may be read-only or a mirror, or have it off",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the registry's quota or a proxy's size limit is reached; `lamella retain` "
    "frees space, a larger limit is the registry's to set",
    HTTPStatus.INSUFFICIENT_STORAGE: "the registry's storage is full; `lamella retain` frees space",
    HTTPStatus.TOO_MANY_REQUESTS: "the registry limits how often it is asked; try again later, or log in",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A registry's error document (distribution-spec, "Error Codes"): its codes, and all of it as one line."""

    codes: frozenset[str] = frozenset()
    text: str = ""


def read_refusal(answer: Response) -> Refusal:
    """The errors of an answer; without any when its body is not such a document (a proxy's page, say)."""
    try:
        found = json.loads(answer.body)["errors"]
        errors = [error for error in found if isinstance(error, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return Refusal()
    codes = frozenset(str(error.get("code", "")) for error in errors)
    return Refusal(codes, "; ".join(_line(error) for error in errors))


def _line(error: dict[str, object]) -> str:
    parts = [str(error.get(name) or "") for name in ("code", "message")]
    detail = error.get("detail")
    if isinstance(detail, str) and detail not in parts:
        parts.append(f"({detail})" if detail else "")
    return " ".join(part for part in parts if part)


def said(answer: Response, secrets: Iterable[str] = ()) -> str:
    """What an answer says in its own words, cleaned and short (R2), with a colon before it; empty for nothing."""
    words = clean_body((read_refusal(answer).text or answer.body.decode("utf-8", "replace")).encode(), secrets)
    return f": {words}" if words else ""


def failure(
    answer: Response,
    what: str,
    repository: Repository,
    *,
    has_credential: Callable[[], bool] = lambda: False,
    secrets: Iterable[str] = (),
) -> LamellaError:
    """The error for an answer that is not what was asked for.

    401 and 403 are for who holds the credentials (7); everything else is the registry's or the network's (6).
    ``has_credential`` says whether something is stored for the registry; it is asked only where that matters.
    ``secrets`` are what must not be shown.
    """
    text = f"{what}: {repository.host} answered {answer.status}{said(answer, secrets)}"
    if answer.status in (401, 403):
        hint = login_hint(repository)
        if has_credential():
            hint = f"the stored credentials of {repository.registry} may not do this; {hint} with others"
        return AuthError(text, hint=hint)
    kind = RegistryError if answer.status >= 500 and answer.status != 507 else FinalError
    return kind(text, hint=_HINTS.get(HTTPStatus(answer.status), "") if _is_known(answer.status) else "")


def _is_known(status: int) -> bool:
    return status in {known.value for known in HTTPStatus}
