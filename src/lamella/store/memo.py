"""Which blobs were checked in this boot: in memory, and in the index for other processes (RELIABILITY S5)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from lamella.errors import StoreBusyError
from lamella.store.blobs import Fingerprint

__all__ = ["BootMemo", "CheckedBlobs"]


class CheckedBlobs(Protocol):
    """The part of the index that remembers across processes."""

    def known(self, digest: str, fingerprint: Fingerprint) -> bool:
        """Whether this very file was found right in this boot."""

    def add_checked(self, digest: str, fingerprint: Fingerprint) -> None:
        """Remembers that a file was found right."""


class BootMemo:
    """The memo of one open store. A busy index is no reason to fail: the blob is then read again."""

    def __init__(self, index: Callable[[], CheckedBlobs]) -> None:
        self._index = index
        self._seen: dict[str, Fingerprint] = {}

    def known(self, digest: str, fingerprint: Fingerprint) -> bool:
        """Whether this very file was found right before, in this boot."""
        if self._seen.get(digest) == fingerprint:
            return True
        with suppress(StoreBusyError):
            if self._index().known(digest, fingerprint):
                self._seen[digest] = fingerprint
                return True
        return False

    def add(self, digest: str, fingerprint: Fingerprint) -> None:
        """Remembers that the file is right."""
        self._seen[digest] = fingerprint
        with suppress(StoreBusyError):
            self._index().add_checked(digest, fingerprint)
