"""Vertices: an op with inputs. What is only for people or for policy is in ``VertexInfo`` and in no key."""

from __future__ import annotations

from lamella.graph.op import BootstrapOp, ExecOp, Op, SourceOp
from lamella.oci.platform import ANY
from lamella.values import dataclass, field

__all__ = [
    "AllPaths",
    "FactsOf",
    "Input",
    "Paths",
    "RootfsOf",
    "Selection",
    "Vertex",
    "VertexInfo",
    "executes",
]


@dataclass(frozen=True, slots=True)
class AllPaths:
    """All of a product."""

    kind = "all"


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of a product that match one of the globs."""

    patterns: tuple[str, ...]
    kind = "paths"


@dataclass(frozen=True, slots=True)
class RootfsOf:
    """A root file system, identified by its resolved key and package set (DESIGN 3b)."""

    kind = "rootfs"


@dataclass(frozen=True, slots=True)
class FactsOf:
    """Of a root file system just the facts of some absolute ``paths`` and owner ``names``."""

    paths: tuple[str, ...]
    names: tuple[str, ...] = ()
    kind = "facts"


Selection = AllPaths | Paths | RootfsOf | FactsOf


@dataclass(frozen=True, slots=True)
class Input:
    """An edge: ``vertex`` is the definition key of the vertex that makes it, ``name`` its role for people."""

    vertex: str
    selection: Selection
    name: str


@dataclass(frozen=True, slots=True)
class VertexInfo:
    """What people and policies want to know of a vertex. None of it is in a key.

    ``name`` is ``app:deps`` or ``base``; ``layer`` the layer it belongs to; ``freshness`` seconds after which
    a non-hermetic result is old (None: never); ``missing`` one of build, pull, fail; ``local`` keeps the
    result on this machine.
    """

    name: str
    layer: str = ""
    freshness: int | None = None
    missing: str = "build"
    advice: str = ""
    local: bool = False


@dataclass(frozen=True, slots=True)
class Vertex:
    """One vertex. ``platform`` is ``linux/amd64`` or ``any``; ``execution`` the platform its code runs on."""

    op: Op
    inputs: tuple[Input, ...]
    platform: str = ANY
    execution: str = ANY
    info: VertexInfo = field(default=VertexInfo(""), compare=False)


def executes(vertex: Vertex) -> bool:
    """Whether the vertex runs code and so needs an engine."""
    return isinstance(vertex.op, (ExecOp, BootstrapOp))


def is_source(vertex: Vertex) -> bool:
    """Whether the vertex stands for files of the project."""
    return isinstance(vertex.op, SourceOp)
