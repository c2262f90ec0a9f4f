"""Reads ``buildx --progress=rawjson``: one JSON object a line, BuildKit's SolveStatus (``client/graph.go``).

What real engines do (ADR 15): a vertex is repeated, and merged here by digest; it is reported once for each target
that needs it, with times a few microseconds apart, so intervals are united before they are summed; the same step may
have several digests, all but one of them cached; ``cached`` may come without ``started``; a cut log has no marks; text
that is no JSON follows an error.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lamella.engines.buildkit.lower import mark_of
from lamella.engines.buildkit.script import STEP_PATH
from lamella.graph.events import Event, VertexLog, VertexProgress, VertexStarted
from lamella.values import dataclass, field

__all__ = ["RawJsonParser", "StepEnd"]

_STAGE = re.compile(r"\[(?:[^\]]* )?((?:step|base|layer)-[0-9a-f]{16}) +\d+/\d+\] (\w+)")
_EXIT_CODE = re.compile(r"exit code: (\d+)")
_CANCELLED = ("context canceled", "Canceled", "canceled:")
_CONTEXT = "load build context"
_TAIL_LINES = 30
_LONGEST_LINE = 1 << 20

Mask = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How a step ended, as far as the stream told.

    ``ran`` is false for one that BuildKit had already (``cached``) or never came to. ``error`` is BuildKit's text,
    empty for one that ended well or was cancelled because another one failed. ``code`` is the exit code of command
    number ``command`` (-1: not one of them, or not known). ``trouble`` is what the script itself found: a word and a
    number, as ``missing 0`` for output 0, ``cwd 1`` for the directory of command 1. ``commands`` are pairs of
    command number and seconds; ``tail`` the last lines of output.
    """

    ran: bool = False
    cached: bool = False
    cancelled: bool = False
    seconds: float = 0.0
    error: str = ""
    code: int = 0
    command: int = -1
    trouble: str = ""
    commands: tuple[tuple[int, float], ...] = ()
    tail: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the step itself failed."""
        return bool(self.error)


@dataclass(slots=True)
class _Vertex:
    """A vertex of BuildKit's, merged by digest. ``step`` is a definition key, empty for what belongs to no step;
    ``intervals`` maps when it started to when it completed, without those in which a result was found.
    """

    step: str
    intervals: dict[str, str] = field(default_factory=dict)
    cached: bool = False
    error: str = ""


@dataclass(slots=True)
class _Step:
    """What is known of one of our steps. ``partial`` are unfinished lines by (digest, stream)."""

    mark: bytes
    started: bool = False
    code: int = 0
    command: int = -1
    trouble: str = ""
    begun: dict[int, float] = field(default_factory=dict)
    commands: dict[int, float] = field(default_factory=dict)
    partial: dict[tuple[str, int], bytes] = field(default_factory=dict)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL_LINES))


class RawJsonParser:
    """Turns lines into events of the steps in ``stages`` (name of a stage to definition key).

    ``names`` maps definition keys to names for people, ``clock`` gives monotonic seconds, ``mask`` hides secrets in a
    line. Not thread-safe. A step's end is no event here: the engine says it once its result is in the store.
    """

    def __init__(
        self,
        stages: Mapping[str, str],
        names: Mapping[str, str],
        clock: Callable[[], float],
        mask: Mask = lambda line: line,
    ) -> None:
        self._stages = stages
        self._names = names
        self._clock = clock
        self._mask = mask
        self._vertices: dict[str, _Vertex] = {}
        self._bases: dict[str, str] = {}
        self._contexts: set[str] = set()
        self._sent: dict[tuple[str, str], int] = {}
        self._steps = {
            key: _Step(f"{mark_of(key)} ".encode()) for name, key in stages.items() if name.startswith("step-")
        }

    def feed(self, line: bytes) -> tuple[Event, ...] | None:
        """The events of one line; None for a line that is no progress (buildx's own words, an error's context)."""
        try:
            status = json.loads(line)
        except ValueError:
            return None
        if not isinstance(status, dict):
            return None
        events: list[Event] = []
        for vertex in _objects(status, "vertexes"):
            events += self._vertex(vertex)
        for progress in _objects(status, "statuses"):
            events += self._progress(progress)
        for log in _objects(status, "logs"):
            events += self._log(log)
        return tuple(events)

    def finish(self) -> tuple[Event, ...]:
        """The events of lines that never ended; call it once, at the end of the stream."""
        events: list[Event] = []
        for key, step in self._steps.items():
            for (_, stream), rest in tuple(step.partial.items()):
                events += self._line(key, step, stream, rest)
            step.partial.clear()
        return tuple(events)

    def step(self, key: str) -> StepEnd:
        """How a step ended, by its definition key."""
        found = self._steps[key]
        vertices = [vertex for vertex in self._vertices.values() if vertex.step == key]
        errors = [vertex.error for vertex in vertices if vertex.error]
        own = [error for error in errors if not any(word in error for word in _CANCELLED)]
        error = own[0] if own else ""
        ran = any(vertex.intervals for vertex in vertices)
        code = _EXIT_CODE.search(error)
        return StepEnd(
            ran=ran,
            cached=not ran and any(vertex.cached for vertex in vertices),
            cancelled=bool(errors) and not own,
            seconds=_united([pair for vertex in vertices for pair in vertex.intervals.items()]),
            error=error,
            code=found.code or (int(code[1]) if code else 0),
            command=found.command,
            trouble=found.trouble,
            commands=tuple(sorted(found.commands.items())),
            tail=tuple(found.tail),
        )

    def failed(self) -> tuple[str, ...]:
        """Definition keys of the steps that failed themselves, in the order of the phase."""
        return tuple(key for key in self._steps if self.step(key).failed)

    # -- vertices ----------------------------------------------------------------------------------------------------

    def _vertex(self, data: Mapping[str, Any]) -> Iterator[Event]:
        digest, name = _text(data, "digest"), _text(data, "name")
        if digest not in self._vertices:
            self._vertices[digest] = _Vertex(self._meaning(digest, name))
        vertex = self._vertices[digest]
        started, completed = _text(data, "started"), _text(data, "completed")
        cached = bool(data.get("cached"))
        if cached:
            vertex.cached = True
            vertex.intervals.pop(started, None)
        elif started:
            vertex.intervals[started] = completed or vertex.intervals.get(started, "")
        vertex.error = _text(data, "error") or vertex.error
        step = self._steps.get(vertex.step)
        if step is not None and started and not cached and not step.started:
            step.started = True
            yield VertexStarted(vertex.step, self._name(vertex.step), self._clock())

    def _meaning(self, digest: str, name: str) -> str:
        """The step a vertex runs; a base or the context is noted for its progress."""
        found = _STAGE.match(name)
        if found is None:
            if _CONTEXT in name:
                self._contexts.add(digest)
            return ""
        key = self._stages.get(found[1], "")
        if found[1].startswith("step-"):
            return key if found[2] == "RUN" and STEP_PATH in name else ""
        self._bases[digest] = key
        return ""

    def _name(self, key: str) -> str:
        return self._names.get(key, key)

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _progress(self, data: Mapping[str, Any]) -> Iterator[Event]:
        """Bytes of the context on their way, and of a base that the builder pulls."""
        digest, what = _text(data, "vertex"), _text(data, "id") or _text(data, "name")
        current, total = _number(data, "current"), _number(data, "total")
        if not current or self._sent.get((digest, what)) == current:
            return
        self._sent[digest, what] = current
        if digest in self._contexts:
            yield VertexProgress("", "context", self._clock(), current, total, "sent to the builder")
        elif digest in self._bases:
            key = self._bases[digest]
            yield VertexProgress(key, self._name(key), self._clock(), current, total, _text(data, "name") or "pulled")

    # -- output ------------------------------------------------------------------------------------------------------

    def _log(self, data: Mapping[str, Any]) -> Iterator[Event]:
        digest, stream = _text(data, "vertex"), _number(data, "stream") or 1
        vertex = self._vertices.get(digest)
        if vertex is None or vertex.step not in self._steps:
            return
        step = self._steps[vertex.step]
        try:
            piece = base64.b64decode(_text(data, "data"), validate=True)
        except (binascii.Error, ValueError):
            return
        *lines, rest = (step.partial.pop((digest, stream), b"") + piece).split(b"\n")
        for line in lines:
            yield from self._line(vertex.step, step, stream, line)
        if len(rest) > _LONGEST_LINE:
            yield from self._line(vertex.step, step, stream, rest)
        elif rest:
            step.partial[digest, stream] = rest

    def _line(self, key: str, step: _Step, stream: int, line: bytes) -> Iterator[Event]:
        """One line of output; the script's own words may follow output that did not end its line."""
        output, mark, words = line.partition(step.mark)
        if mark:
            _take_mark(step, words.decode("ascii", "replace").split())
            if not output:
                return
        shown = self._mask(output).rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
        step.tail.append(shown)
        yield VertexLog(key, self._name(key), self._clock(), stream, shown)


