"""The scheduler: order, failure, going on."""

from __future__ import annotations

import os
import threading

import pytest

from lamella.engines.base import SolveOptions
from lamella.engines.schedule import run_schedule

GRAPH = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def test_inputs_come_before_what_stands_on_them() -> None:
    """Every key once, after all its inputs."""
    done: list[str] = []
    schedule = run_schedule(GRAPH, done.append, workers=3)
    assert not schedule.errors
    assert sorted(done) == ["a", "b", "c", "d"]
    assert done[0] == "a"
    assert done[-1] == "d"


def test_independent_keys_run_at_once() -> None:
    """Two that do not depend on each other meet; one worker alone would wait for ever."""
    meeting = threading.Barrier(2, timeout=10)

    def work(key: str) -> None:
        if key in "bc":
            meeting.wait()

    assert not run_schedule(GRAPH, work, workers=2).errors


def test_a_failure_stops_what_has_not_started() -> None:
    """Its users are skipped with the cause."""
    done: list[str] = []

    def work(key: str) -> None:
        if key == "a":
            raise ValueError(key)
        done.append(key)

    schedule = run_schedule({**GRAPH, "z": ("d",)}, work, workers=2)
    assert list(schedule.errors) == ["a"]
    assert schedule.skipped == dict.fromkeys("bcdz", "a")
    assert done == []


def test_keep_going_does_everything_else() -> None:
    """Only what stands on the failed one is left out."""
    done: list[str] = []

    def work(key: str) -> None:
        if key == "b":
            raise ValueError(key)
        done.append(key)

    schedule = run_schedule(GRAPH, work, workers=1, keep_going=True)
    assert list(schedule.errors) == ["b"]
    assert schedule.skipped == {"d": "b"}
    assert sorted(done) == ["a", "c"]


def test_nothing_to_do_ends_at_once() -> None:
    """An empty graph is done."""
    assert not run_schedule({}, lambda key: None, workers=4).errors


@pytest.mark.parametrize(
    ("options", "share"),
    [
        (SolveOptions(jobs=4), 0),
        (SolveOptions(jobs=4, memory=1000), 250),
        (SolveOptions(jobs=1, memory=1000), 1000),
        (SolveOptions(memory=1 << 30), (1 << 30) // (os.cpu_count() or 1)),
    ],
)
def test_steps_share_the_memory_equally(options: SolveOptions, share: int) -> None:
    assert options.step_memory == share
