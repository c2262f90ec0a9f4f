"""Progress reads the same in every mode, and a live one survives being drawn from the start."""

from __future__ import annotations

import io
import json
import threading

import pytest

from lamella.cli.event_lines import finished_line, message_lines, progress_text
from lamella.cli.messages import foreign, render_error, set_color
from lamella.cli.progress import open_progress
from lamella.errors import StepError
from lamella.graph.events import Event, Message, VertexFinished, VertexLog, VertexProgress, VertexStarted

EVENTS: tuple[Event, ...] = (
    VertexStarted("v", "app:deps", 0.0, "never built"),
    VertexLog("v", "app:deps", 0.1, 1, "compiling\nlinking"),
    VertexProgress("v", "app:deps", 0.2, 512, 1024, "fetching"),
    VertexFinished("v", "app:deps", 1.0, "built", 1.0, 2048),
    VertexFinished("w", "base", 1.0, "reused"),
    Message(1.0, "warning", "old base", "run: lamella lock"),
)


def shown(mode: str) -> str:
    out = io.StringIO()
    with open_progress(mode, terminal=False, stream=out) as sink:
        for event in EVENTS:
            sink.emit(event)
    return out.getvalue()


def test_plain_lines_say_what_happens_and_count_reuse_elsewhere() -> None:
    assert shown("plain").splitlines() == [
        "> app:deps (never built)",
        "  app:deps | compiling",
        "  app:deps | linking",
        "+ app:deps  built in 1.00 s, 2.0 KiB",
        "warning: old base",
        "  hint: run: lamella lock",
    ]
    assert shown("auto") == shown("plain")


LOUD = "\x1b]0;title\x07\x1b[2J\x1b[1;31mred\x1b[0m\tand\x1b[3A \x9b2Jplain\r\x08"


def test_output_of_programs_commands_no_terminal() -> None:
    out = io.StringIO()
    with open_progress("plain", terminal=False, stream=out) as sink:
        sink.emit(VertexLog("v", "ui", 0.1, 1, LOUD))
    assert out.getvalue() == "  ui | red\tand 2Jplain\n  ui | \n"
    assert foreign(LOUD, colors=True) == "\x1b[1;31mred\x1b[0m\tand 2Jplain\x1b[0m"
    assert render_error(StepError("it failed", details=(LOUD,))) == "error: it failed\n  red\tand 2Jplain\n"


def test_colours_of_programs_are_shown_where_there_is_colour() -> None:
    set_color(True)
    try:
        assert foreign("\x1b[32mok") == "\x1b[32mok\x1b[0m"
    finally:
        set_color(False)
    assert foreign("\x1b[32mok") == "ok"


def test_raw_lines_are_one_object_each() -> None:
    rows = [json.loads(line) for line in shown("rawjson").splitlines()]
    assert [row["kind"] for row in rows] == ["started", "log", "progress", "finished", "finished", "message"]
    assert rows[3] == {
        "kind": "finished", "vertex": "v", "name": "app:deps", "time": 1.0, "outcome": "built", "seconds": 1.0,
        "size": 2048, "key": "", "error": "",
    }  # fmt: skip


def test_quiet_says_warnings_only() -> None:
    assert shown("quiet") == "warning: old base\n"


def test_the_live_tree_is_drawn_and_leaves_what_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress("tty", terminal=True) as sink:
        for event in EVENTS:
            sink.emit(event)
    said = capsys.readouterr().err
    assert "app:deps  built in 1.00 s" in said
    assert "warning: old base" in said


def test_the_live_tree_takes_events_of_many_threads(capsys: pytest.CaptureFixture[str]) -> None:
    """Drawing and emitting each hold a lock; in the wrong order they wait for each other forever."""
    with open_progress("tty", terminal=True) as sink:

        def work(number: int) -> None:
            for step in range(100):
                name = f"v{number}-{step}"
                sink.emit(VertexStarted(name, name, 0.0))
                sink.emit(VertexFinished(name, name, 0.0, "built", 0.1))

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
    assert "v3-99  built" in capsys.readouterr().err


def test_a_failure_has_its_reason_on_the_line() -> None:
    assert finished_line(VertexFinished("v", "app", 1.0, "failed", 0.5, error="exit status 1")) == (
        "! app  failed in 0.50 s: exit status 1"
    )


def test_bytes_of_a_known_and_of_an_unknown_total() -> None:
    assert progress_text(VertexProgress("v", "a", 0.0, 1024, 2048, "fetching")) == "fetching 1.0 KiB of 2.0 KiB"
    assert progress_text(VertexProgress("v", "a", 0.0, 5)) == "5 B"
    assert message_lines(Message(0.0, "info", "hello")) == ["hello"]