def _take_mark(step: _Step, words: list[str]) -> None:
    """``begin N UPTIME``, ``end N UPTIME CODE``, ``skip N UPTIME``, ``done``, or a trouble; written by ``script``."""
    match words:
        case ["begin", number, uptime] if number.isdigit():
            step.begun[int(number)] = _seconds(uptime)
        case ["skip", number, _] if number.isdigit():
            step.commands[int(number)] = 0.0
        case ["end", number, uptime, code] if number.isdigit() and code.isdigit():
            took = _seconds(uptime) - step.begun.get(int(number), _seconds(uptime))
            step.commands[int(number)] = round(max(took, 0.0), 3)
            if int(code):
                step.command, step.code = int(number), int(code)
        case ["done"]:
            pass
        case _:
            step.trouble = " ".join(words[:2])


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _united(pairs: list[tuple[str, str]]) -> float:
    """Seconds covered by intervals of RFC 3339 times; those that never ended count for nothing."""
    spans = sorted(
        (a, b) for start, end in pairs if (a := _moment(start)) is not None and (b := _moment(end)) is not None
    )
    total, reached = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return round(total, 3)


def _moment(text: str) -> float | None:
    """Seconds since the epoch; Go writes nanoseconds, of which Python takes the microseconds."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _objects(status: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    found = status.get(name)
    for item in found if isinstance(found, list) else ():
        if isinstance(item, dict):
            yield item


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
