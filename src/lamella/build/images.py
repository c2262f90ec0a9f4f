"""The use case ``build``: plan, solve what is missing, compose, tag."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lamella.build.options import BuildOptions, BuildReport, BuiltImage, VertexRow
from lamella.build.parts import Parts, lower, plan
from lamella.build.selection import Selection
from lamella.build.unmet import known_facts, refuse_unmet
from lamella.engines.base import Engine, EngineUse, SolveOptions, SolveOutcome, SolveRequest
from lamella.errors import ConfigError, InternalError
from lamella.graph.definition import Definition
from lamella.graph.events import EventSink, Message
from lamella.graph.op import ExecOp
from lamella.graph.record import Result
from lamella.graph.vertex import RootfsOf, executes
from lamella.images.compose import ComposedImage, ImageLayer, compose
from lamella.images.stored import StoredImage, full_name
from lamella.images.variants import named_variant
from lamella.oci.config import EPOCH
from lamella.oci.platform import parse_platform
from lamella.planning.lowering import BuildGraph, ImagePlan
from lamella.planning.plan import Plan, PlannedVertex, PlanOptions
from lamella.planning.walk import Resolver
from lamella.project.later import refuse_later
from lamella.store.store import Store

__all__ = ["build_images", "build_layer", "forced_vertices", "image_layers"]


def build_images(
    parts: Parts,
    selection: Selection,
    options: BuildOptions,
    *,
    store: Store,
    engine: Callable[[], Engine],
    sink: EventSink,
    known: Callable[[tuple[StoredImage, ...]], object] = lambda images: None,
) -> BuildReport:
    """Builds the selected images into the store. The engine is made only when something is missing.

    ``known`` is called with all images when their layers are in the store and they themselves are about to be.
    """
    start = parts.clock.monotonic()
    with store.lease("build"):
        work = _Build(parts, selection, options, store, sink)
        results = work.solve(engine)
        composed = [(image, work.compose(image, results)) for image in work.graph.images]
        known(tuple(work.described(*one) for one in composed))
        images = tuple(work.store_image(*one) for one in composed)
    seconds = parts.clock.monotonic() - start
    return BuildReport(images, work.rows, seconds, work.plan.warnings, work.plan.holds_until, work.used)


def build_layer(
    parts: Parts,
    selection: Selection,
    options: BuildOptions,
    *,
    store: Store,
    engine: Callable[[], Engine],
    sink: EventSink,
) -> tuple[BuildGraph, dict[str, Result], BuildReport]:
    """Builds one layer's product (``--target``) and what it stands on, no image."""
    start = parts.clock.monotonic()
    with store.lease("build"):
        work = _Build(parts, selection, options, store, sink)
        results = work.solve(engine)
    seconds = parts.clock.monotonic() - start
    report = BuildReport((), work.rows, seconds, work.plan.warnings, work.plan.holds_until, work.used)
    return work.graph, results, report


def forced_vertices(graph: BuildGraph, options: BuildOptions) -> frozenset[str]:
    """Definition keys that the options ask to run again."""
    forced = set()
    kinds = {item.layer.name: item.layer.kind for item in graph.layers}
    unknown = [name for name in options.no_cache_filter if name not in kinds]
    if unknown:
        raise ConfigError(
            f"--no-cache-filter names layer {unknown[0]!r}, which no selected image uses",
            hint=f"layers are {', '.join(sorted(kinds))}",
        )
    for key, vertex in graph.definition.vertices.items():
        if not executes(vertex):
            continue
        own = isinstance(vertex.op, ExecOp) and kinds.get(vertex.info.layer, "base") != "base"
        if options.no_cache or (options.rebuild and own) or vertex.info.layer in options.no_cache_filter:
            forced.add(key)
    return frozenset(forced)


def image_layers(definition: Definition, plan: ImagePlan, results: Mapping[str, Result]) -> tuple[tuple[str, str], ...]:
    """The layers of an image that hold anything, lowest first: who made each, and its diff_id."""
    made = [(definition[key].info.name, results[key]) for key in definition.chain(plan.base)]
    made += [(part.layer, results[part.vertex]) for part in plan.parts]
    return tuple((name, layer.diff_id) for name, result in made for layer in result.layers if layer.entries)


def _planned_row(item: PlannedVertex) -> VertexRow:
    """The row of a vertex that nothing was done for."""
    why = item.why if item.status == "restored" else ""
    return VertexRow(item.name, item.layer, item.status, 0.0, item.key, why)


