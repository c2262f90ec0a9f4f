"""Calls of a builder that run at the same time, and end together when one of them fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from lamella.errors import LamellaError

__all__ = ["Call", "side_by_side"]

Call = Callable[[threading.Event], dict[str, LamellaError]]
"""Runs until it is done or the event is set; gives the steps that failed."""

_GRACE = 15.0
"""Seconds for a cancelled call to end its program."""


def side_by_side(calls: Sequence[Call], *, keep_going: bool) -> list[dict[str, LamellaError]]:
    """Runs calls in threads of their own; what they gave, in their order.

    Unless ``keep_going``, a step that fails cancels the other calls, and what a cancelled call gave or raised counts
    for nothing. What one of them raises cancels the others always, and is raised when they have ended. So is an
    interrupt of the caller.
    """
    run = _Run(calls, keep_going)
    if len(calls) == 1:
        run.one(0)
        return run.given()
    threads = [threading.Thread(target=run.one, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # short waits let an interrupt through to this thread
    except BaseException:
        run.cancelled.set()
        for thread in threads:
            thread.join(_GRACE)
        raise
    return run.given()


class _Run:
    def __init__(self, calls: Sequence[Call], keep_going: bool) -> None:
        self.cancelled = threading.Event()
        self._calls = calls
        self._keep_going = keep_going
        self._given: list[dict[str, LamellaError]] = [{} for _ in calls]
        self._raised: BaseException | None = None
        self._lock = threading.Lock()

    def one(self, number: int) -> None:
        """One call. The first that ends badly decides, and cancels the others."""
        try:
            errors = self._calls[number](self.cancelled)
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._end(error)
            return
        with self._lock:
            if self.cancelled.is_set():
                return
            self._given[number] = errors
            if errors and not self._keep_going:
                self.cancelled.set()

    def _end(self, error: BaseException) -> None:
        with self._lock:
            if not self.cancelled.is_set():
                self._raised = error
            self.cancelled.set()

    def given(self) -> list[dict[str, LamellaError]]:
        """What the calls gave; raises what one of them raised."""
        if self._raised is not None:
            raise self._raised
        return self._given
