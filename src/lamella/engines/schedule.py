"""Runs the vertices of a Definition as soon as their inputs are there, a bounded number at a time.

Threads, no asyncio (DESIGN section 4). A failure stops what has not started; what runs beside it ends first, or
with ``keep_going`` everything that does not stand on the failed vertex is done too.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping

from lamella.values import dataclass, field

__all__ = ["Schedule", "run_schedule"]


@dataclass
class Schedule:
    """The outcome: errors by key, in the order they happened; ``skipped`` stood on a failed one."""

    errors: dict[str, BaseException] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def run_schedule(
    inputs: Mapping[str, tuple[str, ...]],
    work: Callable[[str], None],
    *,
    workers: int,
    keep_going: bool = False,
) -> Schedule:
    """Calls ``work(key)`` for every key after its inputs; keys are given with inputs first."""
    return _Run(inputs, work, keep_going).execute(max(1, workers))


class _Run:
    """One run: counters of open inputs, a queue of ready keys, worker threads that live to the end."""

    def __init__(self, inputs: Mapping[str, tuple[str, ...]], work: Callable[[str], None], keep_going: bool) -> None:
        self._work = work
        self._keep_going = keep_going
        self._open = {key: len(set(needs)) for key, needs in inputs.items()}
        self._users: dict[str, list[str]] = {key: [] for key in inputs}
        for key, needs in inputs.items():
            for need in set(needs):
                self._users[need].append(key)
        self._left = len(inputs)
        self._ready: queue.Queue[str | None] = queue.Queue()
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._schedule = Schedule()
        self._stop = False

    def execute(self, workers: int) -> Schedule:
        if not self._left:
            return self._schedule
        threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(min(workers, self._left))]
        for key, count in self._open.items():
            if not count:
                self._ready.put(key)
        for thread in threads:
            thread.start()
        try:
            while not self._finished.wait(0.2):  # short waits let an interrupt through to this thread
                pass
        except BaseException:
            self._stop = True
            raise
        finally:
            for _ in threads:
                self._ready.put(None)
        for thread in threads:
            thread.join()
        return self._schedule

    def _loop(self) -> None:
        while (key := self._ready.get()) is not None:
            try:
                if not self._stop:
                    self._work(key)
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                self._failed(key, error)
            else:
                self._done(key)

    def _done(self, key: str) -> None:
        with self._lock:
            for user in self._users[key]:
                self._open[user] -= 1
                if not self._open[user] and user not in self._schedule.skipped:
                    self._ready.put(user)
            self._count()

    def _failed(self, key: str, error: BaseException) -> None:
        with self._lock:
            self._schedule.errors[key] = error
            self._stop = self._stop or not self._keep_going
            self._skip_users(key, key)
            self._count()

    def _skip_users(self, key: str, cause: str) -> None:
        for user in self._users[key]:
            if user not in self._schedule.skipped:
                self._schedule.skipped[user] = cause
                self._left -= 1
                self._skip_users(user, cause)

    def _count(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._finished.set()
