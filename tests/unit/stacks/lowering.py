"""Lowers one layer over a tree in memory and says which of its vertices a change makes new."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lamella.canonical import FrozenMap, digest_value
from lamella.graph.definition import Definition, DefinitionBuilder
from lamella.graph.op import ExecOp, HostOp, InlineOp, Op, SourceOp, WheelsOp
from lamella.graph.vertex import Vertex
from lamella.project.cells import Cell
from lamella.project.lock import EMPTY_LOCK, Lock
from lamella.project.spec import KindSpec, LayerSpec
from lamella.stacks.base import LowerContext, Lowered, NeededProduct, Rootfs, Stack
from lamella.testing.engine import FakeHost
from lamella.testing.tree import MemoryTree

Files = dict[str, bytes | str]


@dataclass(frozen=True)
class Given:
    """Everything a layer depends on; ``edited`` and ``with_layer`` give changed copies."""

    stack: Stack
    files: Files
    layer: LayerSpec
    lock: Lock = EMPTY_LOCK
    platform: str = "linux/amd64"
    bases: tuple[str, ...] = ()
    toolchain: str = "tools"
    needs: tuple[NeededProduct, ...] = ()
    below: Given | None = None

    def edited(self, files: dict[str, bytes | str | None]) -> Given:
        """With files added, replaced or (None) removed."""
        merged = {**self.files, **files}
        return replace(self, files={path: data for path, data in merged.items() if data is not None})

    def replaced(self, path: str, before: str, after: str) -> Given:
        """With a piece of one file replaced; it must be there."""
        text = self.files[path]
        assert isinstance(text, str)
        assert before in text, f"{before!r} is not in {path}"
        return self.edited({path: text.replace(before, after)})

    def with_spec(self, spec: KindSpec) -> Given:
        """With another kind of the layer."""
        return replace(self, layer=replace(self.layer, spec=spec))


@dataclass(frozen=True)
class Outcome:
    """A lowered layer in its Definition. ``keys`` are deep keys of its vertices by name."""

    lowered: Lowered
    definition: Definition
    keys: dict[str, str] = field(default_factory=dict)

    def vertex(self, name: str) -> Vertex:
        """The vertex of a name; its names are without the layer's."""
        found = [vertex for vertex in self.definition.vertices.values() if vertex.info.name == name]
        assert len(found) == 1, f"{name}: {[vertex.info.name for vertex in self.definition.vertices.values()]}"
        return found[0]

    def step(self, name: str) -> ExecOp:
        """The op of a step."""
        op = self.vertex(name).op
        assert isinstance(op, ExecOp)
        return op

    def inline(self, name: str) -> dict[str, bytes]:
        """The files of an inline vertex."""
        op = self.vertex(name).op
        assert isinstance(op, InlineOp)
        return {file.path: file.data for file in op.files}

    def wheels(self) -> dict[str, str]:
        """File name by package of all wheels that come from indexes."""
        ops = [vertex.op for vertex in self.definition.vertices.values()]
        return {wheel.name: wheel.filename for op in ops if isinstance(op, WheelsOp) for wheel in op.wheels}

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Package names by vertex name of all wheel layers."""
        found = {}
        for vertex in self.definition.vertices.values():
            if isinstance(vertex.op, WheelsOp):
                found[vertex.info.name] = tuple(wheel.name for wheel in vertex.op.wheels)
        return found


def lower(given: Given) -> Outcome:
    """The layer's vertices; ``below`` is lowered first and is what ``above`` names."""
    graph = DefinitionBuilder()
    above = _lower(given.below, graph, None) if given.below is not None else None
    lowered = _lower(given, graph, above)
    definition = graph.build()
    tree = MemoryTree(given.files)
    keys: dict[str, str] = {}
    for key, vertex in definition.vertices.items():
        keys[key] = _deep(vertex.op, vertex, keys, tree)
    named = {vertex.info.name: keys[key] for key, vertex in definition.vertices.items()}
    return Outcome(lowered, definition, named)


def changed(before: Given, after: Given) -> set[str]:
    """Names of vertices of ``after`` that ``before`` did not have in the same form."""
    known = set(lower(before).keys.values())
    return {name for name, key in lower(after).keys.items() if key not in known}


def _lower(given: Given, graph: DefinitionBuilder, above: Lowered | None) -> Lowered:
    rootfs = None
    if given.toolchain:
        vertex = graph.add(Vertex(HostOp(given.toolchain), ()))
        rootfs = Rootfs(vertex, FrozenMap({"PATH": "/usr/bin:/bin"}))
    return given.stack.lower(
        LowerContext(
            project="shop",
            layer=given.layer,
            cell=Cell(FrozenMap({"profile": "dev", "platform": given.platform})),
            tree=MemoryTree(given.files),
            lock=given.lock,
            host=FakeHost(),
            graph=graph,
            platform=given.platform,
            execution=given.platform,
            rootfs=rootfs,
            needs=given.needs,
            above=above,
            bases=given.bases,
        )
    )


def _deep(op: Op, vertex: Vertex, keys: dict[str, str], tree: MemoryTree) -> str:
    """A key that stands for all the content a vertex is made from."""
    content = tree.digest(op.patterns) if isinstance(op, SourceOp) else ""
    inputs = tuple((keys[edge.vertex], edge.selection) for edge in vertex.inputs)
    meaning: object = op
    if isinstance(op, WheelsOp):  # as graph.keys has it: where a wheel lies is no meaning
        meaning = (op.python, op.venv, tuple((wheel.filename, wheel.sha256) for wheel in op.wheels))
    return digest_value(
        {
            "op": meaning,
            "content": content,
            "inputs": inputs,
            "platform": vertex.platform,
            "execution": vertex.execution,
        }
    )
