"""Plans: what a build would do, before it does anything (DESIGN 3b "Planning", 7b.10).

``reused`` vertices have a record in the store, ``restored`` ones in a cache repository. ``build`` vertices have a
known key and no record. After a miss everything that follows is ``expected``: its key is not known yet, its cost comes
from history, and it may turn out reused.
"""

from __future__ import annotations

from collections.abc import Callable

from lamella.graph.definition import Definition
from lamella.graph.explain import Change, diff_parts
from lamella.graph.keys import KeyParts
from lamella.graph.op import HostOp, InlineOp, SourceOp
from lamella.graph.protocols import Host, Lookup, Tree
from lamella.graph.record import Record, Result
from lamella.graph.vertex import AllPaths, Paths, RootfsOf, Vertex, executes
from lamella.planning.lowering import BuildGraph
from lamella.planning.walk import Resolver
from lamella.values import dataclass, field

__all__ = ["FOREVER", "ROUND_TRIP", "Plan", "PlanOptions", "PlannedVertex", "make_plan"]


FOREVER = 1 << 62
"""A second that never comes."""

ROUND_TRIP = 0.3
"""Seconds that asking a registry may take: what is made in less is not asked for."""


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
    """The plan for one vertex. ``status`` is reused, restored, build or expected; ``why`` says so in words.

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
        return any(vertex.status not in ("reused", "restored") for vertex in self.vertices)

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
    origin: Callable[[str], str] = lambda key: "",
) -> Plan:
    """Walks the Definition with the Lookup, level by level, so that all records whose keys are known are asked for at
    once; starts nothing. ``origin`` names the repository that a record was found in, empty for the store.
    """
    walk = _Walk(graph, Resolver(graph.definition, tree, host, lookup), project, lookup, options, origin)
    needed = graph.definition.needed(targets or graph.targets)
    for level in _levels(graph.definition, needed):
        walk.level(level)
    planned = tuple(walk.planned[key] for key in needed if key in walk.planned)
    return Plan(graph, planned, walk.results, tuple(dict.fromkeys(walk.warnings)))


def _levels(definition: Definition, keys: tuple[str, ...]) -> list[list[str]]:
    """Vertices by the length of the longest way to them: what stands on one level knows all lower ones."""
    depth: dict[str, int] = {}
    levels: list[list[str]] = []
    for key in keys:  # inputs come first
        depth[key] = max((depth[edge.vertex] + 1 for edge in definition[key].inputs), default=0)
        levels.extend([] for _ in range(depth[key] + 1 - len(levels)))
        levels[depth[key]].append(key)
    return levels


class _Walk:
    """One walk: results that are known, and the plan of each vertex."""

    def __init__(
        self,
        graph: BuildGraph,
        resolver: Resolver,
        project: str,
        lookup: Lookup,
        options: PlanOptions,
        origin: Callable[[str], str],
    ) -> None:
        self._definition = graph.definition
        self._resolver = resolver
        self._project = project
        self._lookup = lookup
        self._options = options
        self._origin = origin
        self.results: dict[str, Result] = {}
        self.planned: dict[str, PlannedVertex] = {}
        self.warnings: list[str] = []

    def level(self, keys: list[str]) -> None:
        """Plans vertices whose inputs are all planned."""
        parts: dict[str, KeyParts | None] = {}
        for key in keys:
            now = self._resolver.immediate(key)
            if now is not None:
                self.results[key] = now
            else:
                parts[key] = self._resolver.parts(key, self.results)
        asked = {known.key: key for key, known in parts.items() if known is not None and key not in self._options.force}
        if asked:
            self._lookup.prefetch(tuple(asked), lambda resolved: self._is_worth_asking(asked[resolved]))
        for key, known in parts.items():
            item = self._expected(key) if known is None else self._known(key, known)
            if item.record is not None:
                self.results[key] = item.record.result
            self.planned[key] = item

    def _is_worth_asking(self, key: str) -> bool:
        """Whether another place should be asked for a record that is not here: not for files of the project that were
        laid out in no time before, so that an edit costs no round trip. Where it never ran, nobody knows.
        """
        vertex = self._definition[key]
        if executes(vertex) or any(isinstance(edge.selection, RootfsOf) for edge in vertex.inputs):
            return True
        products = (e.vertex for e in vertex.inputs if isinstance(e.selection, (AllPaths, Paths)))
        ops = [self._definition[product].op for product in products]
        if not ops or not all(isinstance(op, (SourceOp, InlineOp)) for op in ops):
            return True
        last = self._lookup.latest(self._project, vertex.info.name)
        return last is None or float(last.seconds) >= ROUND_TRIP

    def _expected(self, key: str) -> PlannedVertex:
        """A vertex whose key is not known yet."""
        vertex = self._definition[key]
        info, last = vertex.info, self._lookup.latest(self._project, vertex.info.name)
        seconds = last.seconds if last else ""
        why = "an input is built first"
        return PlannedVertex(key, info.name, info.layer, "expected", executes(vertex), why=why, seconds=seconds)

    def _known(self, key: str, parts: KeyParts) -> PlannedVertex:
        vertex, options = self._definition[key], self._options
        info = vertex.info
        record = None if key in options.force else self._lookup.record(parts.key)
        if record is not None and _is_old(vertex, record, options):
            if options.refresh:
                record = None
            else:
                days = _days(info.freshness or 0)
                self.warnings.append(f"{info.name} is older than its freshness of {days}; --refresh runs it again")
        if record is None:
            forced = key in options.force
            return _missing(key, vertex, parts, self._project, self._lookup, self._resolver, forced=forced)
        origin = self._origin(parts.key)
        status, why = ("restored", f"from {origin}") if origin else ("reused", "same key")
        return PlannedVertex(
            key, info.name, info.layer, status, executes(vertex), parts.key, why, record.seconds, record, parts
        )


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
        names = list(dict.fromkeys(change.part for change in changes))
        why = "changed: " + ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return PlannedVertex(key, info.name, info.layer, "build", runs, parts.key, why, last.seconds, None, parts, changes)


def _is_old(vertex: Vertex, record: Record, options: PlanOptions) -> bool:
    window = vertex.info.freshness
    if window is None or record.hermetic or not options.now:
        return False
    return max(0, options.now - record.created) > window


def _days(seconds: int) -> str:
    return f"{seconds // 86400} days" if seconds >= 172800 else f"{seconds // 3600} hours"
