"""What a maker of vertices is handed and what it gives back; the executor and the step runner are makers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.engines.base import SolveRequest
from lamella.graph.events import Event
from lamella.graph.keys import KeyParts
from lamella.graph.record import Evidence, Result
from lamella.graph.vertex import Vertex
from lamella.planning.walk import Resolver
from lamella.values import dataclass, field

__all__ = ["Made", "Maker", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """One vertex to make: ``key`` its definition key, ``parts.key`` the resolved key its result is for."""

    key: str
    vertex: Vertex
    parts: KeyParts
    results: Mapping[str, Result]
    request: SolveRequest
    resolver: Resolver
    emit: Callable[[Event], None]
    forced: bool = False

    @property
    def resolved(self) -> str:
        """The resolved key."""
        return self.parts.key

    def input_result(self, number: int) -> Result:
        """The result of an input by its number."""
        return self.results[self.vertex.inputs[number].vertex]


@dataclass(frozen=True, slots=True)
class Made:
    """What came out, with what a record keeps besides the result. ``size`` in bytes is for people."""

    result: Result
    evidence: Evidence = field(default_factory=Evidence)
    hermetic: bool = True
    local: bool = False
    wrote_sources: tuple[str, ...] = ()
    log: str = ""
    filesets: FrozenMap[str, str] = EMPTY_MAP
    size: int = 0
    warnings: tuple[str, ...] = ()


class Maker(Protocol):
    """Makes vertices of some kinds of op."""

    def make(self, work: Work) -> Made:
        """Makes one vertex; raises the error of whoever must act."""
