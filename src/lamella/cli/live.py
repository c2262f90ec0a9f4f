"""The live tree on a terminal: running vertices with their seconds and last line of output, ended ones above."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from lamella.cli.event_lines import finished_line, message_lines, progress_text
from lamella.cli.messages import foreign, format_seconds
from lamella.graph.events import Event, Message, VertexFinished, VertexLog, VertexProgress, VertexStarted

__all__ = ["LiveSink"]

_TAIL = 3
"""Lines of output shown below a running vertex."""


class _Running:
    """A vertex at work."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self.why = why
        self.since = time.monotonic()
        self.progress = ""
        self.tail: list[str] = []


class LiveSink:
    """A sink that redraws ten times a second. Use it as a context manager."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._reused = 0
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def emit(self, event: Event) -> None:
        """Takes one event. Lines are printed outside the lock: who draws holds rich's own lock and then wants this."""
        with self._lock:
            lines = self._take(event)
        for line in lines:
            self._console.print(Text.from_ansi(line))

    def _take(self, event: Event) -> list[str]:
        """Brings the tree up to date; the lines that stay above it."""
        match event:
            case VertexStarted():
                self._running[event.vertex] = _Running(event.name, event.why)
            case VertexProgress():
                if event.vertex in self._running:
                    self._running[event.vertex].progress = progress_text(event)
            case VertexLog():
                self._add_log(event)
            case VertexFinished():
                self._running.pop(event.vertex, None)
                self._reused += event.outcome == "reused"
                return [] if event.outcome == "reused" else [finished_line(event)]
            case Message():
                return message_lines(event)
        return []

    def _add_log(self, event: VertexLog) -> None:
        running = self._running.get(event.vertex)
        if running is not None:
            shown = (foreign(line, colors=False) for line in event.data.splitlines())
            lines = [line for line in shown if line.strip()]
            running.tail = [*running.tail, *lines][-_TAIL:]

    def _render(self) -> Group:
        with self._lock:
            rows: list[Text] = []
            for item in self._running.values():
                head = Text(f"> {item.name}  {format_seconds(time.monotonic() - item.since)}", style="bold")
                head.append(f"  {item.progress or item.why}", style="dim")
                rows.append(head)
                width = max(20, self._console.width - 6)
                rows += [Text(f"    {line[:width]}", style="dim") for line in item.tail]
            if self._reused:
                rows.append(Text(f"= {self._reused} reused", style="dim"))
            return Group(*rows)
