"""The progress of real engines, recorded, and of imagined ones that behave worse."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lamella.engines.buildkit.progress import RawJsonParser, StepEnd
from lamella.graph.events import Event, VertexLog, VertexProgress, VertexStarted

STREAMS = Path(__file__).parent / "streams"
KEY = f"sha256:{'0123456789abcdef' * 4}"
STAGE = "step-0123456789abcdef"
NAME = f'[{STAGE} 2/2] RUN --mount=type=bind,source=scripts/x,target=/lamella/step ["/bin/sh","/lamella/step"]'
MARK = "lamella-step:0123456789abcdef"


def recorded(name: str) -> tuple[RawJsonParser, list[Event], dict[str, str]]:
    """A parser that has read a recorded stream, its events, and stages by name; keys are the digests' beginnings."""
    lines = (STREAMS / f"{name}.jsonl").read_bytes().splitlines()
    found = dict.fromkeys(re.findall(rb"((?:step|base)-[0-9a-f]{16})", b"\n".join(lines)))
    stages = {stage.decode(): f"sha256:{stage.decode()[5:]}" for stage in found}
    parser = RawJsonParser(stages, {}, lambda: 1.5)
    return parser, read(parser, lines), stages


def read(parser: RawJsonParser, lines: Iterable[bytes]) -> list[Event]:
    events = [event for line in lines for event in parser.feed(line) or ()]
    return [*events, *parser.finish()]


def parser_of(mask: Any = None) -> RawJsonParser:
    more = {} if mask is None else {"mask": mask}
    return RawJsonParser({STAGE: KEY}, {KEY: "app"}, lambda: 1.5, **more)


def vertex(**more: object) -> bytes:
    return json.dumps({"vertexes": [{"digest": "sha256:a", "name": NAME, **more}]}).encode()


def log(text: str | bytes, stream: int = 1, digest: str = "sha256:a") -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return json.dumps(
        {"logs": [{"vertex": digest, "stream": stream, "data": base64.b64encode(data).decode()}]}
    ).encode()


def span(start: str, end: str) -> dict[str, str]:
    return {"started": f"2026-01-01T00:00:{start}Z", "completed": f"2026-01-01T00:00:{end}Z"}


# -- recorded ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["engine20", "engine28"])
def test_three_steps_for_four_targets_start_and_end_once(engine: str) -> None:
    parser, events, stages = recorded(f"{engine}-built")
    steps = [key for name, key in stages.items() if name.startswith("step-")]
    assert sorted(event.vertex for event in events if isinstance(event, VertexStarted)) == sorted(steps)
    ends = [parser.step(key) for key in steps]
    assert all(end.ran and not end.cached and not end.failed and end.trouble == "" for end in ends)
    assert all(0.1 < end.seconds < 0.7 for end in ends), "of each, not of each for every target"
    assert sorted(len(end.commands) for end in ends) == [1, 2, 3]
    assert parser.failed() == ()


@pytest.mark.parametrize("engine", ["engine20", "engine28"])
def test_a_failed_step_is_named_with_command_code_and_last_lines(engine: str) -> None:
    parser, events, stages = recorded(f"{engine}-failed")
    (key,) = (key for name, key in stages.items() if name.startswith("step-"))
    assert parser.failed() == (key,)
    end = parser.step(key)
    assert (end.command, end.code, end.trouble, end.tail) == (1, 3, "", ("line one", "y"))
    assert "exit code: 3" in end.error
    assert dict(end.commands)[1] == pytest.approx(0.2, abs=0.05)
    assert [event.data for event in events if isinstance(event, VertexLog)] == ["line one", "y"]


def test_an_output_that_is_missing_is_a_trouble_of_the_step() -> None:
    parser, _, stages = recorded("engine28-missing")
    (key,) = (key for name, key in stages.items() if name.startswith("step-"))
    end = parser.step(key)
    assert (end.failed, end.command, end.code, end.trouble) == (True, -1, 1, "missing 0")


def test_bytes_of_the_context_are_progress() -> None:
    _, events, _ = recorded("engine28-built")
    sent = [event for event in events if isinstance(event, VertexProgress)]
    assert {(event.vertex, event.name) for event in sent} == {("", "context")}
    assert max(event.current for event in sent) > 2_000_000


# -- imagined ----------------------------------------------------------------------------------------------------------


def test_intervals_of_one_step_are_united_and_then_summed() -> None:
    parser = parser_of()
    for start, end in (("10.000", "12.000"), ("10.000001", "12.000001"), ("20.5", "21.0"), ("11", "11.5")):
        parser.feed(vertex(**span(start, end)))
    assert parser.step(KEY) == StepEnd(ran=True, seconds=2.5)


def test_a_vertex_that_is_repeated_while_it_runs_is_one() -> None:
    parser = parser_of()
    lines = [vertex(), vertex(started="2026-01-01T00:00:10Z"), vertex(started="2026-01-01T00:00:10Z")]
    events = read(parser, [*lines, vertex(**span("10", "11.25"))])
    assert [event.kind for event in events] == ["started"]
    assert parser.step(KEY).seconds == 1.25


