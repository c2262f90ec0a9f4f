"""How events read as lines: shared by the plain and the live progress."""

from __future__ import annotations

from lamella.cli.messages import format_seconds, format_size, paint
from lamella.graph.events import Message, VertexFinished, VertexProgress

__all__ = ["finished_line", "message_lines", "progress_text"]

_MARKS = {
    "reused": ("=", "dim"),
    "restored": ("<", "cyan"),
    "built": ("+", "green"),
    "failed": ("!", "red"),
    "skipped": ("-", "yellow"),
    "cancelled": ("-", "yellow"),
}


def finished_line(event: VertexFinished) -> str:
    """How a vertex ended, in one line."""
    mark, style = _MARKS.get(event.outcome, ("?", "yellow"))
    size = f", {format_size(event.size)}" if event.size else ""
    text = f"{paint(mark, style)} {event.name}  {event.outcome} in {format_seconds(event.seconds)}{size}"
    return f"{text}: {event.error}" if event.error else text


def progress_text(event: VertexProgress) -> str:
    """Bytes done of a total."""
    total = f" of {format_size(event.total)}" if event.total else ""
    return f"{event.what} {format_size(event.current)}{total}".strip()


def message_lines(event: Message) -> list[str]:
    """A message or warning as lines."""
    text = f"{paint('warning:', 'yellow')} {event.text}" if event.level == "warning" else event.text
    return [text, f"  {paint('hint:', 'cyan')} {event.hint}"] if event.hint else [text]
