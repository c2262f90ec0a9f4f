"""The SHA-256 of a stream, taken beside the work on it: hashing frees the interpreter lock."""

from __future__ import annotations

import hashlib

from lamella.layers.stage import Stage

__all__ = ["StreamDigest"]


class StreamDigest:
    """Takes a stream in pieces, in order. The pieces must not change afterwards."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._stage = Stage(self._hash.update, "digest")

    def update(self, data: bytes) -> None:
        """The next piece; large ones are hashed in a thread of their own while the caller goes on."""
        self._stage.put(data)

    def finish(self) -> str:
        """The digest of everything, ``sha256:`` and hex; nothing may follow."""
        self._stage.finish()
        return f"sha256:{self._hash.hexdigest()}"

    def drop(self) -> None:
        """Ends its thread; there is no digest."""
        self._stage.drop()