class _Build:
    """One build in progress."""

    def __init__(
        self, parts: Parts, selection: Selection, options: BuildOptions, store: Store, sink: EventSink
    ) -> None:
        self.parts = parts
        self.options = options
        self.store = store
        self.sink = sink
        self.graph = lower(parts, selection)
        self._refuse_later()
        forced = forced_vertices(self.graph, options)
        now = parts.clock.now()
        self.plan: Plan = plan(parts, selection, PlanOptions(forced, options.refresh, now), self.graph)
        self.targets = self.graph.layer_vertices(selection.layer) if selection.layer else self.graph.targets
        self.images = () if selection.layer else self.graph.images
        self.rows: tuple[VertexRow, ...] = ()
        self.used: EngineUse | None = None
        self._resolver = Resolver(self.graph.definition, parts.tree, parts.host, parts.lookup)
        for warning in self.plan.warnings:
            sink.emit(Message(parts.clock.monotonic(), "warning", warning))
        refuse_unmet(self.images, known_facts(self._resolver, self.plan.results))

    def _refuse_later(self) -> None:
        """Keys that the wanted layers and images use and that do not work yet, before anything is done for them."""
        images = {image.image.name for image in self.graph.images}
        layers = {item.layer.name for item in self.graph.layers}
        refuse_later(self.parts.project, "build", images=images, layers=layers)

    def solve(self, engine: Callable[[], Engine]) -> dict[str, Result]:
        """Results of all vertices; the engine runs only when the plan has work or a layer has no blob yet."""
        results = self._solve(engine)
        for row in self.rows:  # what was taken up again is what the next change is told against
            if row.outcome == "reused":
                self.store.records.prefer(self.parts.project.name, row.name, row.key)
        return results

    def _solve(self, engine: Callable[[], Engine]) -> dict[str, Result]:
        exports = frozenset(key for image in self.images for key in self.graph.definition.chain(image.base))
        if self.options.export_all:
            exports |= self._root_file_systems()
        if not self.plan.has_work and self._all_exported(exports):
            self.rows = tuple(_planned_row(item) for item in self.plan.vertices)
            return dict(self.plan.results)
        stale = {item.vertex for item in self.plan.vertices if item.status == "build"}
        stale |= {i.vertex for i in self.plan.vertices if i.status == "expected"} & self._forced()
        request = SolveRequest(
            self.parts.project.name,
            self.graph.definition,
            self.targets,
            exports,
            SolveOptions(
                self.options.jobs,
                self.options.memory,
                frozenset(self._forced() | self._refreshed(stale)),
                self.options.no_cache,
                self.options.refresh,
                self.options.offline,
                self.options.strict,
                compressor=self.options.compressor or "gzip",
            ),
            self.options.secrets,
        )
        outcome = engine().solve(request, self.sink)
        self.rows, self.used = self._solved_rows(outcome), outcome.engine
        results = {key: item.result for key, item in outcome.vertices.items()}
        refuse_unmet(self.images, known_facts(self._resolver, results))
        return results

    def _root_file_systems(self) -> frozenset[str]:
        """All that steps stand on, toolchains too."""
        definition = self.graph.definition
        edges = (edge for key in definition.needed(self.targets) for edge in definition[key].inputs)
        roots = {edge.vertex for edge in edges if isinstance(edge.selection, RootfsOf)}
        return frozenset(key for root in roots for key in definition.chain(root))

    def _forced(self) -> frozenset[str]:
        return forced_vertices(self.graph, self.options)

    def _refreshed(self, stale: set[str]) -> set[str]:
        """With ``--refresh`` what the plan found too old has a record and must still run."""
        if not self.options.refresh:
            return set()
        return {key for key in stale if self.graph.definition[key].info.freshness is not None}

    def _all_exported(self, exports: frozenset[str]) -> bool:
        for key in exports:
            result = self.plan.results.get(key)
            if result is None or any(not self.store.variants.known(layer.diff_id) for layer in result.layers):
                return False
            if not result.layers and executes(self.graph.definition[key]):
                return False
        return True

    def _solved_rows(self, outcome: SolveOutcome) -> tuple[VertexRow, ...]:
        why = {item.vertex: item.why for item in self.plan.vertices}
        rows = []
        for key, item in outcome.vertices.items():
            if item.outcome == "source" or item.record is None:
                continue
            info = self.graph.definition[key].info
            reason = why.get(key, "") if item.outcome == "built" else ""
            evidence = item.record.evidence.lines if item.outcome == "built" else ()
            rows.append(
                VertexRow(info.name, info.layer, item.outcome, item.seconds, item.record.key, reason, 0, evidence)
            )
        return tuple(rows)

    def compose(self, plan: ImagePlan, results: dict[str, Result]) -> ComposedImage:
        """An image, with its layers in the store."""
        facts = known_facts(self._resolver, results)(plan.base)
        if facts is None:
            raise InternalError(f"the base facts of image {plan.image.name!r} are gone")
        created = self.options.created or EPOCH
        return compose(plan, self._layers(plan, results), facts, labels=self.options.labels, created=created)

    def described(self, plan: ImagePlan, composed: ComposedImage) -> StoredImage:
        """What ``read_image`` will give when the image is in the store."""
        names = tuple(dict.fromkeys(full_name(name) for name in self._names(plan)))
        descriptor = composed.manifest.descriptor(composed.config.platform)
        return StoredImage(names, descriptor, composed.manifest, composed.config)

    def _layers(self, plan: ImagePlan, results: dict[str, Result]) -> tuple[ImageLayer, ...]:
        layers = image_layers(self.graph.definition, plan, results)
        restorer, compressor = self.parts.restorer, self.options.compressor
        return tuple(
            ImageLayer(name, named_variant(self.store, diff_id, compressor, restorer), diff_id)
            for name, diff_id in layers
        )

    def _names(self, plan: ImagePlan) -> tuple[str, ...]:
        return (plan.image.local_name, *self.options.tags)

    def store_image(self, plan: ImagePlan, composed: ComposedImage) -> BuiltImage:
        """Stores an image and gives it its local names."""
        blobs = self.store.blobs
        blobs.put_bytes(composed.config.to_bytes())
        blobs.put_bytes(composed.manifest.to_bytes())
        descriptor = composed.manifest.descriptor(parse_platform(plan.cell.platform))
        names = self._names(plan)
        known = {name: self.store.images.resolve(name) for name in names}
        changed = False
        for name, before in known.items():
            if before is None or before.digest != descriptor.digest:
                self.store.images.tag(name, descriptor)
                changed = True
        layers = tuple((layer.name, layer.diff_id, layer.descriptor.size) for layer in composed.layers)
        return BuiltImage(
            plan.image.name,
            str(plan.cell),
            plan.cell.platform,
            descriptor,
            composed.manifest.config.digest,
            layers,
            names,
            changed,
        )
