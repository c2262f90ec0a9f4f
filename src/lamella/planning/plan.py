"""Plans: what a build would do, before it does anything (DESIGN 3b "Planning", 7b.10).

``reused`` vertices have a record. ``build`` vertices have a known key and no record. After a miss everything
that follows is ``expected``: its key is not known yet, its cost comes from history, and it may turn out reused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lamella.graph.explain import Change, diff_parts
from lamella.graph.keys import KeyParts
from lamella.graph.op import HostOp
from lamella.graph.protocols import Host, Lookup, Tree
from lamella.graph.record import Record, Result
from lamella.graph.vertex import Vertex, executes
from lamella.planning.lowering import BuildGraph
from lamella.planning.walk import Resolver

__all__ = ["FOREVER", "Plan", "PlanOptions", "PlannedVertex", "make_plan"]


FOREVER = 1 << 62
"""A second that never comes."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a command asks for beyond the normal.

    ``force`` are definition keys to run again; ``refresh`` treats results older than their freshness as
    missing, otherwise they are kept with a warning; ``now`` in seconds since the epoch.
    """

    force: frozenset[str] = frozenset()
    refresh: bool = False
    now: int = 0


@dataclass(frozen=True, slots=True)
class PlannedVertex:
    """The plan for one vertex. ``status`` is reused, build or expected; ``why`` says so in words.

    ``seconds`` is what it cost last time as decimal text, empty when it never ran here.
    """

    vertex: str
    name: str
    layer: str
    status: str
    executes: bool
    key: str = ""
    why: str = ""
    seconds: str = ""
    record: Record | None = None
    parts: KeyParts | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan for a Definition: its vertices in an order where inputs come first, without sources."""

    graph: BuildGraph
    vertices: tuple[PlannedVertex, ...]
    results: dict[str, Result] = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = ()

    @property
    def has_work(self) -> bool:
        """Whether anything is to be built, or may be."""
        return any(vertex.status != "reused" for vertex in self.vertices)

    @property
    def holds_until(self) -> int:
        """With the same inputs and records there is nothing to do before that second; 0 when there is something now,
        or when the host's tools, which nobody watches, are among the inputs.
        """
        watched = not any(isinstance(vertex.op, HostOp) for vertex in self.graph.definition.vertices.values())
        if self.has_work or self.warnings or not watched:
            return 0
        ends = [FOREVER]
        for item in self.vertices:
            window = self.graph.definition[item.vertex].info.freshness
            if window is not None and item.record is not None and not item.record.hermetic:
                ends.append(item.record.created + window)
        return min(ends)

    def of_status(self, status: str) -> tuple[PlannedVertex, ...]:
        """The vertices of one status."""
        return tuple(vertex for vertex in self.vertices if vertex.status == status)


def make_plan(
    graph: BuildGraph,
    *,
    project: str,
    tree: Tree,
    host: Host,
    lookup: Lookup,
    options: PlanOptions,
    targets: tuple[str, ...] = (),
) -> Plan:
    """Walks the Definition with the Lookup; starts nothing and changes nothing."""
    resolver = Resolver(graph.definition, tree, host, lookup)
    results: dict[str, Result] = {}
    planned: list[PlannedVertex] = []
    warnings: list[str] = []
    for key in graph.definition.needed(targets or graph.targets):
        now = resolver.immediate(key)
        if now is not None:
            results[key] = now
            continue
        item = _plan_vertex(key, graph.definition[key], resolver, results, project, lookup, options, warnings.append)
        if item.status == "reused" and item.record is not None:
            results[key] = item.record.result
        planned.append(item)
    return Plan(graph, tuple(planned), results, tuple(dict.fromkeys(warnings)))


def _plan_vertex(
    key: str,
    vertex: Vertex,
    resolver: Resolver,
    results: dict[str, Result],
    project: str,
    lookup: Lookup,
    options: PlanOptions,
    warn: Callable[[str], None],
) -> PlannedVertex:
    info = vertex.info
    parts = resolver.parts(key, results)
    runs = executes(vertex)
    if parts is None:
        last = lookup.latest(project, info.name)
        return PlannedVertex(
            key,
            info.name,
            info.layer,
            "expected",
            runs,
            why="an input is built first",
            seconds=last.seconds if last else "",
        )
    resolved = parts.key
    record = None if key in options.force else lookup.record(resolved)
    if record is not None and _is_old(vertex, record, options):
        if options.refresh:
            record = None
        else:
            warn(f"{info.name} is older than its freshness of {_days(info.freshness or 0)}; --refresh runs it again")
    if record is not None:
        return PlannedVertex(
            key, info.name, info.layer, "reused", runs, resolved, "same key", record.seconds, record, parts
        )
    return _missing(key, vertex, parts, project, lookup, resolver, forced=key in options.force)


def _missing(
    key: str, vertex: Vertex, parts: KeyParts, project: str, lookup: Lookup, resolver: Resolver, *, forced: bool
) -> PlannedVertex:
    """A vertex without a usable record, with the reason: what differs from the newest one of its name."""
    info, runs = vertex.info, executes(vertex)
    last = lookup.latest(project, info.name)
    if last is None:
        return PlannedVertex(key, info.name, info.layer, "build", runs, parts.key, "never built", "", None, parts)
    filesets = dict(last.filesets)
    changes = diff_parts(
        last.parts,
        parts,
        fileset=lambda digest: lookup.fileset(filesets.get(digest, digest)) or resolver.current_source(digest),
    )
    if forced:
        why = "asked to run again"
    elif not changes:
        why = "its result is not stored any more, or is too old"
    else:
        why = "changed: " + ", ".join(dict.fromkeys(change.part for change in changes[:3]))
    return PlannedVertex(key, info.name, info.layer, "build", runs, parts.key, why, last.seconds, None, parts, changes)


def _is_old(vertex: Vertex, record: Record, options: PlanOptions) -> bool:
    window = vertex.info.freshness
    if window is None or record.hermetic or not options.now:
        return False
    return max(0, options.now - record.created) > window


def _days(seconds: int) -> str:
    return f"{seconds // 86400} days" if seconds >= 172800 else f"{seconds // 3600} hours"
