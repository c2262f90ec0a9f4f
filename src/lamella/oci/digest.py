"""Digests as the image spec defines them (descriptor.md, "Digests")."""

from __future__ import annotations

import re

from lamella.errors import HostileInputError

__all__ = ["EMPTY_DIGEST", "check_digest", "digest_hex", "is_digest", "short_digest"]

_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")

EMPTY_DIGEST = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""Digest of no bytes."""


def is_digest(text: str) -> bool:
    """Whether ``text`` is a digest of a registered algorithm, strictly."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(text: str, *, what: str = "digest") -> str:
    """``text`` itself when it is a digest; raises HostileInputError otherwise.

    Digests become file names and URLs, so this is called wherever one arrives (CVE-2024-3727).
    """
    if not is_digest(str(text)):
        raise HostileInputError(f"{what} {str(text)[:80]!r} is not a digest of the form sha256:<64 hex digits>")
    return text


def digest_hex(digest: str) -> str:
    """The hex part of a digest."""
    return check_digest(digest).partition(":")[2]


def short_digest(digest: str) -> str:
    """Twelve hex digits for people."""
    return digest.partition(":")[2][:12] or digest[:12]
