"""The parts of a use case, handed in by ``lamella.api``, and what is done with them before anything is built."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.build.selection import Selection
from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.engines.base import NO_RESTORER, Restorer
from lamella.errors import ConfigError
from lamella.graph.protocols import Clock, Host, Lookup, Tree
from lamella.planning.lowering import BuildGraph, PlanningInputs, lower_cells
from lamella.planning.plan import Plan, PlanOptions, make_plan
from lamella.project.cells import ImageCell
from lamella.project.expand import expand
from lamella.project.lock import Lock
from lamella.project.projectfile import ProjectFile
from lamella.project.select import select_cells
from lamella.project.spec import CellSpec
from lamella.project.template import TemplateFacts
from lamella.stacks.base import Stack
from lamella.values import dataclass

__all__ = ["Parts", "expand_cells", "lower", "plan", "selected_cells"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a use case works with. ``arguments`` are ``--build-arg`` values; ``restorer`` brings the bytes of
    what ``lookup`` finds.
    """

    project: ProjectFile
    lock: Lock
    tree: Tree
    host: Host
    lookup: Lookup
    clock: Clock
    stacks: Mapping[str, Stack]
    facts: TemplateFacts
    arguments: FrozenMap[str, str] = EMPTY_MAP
    restorer: Restorer = NO_RESTORER


def selected_cells(parts: Parts, selection: Selection) -> tuple[ImageCell, ...]:
    """The image cells of a selection; raises ConfigError when there are none."""
    if selection.cells:
        return selection.cells
    found = select_cells(
        parts.project,
        images=selection.images,
        profile=selection.profile or None,
        only=selection.only,
        platforms=selection.platforms,
        all=selection.all,
        host=parts.host.platform(),
    )
    if not found:
        raise ConfigError("the selection matches no image cell", hint="see: lamella plan --all")
    return found


def expand_cells(parts: Parts, selection: Selection) -> tuple[CellSpec, ...]:
    """The selected cells with their images, one CellSpec per distinct cell, in order."""
    wanted: dict[object, tuple[ImageCell, list[str]]] = {}
    for item in selected_cells(parts, selection):
        wanted.setdefault(item.cell, (item, []))[1].append(item.image)
    return tuple(
        expand(
            parts.project,
            cell=item.cell,
            args=parts.arguments,
            facts=parts.facts,
            images=tuple(images),
            layers=(selection.layer,) if selection.layer else (),
        )
        for item, images in wanted.values()
    )


def lower(parts: Parts, selection: Selection) -> BuildGraph:
    """The Definition of a selection."""
    given = PlanningInputs(parts.tree, parts.lock, parts.host, parts.stacks)
    return lower_cells(expand_cells(parts, selection), given, layer=selection.layer)


def plan(parts: Parts, selection: Selection, options: PlanOptions, graph: BuildGraph | None = None) -> Plan:
    """The plan of a selection; with ``--target`` only what that layer needs."""
    graph = graph or lower(parts, selection)
    targets = graph.layer_vertices(selection.layer) if selection.layer else ()
    if selection.layer and not targets:
        raise ConfigError(f"layer {selection.layer!r} has no product of its own", hint="name an image instead")
    return make_plan(
        graph,
        project=parts.project.name,
        tree=parts.tree,
        host=parts.host,
        lookup=parts.lookup,
        options=options,
        targets=targets,
        origin=parts.restorer.origin,
    )
