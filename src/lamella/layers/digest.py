"""The SHA-256 of a stream, taken beside the work on it: hashing frees the interpreter lock."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["StreamDigest"]

_SMALL = 64 * 1024
"""Bytes below which handing over costs more than hashing."""

_PENDING = 4
"""Pieces that may wait; each holds its bytes in memory."""


class StreamDigest:
    """Takes a stream in pieces, in order. The pieces must not change afterwards."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future[None]] = deque()

    def update(self, data: bytes) -> None:
        """The next piece; large ones are hashed in a thread of their own while the caller goes on."""
        if len(data) < _SMALL and not self._pending:
            self._hash.update(data)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._pending.append(self._pool.submit(self._hash.update, data))
        while len(self._pending) > _PENDING:
            self._pending.popleft().result()

    def finish(self) -> str:
        """The digest of everything, ``sha256:`` and hex; nothing may follow."""
        while self._pending:
            self._pending.popleft().result()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        return f"sha256:{self._hash.hexdigest()}"
