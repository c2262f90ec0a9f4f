"""One part of a pipeline: works on the pieces of a stream in a thread of its own, in order.

Hashing, compressing and writing free the interpreter lock, so a layer's parts run beside each other on as many cores
as there are; what they make does not depend on how many.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Stage"]

_SMALL = 64 * 1024
"""Bytes below which handing over costs more than the work; so a small layer needs no thread."""

_WAITING = 4
"""Pieces that may wait; each holds its bytes in memory."""


class Stage:
    """Calls ``work`` with each piece. Pieces come from one thread at a time and must not change afterwards.

    An error of ``work`` ends its work and is raised by the next call here; pieces that come later are forgotten.
    """

    def __init__(self, work: Callable[[bytes], object], name: str) -> None:
        self._work = work
        self._name = name
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.dropped = False
        """Whether it was told to end early."""

    def put(self, piece: bytes) -> None:
        """The next piece; waits while too many others wait."""
        if self._error is not None:
            raise self._error
        if self._thread is None:
            if len(piece) < _SMALL:
                self._work(piece)
                return
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._queue.put(piece)

    def finish(self) -> None:
        """Waits until everything is done."""
        self._end()
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Forgets what waits, and ends when the piece that is being worked on is done."""
        self.dropped = True
        self._end()

    def _end(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            if self._error is None and not self.dropped:
                try:
                    self._work(piece)
                except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                    self._error = error
