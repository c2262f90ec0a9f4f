"""Descriptors that threads share are given back by the one that uses them last, never under its feet."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

import pytest

from lamella.engines.local.channel import LineChannel
from lamella.engines.local.sandbox import _Handles, _started, _Starter
from lamella.errors import InternalError


def is_open(number: int) -> bool:
    with suppress(OSError):
        os.fstat(number)
        return True
    return False


@pytest.fixture
def ends() -> tuple[LineChannel, LineChannel, int]:
    """Both ends, and the descriptor of the first."""
    ours, theirs = socket.socketpair()
    return LineChannel(ours), LineChannel(theirs), ours.fileno()


def test_lines_come_whole_and_in_order(ends: tuple[LineChannel, LineChannel, int]) -> None:
    one, other, _ = ends
    one.send_line(b"a" * 100_000)
    one.send_line(b"b")
    lines = other.lines()
    assert next(lines) == b"a" * 100_000
    assert next(lines) == b"b"
    one.shut()
    assert list(lines) == []
    one.close()
    other.close()


def test_what_a_dying_end_did_not_finish_is_dropped() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"whole\nhal")
    theirs.close()
    one = LineChannel(ours)
    assert list(one.lines()) == [b"whole"]
    one.close()


def test_a_message_of_another_kind_is_a_defect(ends: tuple[LineChannel, LineChannel, int]) -> None:
    one, other, _ = ends
    one.send_line(b"[]")
    with pytest.raises(InternalError, match="malformed"):
        next(other.receive(dict))
    one.close()
    other.close()


def test_shut_ends_who_receives_and_leaves_it_the_descriptor(ends: tuple[LineChannel, LineChannel, int]) -> None:
    """Its number must not go to somebody else while a thread is on its way into recv(2)."""
    one, other, number = ends
    received: list[bytes] = []
    done, may_close = threading.Event(), threading.Event()

    def receive() -> None:
        received.extend(one.lines())
        done.set()
        may_close.wait(30)
        one.close()

    reader = threading.Thread(target=receive)
    reader.start()
    other.send_line(b"x")
    for _ in range(2):
        one.shut()
    assert done.wait(30)
    assert received == [b"x"]
    assert is_open(number)
    with pytest.raises(OSError, match="pipe"):
        one.send_line(b"late")
    may_close.set()
    reader.join(30)
    assert not is_open(number)
    one.shut()
    other.close()


def test_close_waits_for_who_sends(ends: tuple[LineChannel, LineChannel, int]) -> None:
    """A sender that is stuck, because the other end takes nothing, is woken and gone before the descriptor is."""
    one, other, number = ends
    failed = threading.Event()

    def send() -> None:
        with suppress(OSError):
            while True:
                one.send_line(b"x" * (1 << 20))
        failed.set()

    sender = threading.Thread(target=send)
    sender.start()
    while not one._lock.locked():
        time.sleep(0.001)
    one.close()
    assert not is_open(number)
    assert failed.wait(30)
    sender.join(30)
    other.close()


# -- the descriptors of a sandbox


def test_a_starter_is_done_before_its_descriptors_are_closed() -> None:
    """Also when nothing could be started: it would write into whatever got the number next."""
    seen: list[_Starter] = []

    def fail() -> None:
        with _Handles(os.open(os.devnull, os.O_RDONLY)) as handles:
            numbers.extend((handles.filter, handles.info[0], *handles.block))
            with _started(handles, None) as starter:
                seen.append(starter)
                assert starter.is_alive()
                raise RuntimeError("bubblewrap cannot be started")

    numbers: list[int] = []
    with pytest.raises(RuntimeError):
        fail()
    (starter,) = seen
    assert not starter.is_alive()
    assert starter.child == 0
    assert not any(map(is_open, numbers))


def test_a_starter_lets_the_program_go_on_only_after_its_id_is_known() -> None:
    with _Handles(os.open(os.devnull, os.O_RDONLY)) as handles:
        os.set_blocking(handles.block[0], False)
        with _started(handles, None) as starter:
            os.write(handles.info[1], b'{"child-pid"')
            with pytest.raises(BlockingIOError):
                os.read(handles.block[0], 1)
            os.write(handles.info[1], b": 0}")
            starter.finish()
            assert os.read(handles.block[0], 1) == b"\n"
