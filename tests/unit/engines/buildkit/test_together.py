"""Calls of a builder side by side: who decides when one ends badly, and that the others end."""

from __future__ import annotations

import threading

import pytest

from lamella.engines.buildkit.together import side_by_side
from lamella.errors import LamellaError, RegistryError, StepError

Errors = dict[str, LamellaError]
FAILED: Errors = {"step": StepError("failed")}
PATIENCE = 20.0


class Long:
    """A call that ends when it is cancelled, and not before."""

    def __init__(self, then: BaseException | None = None) -> None:
        self.ended = threading.Event()
        self._then = then

    def __call__(self, cancelled: threading.Event) -> Errors:
        assert cancelled.wait(PATIENCE)
        self.ended.set()
        if self._then is not None:
            raise self._then
        return {"other": StepError("was ended")}


def test_calls_run_at_the_same_time_and_give_in_their_order() -> None:
    meeting = threading.Barrier(3)

    def call(number: int, cancelled: threading.Event) -> Errors:
        meeting.wait(PATIENCE)
        return {str(number): StepError("failed")}

    calls = [lambda cancelled, number=number: call(number, cancelled) for number in range(3)]
    assert [[*given] for given in side_by_side(calls, keep_going=True)] == [["0"], ["1"], ["2"]]


def test_one_call_runs_in_the_callers_thread() -> None:
    seen: list[int] = []

    def call(cancelled: threading.Event) -> Errors:
        seen.append(threading.get_ident())
        return {}

    assert side_by_side([call], keep_going=False) == [{}]
    assert seen == [threading.get_ident()]


@pytest.mark.parametrize("then", [None, RegistryError("cut off")], ids=["gives", "raises"])
def test_a_failed_step_ends_the_other_calls_and_decides(then: BaseException | None) -> None:
    other = Long(then)
    assert side_by_side([lambda cancelled: FAILED, other], keep_going=False) == [FAILED, {}]
    assert other.ended.is_set()


def test_to_keep_going_lets_the_others_finish() -> None:
    failed, done = threading.Event(), threading.Event()

    def fails(cancelled: threading.Event) -> Errors:
        failed.set()
        return FAILED

    def goes_on(cancelled: threading.Event) -> Errors:
        assert failed.wait(PATIENCE)
        assert not cancelled.wait(0.2)
        done.set()
        return {}

    assert side_by_side([fails, goes_on], keep_going=True) == [FAILED, {}]
    assert done.is_set()


@pytest.mark.parametrize("keep_going", [True, False])
def test_what_is_raised_ends_all_and_is_raised(keep_going: bool) -> None:
    other = Long(StepError("was ended"))

    def dies(cancelled: threading.Event) -> Errors:
        raise RegistryError("the builder died")

    with pytest.raises(RegistryError, match="the builder died"):
        side_by_side([dies, other], keep_going=keep_going)
    assert other.ended.is_set()


def test_an_interrupt_of_the_caller_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [Long(), Long()]
    real = threading.Thread.join
    first = [True]

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        if first.pop() if first else False:
            raise KeyboardInterrupt
        real(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt):
        side_by_side(calls, keep_going=False)
    assert all(call.ended.is_set() for call in calls)
