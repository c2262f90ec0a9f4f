"""Events of a run: frozen values, the same from both engines. Times are seconds of the monotonic clock."""

from __future__ import annotations

from typing import ClassVar, Protocol

from lamella.values import dataclass

__all__ = [
    "Event",
    "EventSink",
    "Message",
    "NullSink",
    "VertexFinished",
    "VertexLog",
    "VertexProgress",
    "VertexStarted",
]


@dataclass(frozen=True, slots=True)
class VertexStarted:
    """Work on a vertex began; ``vertex`` is its definition key, ``why`` the reason in words."""

    kind: ClassVar[str] = "started"
    vertex: str
    name: str
    time: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class VertexProgress:
    """Bytes done of a total (0: unknown) with a word for what is moved."""

    kind: ClassVar[str] = "progress"
    vertex: str
    name: str
    time: float
    current: int
    total: int = 0
    what: str = ""


@dataclass(frozen=True, slots=True)
class VertexLog:
    """A piece of a step's output; ``stream`` is 1 or 2. Secrets are masked already."""

    kind: ClassVar[str] = "log"
    vertex: str
    name: str
    time: float
    stream: int
    data: str


@dataclass(frozen=True, slots=True)
class VertexFinished:
    """A vertex ended. ``outcome`` is reused, restored, built, failed, skipped or cancelled."""

    kind: ClassVar[str] = "finished"
    vertex: str
    name: str
    time: float
    outcome: str
    seconds: float = 0.0
    size: int = 0
    key: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Something to say that belongs to no vertex, or a warning about one. ``level`` is info or warning."""

    kind: ClassVar[str] = "message"
    time: float
    level: str
    text: str
    hint: str = ""


Event = VertexStarted | VertexProgress | VertexLog | VertexFinished | Message


class EventSink(Protocol):
    """Takes events; called from several threads, must not block for long and must not raise."""

    def emit(self, event: Event) -> None:
        """Takes one event."""


class NullSink:
    """A sink that drops everything."""

    def emit(self, event: Event) -> None:
        """Drops one event."""
