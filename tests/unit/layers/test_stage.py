"""Stages of a pipeline: order, errors and ends."""

from __future__ import annotations

import threading

import pytest

from lamella.layers.stage import Stage

LARGE = bytes(100_000)


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("test-stage")]


def test_pieces_are_worked_on_in_order_beside_the_caller() -> None:
    done: list[tuple[bytes, bool]] = []
    stage = Stage(lambda piece: done.append((piece[-1:], threading.current_thread() is main)), "test-stage")
    main = threading.current_thread()
    pieces = [LARGE + bytes([number]) for number in range(40)]
    for piece in pieces:
        stage.put(piece)
    stage.put(b"small")
    stage.finish()
    assert [last for last, _ in done] == [*(piece[-1:] for piece in pieces), b"l"]
    assert not any(here for _, here in done)
    assert running() == []


def test_small_pieces_need_no_thread() -> None:
    done: list[bytes] = []
    stage = Stage(done.append, "test-stage")
    for piece in (b"a", b"b"):
        stage.put(piece)
        assert running() == []
    stage.finish()
    assert done == [b"a", b"b"]


def test_an_error_is_raised_in_the_callers_thread_and_ends_the_work() -> None:
    seen: list[bytes] = []

    def work(piece: bytes) -> None:
        seen.append(piece[-1:])
        if piece.endswith(b"\x02"):
            raise OSError("disk full")

    def put_all() -> None:
        for number in range(1000):
            stage.put(LARGE + bytes([number % 3]))
        stage.finish()

    stage = Stage(work, "test-stage")
    with pytest.raises(OSError, match="disk full"):
        put_all()
    with pytest.raises(OSError, match="disk full"):
        stage.finish()
    assert seen == [b"\x00", b"\x01", b"\x02"]
    assert running() == []


def test_what_waits_is_forgotten_when_it_is_dropped() -> None:
    begun, gate, done = threading.Event(), threading.Event(), []

    def work(piece: bytes) -> None:
        begun.set()
        gate.wait()
        done.append(piece)

    stage = Stage(work, "test-stage")
    for _ in range(3):
        stage.put(LARGE)
    begun.wait()
    dropping = threading.Thread(target=stage.drop)
    dropping.start()
    while not stage.dropped:
        pass
    gate.set()
    dropping.join()
    assert len(done) == 1
    assert running() == []
    stage.drop()
