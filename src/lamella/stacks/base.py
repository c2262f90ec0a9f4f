"""The contract of a stack adapter (DESIGN section 7).

``lower`` turns one layer of one cell into vertices; ``observe`` judges what a step of the adapter printed;
``detect`` finds the stack in a tree for ``init``. All three are pure. Third parties implement :class:`Stack`
and register it under the ``lamella.stacks`` entry point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.graph.definition import DefinitionBuilder
from lamella.graph.fileset import FileSet
from lamella.graph.protocols import Host, Tree
from lamella.graph.record import Evidence
from lamella.graph.vertex import Input, Selection, VertexInfo
from lamella.project.cells import Cell
from lamella.project.lock import Lock
from lamella.project.spec import LayerSpec, Need
from lamella.values import dataclass, field

__all__ = [
    "SRC",
    "DetectedLayer",
    "Detection",
    "LowerContext",
    "Lowered",
    "NeededProduct",
    "Observation",
    "Placement",
    "Requirement",
    "Rootfs",
    "Stack",
    "StepOutputs",
    "layer_error",
    "vertex_info",
]

SRC = "/lamella/src"
"""Where every step of every engine finds the project's files."""


@dataclass(frozen=True, slots=True)
class Rootfs:
    """A root file system that steps run on: its vertex and the environment that programs on it need."""

    vertex: str
    env: FrozenMap[str, str] = EMPTY_MAP
    host: bool = False

    def edge(self, selection: Selection, name: str = "rootfs") -> Input:
        """An input edge to it."""
        return Input(self.vertex, selection, name)


@dataclass(frozen=True, slots=True)
class NeededProduct:
    """Another layer's product that this one needs, with the paths it wants of it."""

    need: Need
    vertex: str
    is_rootfs: bool = False


@dataclass(frozen=True, slots=True)
class LowerContext:
    """Everything an adapter may look at for one layer of one cell.

    ``rootfs`` is what ``on`` names, for ``run`` the image's base with the steps before it, None where the
    adapter shall bring its own toolchain. ``above`` is the lowered layer that ``above`` names.
    ``bases`` are the bases of the cell's images that hold the layer, as the lock names them: a reference or a suite.
    ``platform`` is the target, ``execution`` the platform that steps run on.
    """

    project: str
    layer: LayerSpec
    cell: Cell
    tree: Tree
    lock: Lock
    host: Host
    graph: DefinitionBuilder
    platform: str
    execution: str
    rootfs: Rootfs | None = None
    needs: tuple[NeededProduct, ...] = ()
    above: Lowered | None = None
    bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """A product that goes into an image: ``source`` is a directory or file of the product (empty: all of it).

    ``target`` is absolute; ``rename`` when the product is one file and ``target`` its full path.
    """

    vertex: str
    target: str
    owner: str = "0:0"
    mode: str = ""
    source: str = ""
    rename: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a layer needs of the base it lands on. ``kind`` is glibc, interpreter or tool.

    ``value`` is ``2.36``, ``python 3.11 /usr/bin/python3.11`` or a program's name; ``why`` is for the error.
    ``rootfs`` names the vertex whose facts prove it when the value itself is only known from there
    (``glibc`` of a toolchain).
    """

    kind: str
    value: str
    why: str
    rootfs: str = ""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A layer as vertices.

    ``product`` is what ``needs`` and ``export`` take. ``rootfs`` is set for layers that are root file systems
    (``base``, ``run``). ``entrypoints`` are programs an image may start; ``path`` directories for its PATH.
    ``notes`` are said in a plan. ``details`` are the adapter's own facts for ``above`` and explanations.
    """

    product: str = ""
    rootfs: Rootfs | None = None
    placements: tuple[Placement, ...] = ()
    entrypoints: tuple[tuple[str, ...], ...] = ()
    path: tuple[str, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    notes: tuple[str, ...] = ()
    details: FrozenMap[str, object] = EMPTY_MAP


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """What a step left for ``observe``: captured streams by name, the product's file set, ``observed`` of its op.

    ``own_changed`` is false when the run was forced although no input differed.
    """

    captured: Mapping[str, bytes]
    product: FileSet | None = None
    observed: FrozenMap[str, str] = EMPTY_MAP


@dataclass(frozen=True, slots=True)
class Observation:
    """The verdict over a step: ``integrity`` lines make the run fail (3) and nothing is recorded."""

    evidence: Evidence = field(default_factory=Evidence)
    integrity: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectedLayer:
    """A layer that ``init`` proposes: TOML ``lines`` of its table (without the header), and reasons for it."""

    name: str
    lines: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Detection:
    """What an adapter found in a tree: one thing that an image can be made of.

    ``base_packages`` are Debian packages the runtime base needs, ``build_packages`` those its steps need;
    ``toolchain`` programs the host must have for ``host = true``. ``entrypoint``, ``expose``, ``health`` and ``env``
    are guesses for the image, empty when unknown;
    ``why`` has the evidence for each of them by its name. ``notes`` are for the user to know.
    """

    stack: str
    directory: str
    layers: tuple[DetectedLayer, ...]
    base_packages: tuple[str, ...] = ()
    toolchain: tuple[str, ...] = ()
    in_image: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    expose: int = 0
    health: str = ""
    version: str = ""
    name: str = ""
    env: FrozenMap[str, str] = EMPTY_MAP
    why: FrozenMap[str, str] = EMPTY_MAP
    notes: tuple[str, ...] = ()
    build_packages: tuple[str, ...] = ()


class Stack(Protocol):
    """One adapter. ``name`` is the layer kind it serves."""

    name: str

    def lower(self, context: LowerContext) -> Lowered:
        """The layer's vertices. Raises ConfigError for a stale or missing lock and everything else that is wrong."""

    def observe(self, outputs: StepOutputs) -> Observation:
        """The verdict over a finished step whose op names this adapter as ``observer``."""

    def detect(self, tree: Tree) -> tuple[Detection, ...]:
        """The projects of this stack in a tree, outermost first."""


def layer_error(layer: LayerSpec, message: str, *, hint: str = "") -> ConfigError:
    """A ConfigError at the place where a layer's table begins in the project file."""
    place = layer.position
    text = f"layer {layer.name!r}: {message}"
    return ConfigError.from_problems((Problem(place.file, place.line, place.column, text, hint),))


def vertex_info(layer: LayerSpec, part: str = "", *, local: bool = False) -> VertexInfo:
    """The policy part of a layer's vertex; ``part`` names one of several (``app:deps``)."""
    name = f"{layer.name}:{part}" if part else layer.name
    return VertexInfo(name, layer.name, layer.freshness, layer.missing, layer.advice or "", local)
