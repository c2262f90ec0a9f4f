"""Keeps secrets out of a step's output: each value is replaced, also where it was encoded on the way."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable

__all__ = ["MASK", "Masker", "forms"]

MASK = b"***"
_SHORTEST = 4
"""Bytes below which a line of a secret is too common to be masked (a secret of one line always is)."""


class Masker:
    """Replaces secrets in bytes. Give it whole lines: a secret cut in two is not found."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        found = sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(form) for form in found)) if found else None

    def __call__(self, data: bytes) -> bytes:
        """``data`` without secrets."""
        return data if self._pattern is None else self._pattern.sub(MASK, data)


def forms(secret: bytes) -> frozenset[bytes]:
    """How a secret may show up: itself and each of its lines, plain, base64, URL, JSON and hex encoded."""
    whole = secret.strip(b"\r\n")
    if not whole:
        return frozenset()
    lines = [line.strip() for line in whole.splitlines()]
    pieces = {whole, *(line for line in lines if len(line) >= _SHORTEST or len(lines) == 1)}
    return frozenset(form for piece in pieces for form in _encoded(piece) if form)


def _encoded(piece: bytes) -> set[bytes]:
    text = piece.decode("utf-8", "surrogateescape")
    quoted = urllib.parse.quote(piece, safe="").encode()
    found = {piece, quoted, urllib.parse.quote(piece).encode(), urllib.parse.quote_plus(piece).encode()}
    found |= {quoted.replace(b"%", b"%25"), piece.hex().encode(), piece.hex().upper().encode()}
    found.add(json.dumps(text, ensure_ascii=True)[1:-1].encode("utf-8", "surrogateescape"))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode(piece))
        for shift in range(3):
            found.add(_base64_core(encode(b"\0" * shift + piece), shift, len(piece)))
    return found


def _base64_core(encoded: bytes, shift: int, length: int) -> bytes:
    """The characters that depend on the secret alone when ``shift`` bytes stand before it (user:secret in a header)."""
    start = (0, 2, 3)[shift]
    end = (shift + length) * 8 // 6
    core = encoded[start:end]
    return core if len(core) >= _SHORTEST else b""
