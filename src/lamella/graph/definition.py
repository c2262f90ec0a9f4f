"""Definitions: the graph of vertices that makes the wanted cells (DESIGN 2 and 3b).

A vertex is named by its definition key, so equal vertices of different cells are one vertex.
"""

from __future__ import annotations

from collections.abc import Iterable

from lamella.canonical import FrozenMap, digest_value
from lamella.errors import InternalError
from lamella.graph.vertex import Vertex
from lamella.values import dataclass

__all__ = ["Definition", "DefinitionBuilder", "definition_key"]


def definition_key(vertex: Vertex) -> str:
    """The key that names a vertex inside one Definition: op with schema, platforms, inputs' definition keys."""
    return digest_value(
        {
            "schema": type(vertex.op).schema,
            "op": vertex.op,
            "execution": vertex.execution,
            "platform": vertex.platform,
            "inputs": tuple((edge.vertex, edge.selection.kind, edge.selection) for edge in vertex.inputs),
        }
    )


@dataclass(frozen=True, slots=True)
class Definition:
    """Vertices by definition key, in an order where inputs come first."""

    vertices: FrozenMap[str, Vertex]

    def __getitem__(self, key: str) -> Vertex:
        return self.vertices[key]

    def needed(self, targets: Iterable[str]) -> tuple[str, ...]:
        """The targets and everything they stand on, inputs first."""
        seen: set[str] = set()
        todo = list(targets)
        while todo:
            key = todo.pop()
            if key not in seen:
                seen.add(key)
                todo.extend(edge.vertex for edge in self.vertices[key].inputs)
        return tuple(key for key in self.vertices if key in seen)

    def chain(self, key: str) -> tuple[str, ...]:
        """A root file system's vertices from the lowest up to ``key``: each one's input 0."""
        out = [key]
        while self.vertices[out[-1]].inputs:
            out.append(self.vertices[out[-1]].inputs[0].vertex)
        return tuple(reversed(out))


class DefinitionBuilder:
    """Collects vertices; adding an equal one twice gives the same key. Not thread-safe."""

    def __init__(self) -> None:
        self._vertices: dict[str, Vertex] = {}

    def add(self, vertex: Vertex) -> str:
        """Adds a vertex and returns its definition key; all inputs must have been added before."""
        for edge in vertex.inputs:
            if edge.vertex not in self._vertices:
                raise InternalError(f"vertex {vertex.info.name!r} has an input that was not added: {edge.name}")
        key = definition_key(vertex)
        self._vertices.setdefault(key, vertex)
        return key

    def __getitem__(self, key: str) -> Vertex:
        return self._vertices[key]

    def build(self) -> Definition:
        """The finished definition."""
        return Definition(FrozenMap(self._vertices))
