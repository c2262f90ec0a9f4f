"""What may be shown of URLs and of what servers say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

__all__ = ["BODY_SHOWN", "HIDDEN", "clean_body", "redact", "redact_url"]

HIDDEN = "[hidden]"
BODY_SHOWN = 256
"""Bytes of an error body that are shown (RELIABILITY R2)."""

_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
_SCHEME = re.compile(r"\b(bearer|basic|negotiate|digest)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
"""Control characters, and those that turn the direction of text."""


def redact_url(url: str) -> str:
    """A URL without user name, password and query, which may all hold credentials (signed URLs)."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return HIDDEN
    return urlunsplit((parts.scheme, host, parts.path, HIDDEN if parts.query else "", ""))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with known secrets, URLs' credentials and authorization values taken out."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _URL.sub(lambda found: redact_url(found[0]), text)
    return _SCHEME.sub(lambda found: f"{found[1]} {HIDDEN}", text)


def clean_body(body: bytes, secrets: Iterable[str] = ()) -> str:
    """An error body for people: one line, printable, redacted, at most :data:`BODY_SHOWN` bytes."""
    text = " ".join(_CONTROL.sub(" ", redact(body.decode("utf-8", "replace"), secrets)).split())
    cut = text.encode()[:BODY_SHOWN].decode("utf-8", "ignore")
    return cut if cut == text else f"{cut}…"