def test_a_step_that_buildkit_had_is_cached_with_or_without_a_start() -> None:
    for more in ({"cached": True}, {"cached": True, **span("10", "10")}):
        parser = parser_of()
        assert read(parser, [vertex(**more)]) == []
        assert parser.step(KEY) == StepEnd(cached=True)


def test_a_step_that_ran_for_one_target_and_was_found_for_another_ran() -> None:
    parser = parser_of()
    read(parser, [vertex(**span("10", "12")), vertex(cached=True, **span("13", "13"))])
    other = json.dumps({"vertexes": [{"digest": "sha256:b", "name": f"[product-x {NAME[1:]}", "cached": True}]})
    parser.feed(other.encode())
    assert parser.step(KEY) == StepEnd(ran=True, seconds=2.0)


def test_a_step_that_never_came_is_neither() -> None:
    assert parser_of().step(KEY) == StepEnd()


def test_a_cancelled_step_did_not_fail() -> None:
    parser = parser_of()
    parser.feed(vertex(error="context canceled", **span("10", "11")))
    assert parser.failed() == ()
    assert parser.step(KEY).cancelled


def test_lines_are_put_together_from_pieces_by_stream() -> None:
    parser = parser_of()
    pieces = [log("one\ntw"), log("err", 2), log("o\nthree"), log("or\n", 2)]
    events = read(parser, [vertex(), *pieces])
    assert [(e.stream, e.data) for e in events if isinstance(e, VertexLog)] == [
        (1, "one"),
        (1, "two"),
        (2, "error"),
        (1, "three"),
    ]
    assert parser.step(KEY).tail == ("one", "two", "error", "three")


def test_a_secret_cut_in_two_is_masked() -> None:
    parser = parser_of(lambda line: line.replace(b"hunter2", b"***"))
    events = read(parser, [vertex(), log("token hun"), log("ter2!\n")])
    assert [event.data for event in events if isinstance(event, VertexLog)] == ["token ***!"]
    assert parser.step(KEY).tail == ("token ***!",)


def test_marks_are_found_behind_output_that_did_not_end_its_line() -> None:
    parser = parser_of()
    marks = f"boom{MARK} end 2 10.50 9\n"
    events = read(parser, [vertex(), log(f"{MARK} begin 2 10.25\n", 2), log(marks, 2)])
    assert [event.data for event in events if isinstance(event, VertexLog)] == ["boom"]
    end = parser.step(KEY)
    assert (end.command, end.code, end.commands) == (2, 9, ((2, 0.25),))


def test_without_marks_the_code_comes_from_buildkits_words() -> None:
    parser = parser_of()
    parser.feed(vertex(error='process "/bin/sh /lamella/step" did not complete successfully: exit code: 101'))
    end = parser.step(KEY)
    assert (end.failed, end.command, end.code) == (True, -1, 101)


def test_a_step_that_imitates_marks_of_another_says_nothing() -> None:
    parser = parser_of()
    events = read(parser, [vertex(), log("lamella-step:ffffffffffffffff end 0 1.0 7\n", 2)])
    assert len([event for event in events if isinstance(event, VertexLog)]) == 1
    assert parser.step(KEY).code == 0


@pytest.mark.parametrize("prefix", ["", "product-x ", "linux/arm64 ", "product-x linux/arm64 ", "linux/amd64->arm64 "])
def test_a_step_is_known_by_its_stage_whatever_stands_before_it(prefix: str) -> None:
    parser = parser_of()
    parser.feed(vertex(name=f"[{prefix}{NAME[1:]}", **span("10", "12")))
    assert parser.step(KEY) == StepEnd(ran=True, seconds=2.0)


def test_other_runs_of_a_stage_are_not_the_step() -> None:
    parser = parser_of()
    parser.feed(vertex(name=f'[{STAGE} 1/2] RUN ["/bin/sh","-c","mkdir -p /lamella/out"]', **span("10", "20")))
    assert parser.step(KEY) == StepEnd()


def test_a_progress_line_shows_what_a_terminal_would() -> None:
    events = read(parser_of(), [vertex(), log("10%\r50%\r100%\r\n")])
    assert [event.data for event in events if isinstance(event, VertexLog)] == ["100%"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"ERROR: failed to solve: x",
        b"Dockerfile:9",
        b"------",
        b"\xff\xfe",
        b"12",
        b'["a"]',
        b'{"vertexes": [',
        b"null",
    ],
)
def test_other_words_are_no_progress(line: bytes) -> None:
    assert parser_of().feed(line) is None


@pytest.mark.parametrize(
    "status",
    [
        {"vertexes": None, "logs": 1, "statuses": "x"},
        {"vertexes": [1, None, {}, {"digest": 1, "name": 2}]},
        {"vertexes": [{"digest": "sha256:a", "name": NAME, "started": "yesterday", "completed": 7}]},
        {"logs": [{"vertex": "sha256:a", "data": "%%%"}, {"vertex": "sha256:none", "data": "eA=="}]},
        {"statuses": [{"vertex": "sha256:a", "current": "5"}, {"current": True}]},
        {"warnings": [{}], "unknown": {"a": 1}},
    ],
)
def test_malformed_progress_is_tolerated(status: dict[str, Any]) -> None:
    parser = parser_of()
    parser.feed(vertex())
    assert parser.feed(json.dumps(status).encode()) is not None
    parser.finish()
    assert parser.step(KEY).error == ""
