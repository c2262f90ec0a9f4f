"""Progress of a run: a live tree on a terminal, plain lines elsewhere, JSON lines on request, or nothing.

All of it goes to stderr. Sinks are called from several threads.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from lamella.canonical import plain
from lamella.cli.event_lines import finished_line, message_lines, progress_text
from lamella.cli.messages import foreign, paint
from lamella.graph.events import Event, EventSink, Message, VertexFinished, VertexLog, VertexProgress, VertexStarted

__all__ = ["JsonSink", "PlainSink", "QuietSink", "open_progress"]


@contextmanager
def open_progress(mode: str, *, terminal: bool, stream: IO[str] | None = None) -> Iterator[EventSink]:
    """The sink of a mode; ``auto`` is the live tree on a terminal and plain lines elsewhere."""
    out = stream or sys.stderr
    if mode == "auto":
        mode = "tty" if terminal else "plain"
    if mode == "tty":
        from lamella.cli.live import LiveSink

        with LiveSink() as live:
            yield live
        return
    sinks: dict[str, type[PlainSink | JsonSink | QuietSink]] = {
        "plain": PlainSink,
        "rawjson": JsonSink,
        "quiet": QuietSink,
    }
    yield sinks[mode](out)


class QuietSink:
    """Warnings only."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def emit(self, event: Event) -> None:
        """Writes warnings."""
        if isinstance(event, Message) and event.level == "warning":
            self._out.write(f"{paint('warning:', 'yellow')} {event.text}\n")


class PlainSink:
    """One line per happening; reused vertices are only counted in the summary."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._shown: dict[str, float] = {}

    def emit(self, event: Event) -> None:
        """Writes the lines of one event."""
        with self._lock:
            for line in self._lines(event):
                self._out.write(line + "\n")
            self._out.flush()

    def _lines(self, event: Event) -> list[str]:
        match event:
            case VertexStarted():
                why = f" ({event.why})" if event.why else ""
                return [f"{paint('>', 'blue')} {event.name}{why}"]
            case VertexLog():
                name = paint(event.name + " |", "dim")
                return [f"  {name} {foreign(line)}" for line in event.data.splitlines()]
            case VertexFinished():
                return [] if event.outcome == "reused" else [finished_line(event)]
            case VertexProgress():
                return self._progress(event)
            case Message():
                return message_lines(event)

    def _progress(self, event: VertexProgress) -> list[str]:
        """At most one line per vertex in five seconds."""
        if time.monotonic() - self._shown.get(event.vertex, time.monotonic()) < 5:
            self._shown.setdefault(event.vertex, time.monotonic())
            return []
        self._shown[event.vertex] = time.monotonic()
        return [f"  {event.name}: {progress_text(event)}"]


class JsonSink:
    """One JSON object per event and line, with ``kind`` and the fields of the event."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Writes one line."""
        fields = {name: getattr(event, name) for name in event.__slots__}
        data = {"kind": event.kind, **{k: v if isinstance(v, float) else plain(v) for k, v in fields.items()}}
        with self._lock:
            self._out.write(json.dumps(data, ensure_ascii=False, sort_keys=True) + "\n")
            self._out.flush()
