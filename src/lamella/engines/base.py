"""The seam between planner and engines: the whole Definition (DESIGN section 4).

An engine gets a Definition and targets, makes what has no record, and returns results and records. Both engines
emit the same events; vertices that only hold files are made by the executor that they share.
"""

from __future__ import annotations

import os
from typing import Protocol

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.graph.definition import Definition
from lamella.graph.events import EventSink
from lamella.graph.record import Record, Result
from lamella.values import dataclass, field

__all__ = [
    "NO_RESTORER",
    "Engine",
    "EngineUse",
    "Restorer",
    "SolveOptions",
    "SolveOutcome",
    "SolveRequest",
    "VertexOutcome",
]


@dataclass(frozen=True, slots=True)
class SolveOptions:
    """How to run. ``force`` are definition keys to run again although they have a record.

    ``jobs`` bounds steps at a time (0: one for each core), ``memory`` (bytes, 0: none) all of them together.
    ``without_states`` gives steps empty states and caches. ``offline`` refuses steps that need the network (6).
    ``strict`` makes writes into sources, replaced base files and paths with two owners errors. ``compressor`` is the
    form in which new layers are written: what the caller asks for in the end, so that none is compressed twice.
    """

    jobs: int = 0
    memory: int = 0
    force: frozenset[str] = frozenset()
    without_states: bool = False
    refresh: bool = False
    offline: bool = False
    strict: bool = False
    keep_going: bool = False
    compressor: str = "gzip"

    @property
    def workers(self) -> int:
        """How many steps may run at a time."""
        return self.jobs or os.cpu_count() or 1

    @property
    def step_memory(self) -> int:
        """Bytes that one step may have, an equal share of ``memory``; 0 is no bound."""
        return self.memory // self.workers


@dataclass(frozen=True, slots=True)
class SolveRequest:
    """What is wanted. ``targets`` are definition keys; ``exports`` those root file systems whose own layers
    shall exist as blobs; ``secrets`` maps ids to values and is never written anywhere.
    """

    project: str
    definition: Definition
    targets: tuple[str, ...]
    exports: frozenset[str] = frozenset()
    options: SolveOptions = SolveOptions()
    secrets: FrozenMap[str, bytes] = field(default=EMPTY_MAP, repr=False)


@dataclass(frozen=True, slots=True)
class VertexOutcome:
    """How one vertex ended: ``reused``, ``restored``, ``built`` or, without a record, ``source``."""

    result: Result
    outcome: str
    seconds: float = 0.0
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class EngineUse:
    """What ran steps: ``name`` as ``--engine`` takes it, a builder with its driver and level, and why it was chosen;
    empty where somebody asked for it.
    """

    name: str
    builder: str = ""
    driver: str = ""
    level: str = ""
    why: str = ""

    @property
    def short(self) -> str:
        """The engine and, of a builder, its name."""
        return f"{self.name}, builder {self.builder!r}" if self.builder else "embedded"

    def __str__(self) -> str:
        place = f" ({self.driver}, {self.level})" if self.builder else ""
        return f"engine: {self.short}{place}{f', because {self.why}' if self.why else ''}"


@dataclass(frozen=True, slots=True)
class SolveOutcome:
    """Outcomes by definition key; ``failed`` maps vertices that failed or were skipped to why; ``engine`` is what ran
    steps, None when none ran.
    """

    vertices: FrozenMap[str, VertexOutcome]
    failed: FrozenMap[str, str] = EMPTY_MAP
    engine: EngineUse | None = None

    def result(self, key: str) -> Result:
        """The result of a vertex; KeyError when it failed."""
        return self.vertices[key].result


class Restorer(Protocol):
    """Brings bytes that a record of a cache repository names into the store, when something really reads them."""

    def origin(self, key: str) -> str:
        """The repository that the record of a resolved key came from in this run; empty for the store's own."""

    def layer(self, diff_id: str) -> bool:
        """A layer's blob, with its variant noted; false when no repository has it."""

    def product(self, tree: str) -> bool:
        """The snapshot of a product's file set; false when no repository has it."""


class _NoRestorer:
    """``Restorer`` without any repository."""

    def origin(self, key: str) -> str:
        return ""

    def layer(self, diff_id: str) -> bool:
        return False

    def product(self, tree: str) -> bool:
        return False


NO_RESTORER: Restorer = _NoRestorer()
"""What a machine without a cache repository has."""


class Engine(Protocol):
    """Runs Definitions."""

    name: str

    def solve(self, request: SolveRequest, sink: EventSink) -> SolveOutcome:
        """Makes what is missing. Raises the first failure's error after what ran beside it has ended."""

    def close(self) -> None:
        """Ends helpers; safe to call twice."""
