"""Bounded parallel transfers."""

from __future__ import annotations

import threading

import pytest

from lamella.errors import RegistryError
from lamella.registry.transfer import Job, Stopped, transfer
from lamella.registry.upload import OnBytes


def moving(size: int, result: str, pieces: int = 4) -> Job[str]:
    def run(on_bytes: OnBytes) -> str:
        for _ in range(pieces):
            on_bytes(size // pieces)
        return result

    return Job(size, run)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_results_come_in_the_order_of_the_jobs_with_one_total(workers: int) -> None:
    seen: list[tuple[int, int]] = []
    jobs = [moving(size, str(size)) for size in (40, 4, 400, 8)]
    assert transfer(jobs, workers=workers, on_progress=lambda done, total: seen.append((done, total))) == (
        "40", "4", "400", "8",
    )  # fmt: skip
    assert seen[-1] == (452, 452)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_was_there_counts_as_done() -> None:
    seen: list[int] = []
    jobs = [Job(100, lambda on_bytes: "present"), moving(100, "sent")]
    transfer(jobs, on_progress=lambda done, total: seen.append(done))
    assert seen[-1] == 200


def test_no_jobs() -> None:
    assert transfer([]) == ()


def test_no_more_than_the_workers_run_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()
    full = threading.Barrier(3)

    def run(on_bytes: OnBytes) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        full.wait(5)
        with lock:
            running -= 1

    transfer([Job(1, run) for _ in range(9)], workers=3)
    assert most == 3


def test_the_first_error_ends_the_rest() -> None:
    started = threading.Event()

    def fails(on_bytes: OnBytes) -> None:
        started.wait(5)
        raise RegistryError("the registry is gone")

    def endless(on_bytes: OnBytes) -> None:
        started.set()
        while True:
            on_bytes(1)

    def never(on_bytes: OnBytes) -> None:
        raise AssertionError

    with pytest.raises(RegistryError, match="the registry is gone"):
        transfer([Job(3, endless), Job(2, fails), Job(1, never)], workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_can_be_cancelled_from_outside(workers: int) -> None:
    cancelled = threading.Event()

    def run(on_bytes: OnBytes) -> None:
        cancelled.set()
        while True:
            on_bytes(1)

    with pytest.raises(Stopped):
        transfer([Job(1, run), Job(1, run)], workers=workers, cancelled=cancelled)
