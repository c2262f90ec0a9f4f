"""Lowers one cargo layer over a tree in memory and gives the resolved keys of its two steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from lamella.canonical import FrozenMap, digest_value
from lamella.graph.definition import Definition, DefinitionBuilder
from lamella.graph.facts import BaseFacts
from lamella.graph.keys import key_parts
from lamella.graph.op import ExecOp, HostOp, InlineOp, SourceOp
from lamella.graph.protocols import HostTools, Tree
from lamella.graph.vertex import Vertex
from lamella.project.cells import Cell
from lamella.project.lock import EMPTY_LOCK, Lock
from lamella.project.spec import CargoSpec, LayerSpec, Text
from lamella.stacks.base import LowerContext, Lowered, NeededProduct, Rootfs
from lamella.stacks.cargo import CargoStack


class NoHost:
    """A host that nothing may ask."""

    def platform(self) -> str:
        raise AssertionError("the host was asked for its platform")

    def tools(self) -> HostTools:
        raise AssertionError("the host was asked for its tools")

    def facts(self) -> BaseFacts:
        raise AssertionError("the host was asked for its facts")


@dataclass(frozen=True)
class Outcome:
    """A lowered layer with the Definition it stands in."""

    lowered: Lowered
    definition: Definition
    tree: Tree

    @property
    def deps(self) -> str:
        """Definition key of the dependency step, empty when there is none."""
        return str(self.lowered.details["deps"])

    @property
    def app(self) -> str:
        """Definition key of the final step."""
        return self.lowered.product

    def op(self, vertex: str) -> ExecOp:
        """The op of a step."""
        op = self.definition[vertex].op
        assert isinstance(op, ExecOp)
        return op

    def key(self, vertex: str) -> str:
        """Resolved key. Of the dependency step's product only what can be known without running it counts."""
        found = self.definition[vertex]
        return key_parts(found, tuple(self._digest(edge.vertex) for edge in found.inputs)).key

    def _digest(self, vertex: str) -> str:
        op = self.definition[vertex].op
        if isinstance(op, InlineOp):
            return digest_value(op)
        if isinstance(op, SourceOp):
            return self.tree.digest(op.patterns)
        return "the product of the dependency step" if vertex == self.deps else vertex

    def staged(self, vertex: str) -> dict[str, bytes]:
        """The files that a step finds at its sources' path, by path."""
        files: dict[str, bytes] = {}
        for edge in self.definition[vertex].inputs:
            op = self.definition[edge.vertex].op
            if isinstance(op, SourceOp):
                files.update({path: self.tree.read(path) for path in self.tree.paths(op.patterns)})
        for edge in self.definition[vertex].inputs:
            op = self.definition[edge.vertex].op
            if isinstance(op, InlineOp):
                files.update({file.path: file.data for file in op.files})
        return files


@dataclass(frozen=True)
class Layer:
    """What a test varies beside the tree."""

    spec: CargoSpec = CargoSpec()  # noqa: RUF009 - frozen value
    env: FrozenMap[str, Text] = field(default_factory=FrozenMap)
    inputs: tuple[str, ...] = ()
    rootfs: str = "toolchain one"
    own_toolchain: bool = False
    platform: str = "linux/amd64"
    variables: tuple[str, ...] = ()
    lock: Lock = EMPTY_LOCK
    network: bool = False
    env_of_rootfs: FrozenMap[str, str] = field(default_factory=lambda: FrozenMap({"PATH": "/usr/bin"}))
    extra: FrozenMap[str, object] = field(default_factory=FrozenMap)


def lower(tree: Tree, layer: Layer, needs: tuple[NeededProduct, ...] = (), *, more: tuple[Vertex, ...] = ()) -> Outcome:
    """One layer named ``app`` on a toolchain named by ``layer.rootfs``; ``more`` are vertices that ``needs`` names."""
    graph = DefinitionBuilder()
    for vertex in more:
        graph.add(vertex)
    rootfs = graph.add(Vertex(HostOp(layer.rootfs), ()))
    spec = LayerSpec(
        "app",
        layer.spec,
        env=layer.env,
        inputs=layer.inputs,
        variables=layer.variables,
        network=layer.network,
        **layer.extra,  # type: ignore[arg-type]
    )
    context = LowerContext(
        project="shop",
        layer=spec,
        cell=Cell(FrozenMap({"profile": "dev", "platform": layer.platform})),
        tree=tree,
        lock=layer.lock,
        host=NoHost(),
        graph=graph,
        platform=layer.platform,
        execution=layer.platform,
        rootfs=None if layer.own_toolchain else Rootfs(rootfs, layer.env_of_rootfs),
        needs=needs,
    )
    lowered = CargoStack().lower(context)
    return Outcome(lowered, graph.build(), tree)
