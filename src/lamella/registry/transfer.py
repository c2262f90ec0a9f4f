"""Bounded parallel transfers: some workers, one progress for all, the first error ends the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lamella.errors import InternalError
from lamella.registry.upload import OnBytes
from lamella.values import dataclass

__all__ = ["WORKERS", "Job", "OnProgress", "Stopped", "transfer"]

T = TypeVar("T")

WORKERS = 4
"""As many blobs at once as the field's own tools move; more makes registries answer 429."""

OnProgress = Callable[[int, int], None]
"""Takes bytes done and bytes in all. Called from the workers, one call at a time."""


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """One transfer of ``size`` bytes. ``run`` reports what moved to the callback it is handed; what that raises is
    not to be caught.
    """

    size: int
    run: Callable[[OnBytes], T]


class Stopped(Exception):  # noqa: N818 - not an error: another one, or the caller, ended the transfers
    """Raised inside a job when the transfers are ended, and by :func:`transfer` when its caller cancelled them."""


def transfer(
    jobs: Sequence[Job[T]],
    *,
    workers: int = WORKERS,
    on_progress: OnProgress = lambda done, total: None,
    cancelled: threading.Event | None = None,
) -> tuple[T, ...]:
    """Runs jobs on at most ``workers`` threads, large ones first; the results in the order of ``jobs``.

    The first error stops the other jobs at their next bytes, is waited for and raised. ``cancelled`` does the same
    from outside and raises Stopped. A job that moved no bytes (the blob was there) counts as done with its size.
    """
    run = _Run(jobs, on_progress, cancelled or threading.Event())
    if len(jobs) <= 1 or workers <= 1:
        run.work()
    else:
        threads = [threading.Thread(target=run.work, daemon=True) for _ in range(min(workers, len(jobs)))]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:  # an interrupt of the main thread: the workers end at their next bytes
            run.stop()
            raise
    return run.results()


class _Run(Generic[T]):
    def __init__(self, jobs: Sequence[Job[T]], on_progress: OnProgress, cancelled: threading.Event) -> None:
        self._jobs = jobs
        self._waiting = sorted(range(len(jobs)), key=lambda index: jobs[index].size)
        self._done: dict[int, T] = {}
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._cancelled = cancelled
        self._on_progress = on_progress
        self._total = sum(job.size for job in jobs)
        self._bytes = 0
        self._lock = threading.Lock()

    def stop(self) -> None:
        self._stopped.set()

    def work(self) -> None:
        """What one worker does: job after job, until there is none or one failed."""
        while not self._ended():
            with self._lock:
                if not self._waiting:
                    return
                index = self._waiting.pop()
            try:
                self._one(index)
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                with self._lock:
                    if self._error is None and not isinstance(error, Stopped):
                        self._error = error
                self.stop()

    def _one(self, index: int) -> None:
        job, moved = self._jobs[index], 0

        def on_bytes(count: int) -> None:
            nonlocal moved
            if self._ended():
                raise Stopped
            moved += count
            self._progress(count)

        result = job.run(on_bytes)
        self._progress(job.size - moved)
        with self._lock:
            self._done[index] = result

    def _progress(self, count: int) -> None:
        if count:
            with self._lock:
                self._bytes += count
                self._on_progress(self._bytes, self._total)

    def _ended(self) -> bool:
        return self._stopped.is_set() or self._cancelled.is_set()

    def results(self) -> tuple[T, ...]:
        if self._error is not None:
            raise self._error
        if len(self._done) != len(self._jobs):
            if self._cancelled.is_set():
                raise Stopped
            raise InternalError("a transfer ended without a result")
        return tuple(self._done[index] for index in range(len(self._jobs)))
