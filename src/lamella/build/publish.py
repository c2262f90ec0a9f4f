"""The use case ``publish``: which cells and tags, build what is missing, compose, push.

Nothing is stored but what the steps make: manifests and configs are composed from records and go straight to the
registry, and a layer that only a cache repository has is named without being fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from lamella.build.images import build_layer, image_layers
from lamella.build.options import BuildOptions, VertexRow
from lamella.build.parts import Parts, lower, plan
from lamella.build.selection import Selection
from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.engines.base import Engine, EngineUse
from lamella.errors import InternalError, LamellaError, ResourceError, StoreBusyError
from lamella.graph.definition import Definition
from lamella.graph.events import Event, EventSink, VertexFinished
from lamella.graph.facts import BaseFacts
from lamella.graph.op import ImageOp
from lamella.graph.record import Result
from lamella.images.compose import ImageLayer, compose
from lamella.images.describe import describe, described_labels
from lamella.images.forms import LayerForms
from lamella.images.index import CellPlan
from lamella.images.publish import Release
from lamella.images.push import Attachment, Parcel
from lamella.oci.config import EPOCH
from lamella.planning.lowering import BuildGraph, ImagePlan
from lamella.planning.plan import PlanOptions
from lamella.planning.walk import Resolver
from lamella.project.cells import ImageCell
from lamella.registry.layout import LOCAL_SCHEMES
from lamella.store.store import Store
from lamella.values import dataclass, field

if TYPE_CHECKING:
    from lamella.images.attest.provenance import BuildFacts

__all__ = ["Composer", "MadeCells", "build_cells", "planned_cells"]


@dataclass(frozen=True, slots=True)
class MadeCells:
    """Cells with everything that their images are made of; ``failed`` could not be built, ``pending`` were not."""

    graph: BuildGraph
    results: Mapping[str, Result]
    rows: tuple[VertexRow, ...] = ()
    failed: Mapping[ImageCell, LamellaError] = field(default_factory=dict)
    pending: tuple[ImageCell, ...] = ()
    holds_until: int = 0
    engine: EngineUse | None = None

    @property
    def images(self) -> tuple[tuple[ImageCell, ImagePlan], ...]:
        """The cells that can be composed."""
        return tuple(
            (ImageCell(image.image.name, image.cell, image.image.allow_failure), image)
            for image in self.graph.images
            if all(key in self.results for key in image.targets)
        )


class _FailureWatch:
    """A sink that remembers which vertices failed and hands everything on."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self.failed: set[str] = set()

    def emit(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, VertexFinished) and event.outcome == "failed":
            self.failed.add(event.vertex)
        self._sink.emit(event)


def build_cells(
    parts: Parts,
    cells: Iterable[ImageCell],
    options: BuildOptions,
    *,
    store: Store,
    engine: Callable[[], Engine],
    sink: EventSink,
) -> MadeCells:
    """Builds what is missing of some cells. A cell whose step fails is left out and the others are gone on with.

    Raises what concerns all cells: errors of the project, of this machine, and those that no vertex stands for.
    """
    remaining, failed = tuple(cells), dict[ImageCell, LamellaError]()
    rows: list[VertexRow] = []
    while remaining:
        watch = _FailureWatch(sink)
        try:
            graph, results, report = build_layer(
                parts, Selection(cells=remaining), options, store=store, engine=engine, sink=watch
            )
        except (ResourceError, StoreBusyError, InternalError):
            raise
        except LamellaError as error:
            hit = _standing_on(parts, remaining, watch.failed)
            if not hit:
                raise
            failed |= dict.fromkeys(hit, error)
            remaining = tuple(cell for cell in remaining if cell not in hit)
            continue
        rows += report.vertices
        return MadeCells(graph, results, tuple(rows), failed, holds_until=report.holds_until, engine=report.engine)
    return MadeCells(BuildGraph(Definition(EMPTY_MAP), (), ()), {}, (), failed)


def _standing_on(parts: Parts, cells: tuple[ImageCell, ...], vertices: set[str]) -> tuple[ImageCell, ...]:
    """The cells whose images need one of the vertices."""
    if not vertices:
        return ()
    graph = lower(parts, Selection(cells=cells))
    found = {
        (image.image.name, image.cell)
        for image in graph.images
        if vertices.intersection(graph.definition.needed(image.targets))
    }
    return tuple(cell for cell in cells if (cell.image, cell.cell) in found)


def planned_cells(parts: Parts, cells: Iterable[ImageCell], options: BuildOptions) -> MadeCells:
    """The cells as far as records have them; those that would need a step, a fetch or a base are ``pending``."""
    wanted = tuple(cells)
    selection = Selection(cells=wanted)
    graph = lower(parts, selection)
    found = plan(parts, selection, PlanOptions(frozenset(), options.refresh, parts.clock.now()), graph)
    rows = tuple(VertexRow(item.name, item.layer, item.status, 0.0, item.key, item.why) for item in found.vertices)
    known = {
        (image.image.name, image.cell)
        for image in graph.images
        if all(key in found.results for target in image.targets for key in _layered(graph.definition, target, image))
    }
    pending = tuple(cell for cell in wanted if (cell.image, cell.cell) not in known)
    return MadeCells(graph, found.results, rows, {}, pending)


def _layered(definition: Definition, target: str, image: ImagePlan) -> tuple[str, ...]:
    return definition.chain(target) if target == image.base else (target,)


class Composer:
    """Makes parcels of built cells. ``attest`` says what goes with each; ``built_from`` tells what it came from,
    ``repository_name`` is the repository of a base's reference.
    """

    def __init__(
        self,
        parts: Parts,
        options: BuildOptions,
        forms: LayerForms,
        *,
        attest: tuple[str, ...],
        built_from: Callable[[ImagePlan], BuildFacts],
        repository_name: Callable[[str], str],
    ) -> None:
        self._parts = parts
        self._options = options
        self._forms = forms
        self._attest = attest
        self._built_from = built_from
        self._repository_name = repository_name

    def releases(self, made: MadeCells, plans: Iterable[CellPlan]) -> tuple[Release, ...]:
        """The releases of all cells that were made and that a plan is for, without attachments."""
        wanted = {(plan.where.image, plan.where.cell): plan for plan in plans}
        resolver = Resolver(made.graph.definition, self._parts.tree, self._parts.host, self._parts.lookup)
        fresh = _fresh(made)
        releases = []
        for where, image in made.images:
            plan = wanted.get((where.image, where.cell))
            if plan is not None and where not in made.pending:
                releases.append(self._release(made, plan, image, self._facts(resolver, made, image), fresh))
        return tuple(releases)

    def _facts(self, resolver: Resolver, made: MadeCells, image: ImagePlan) -> BaseFacts:
        facts = resolver.facts_of(image.base, made.results[image.base])
        if facts is None:
            raise InternalError(f"the base facts of image {image.image.name!r} are gone")
        return facts

    def _release(
        self, made: MadeCells, plan: CellPlan, image: ImagePlan, facts: BaseFacts, fresh: frozenset[str]
    ) -> Release:
        definition, options = made.graph.definition, self._options
        homes = self._homes(definition, image, made.results)
        layers = tuple(
            ImageLayer(name, self._forms.form(diff_id, options.compressor, homes.get(diff_id, "")), diff_id)
            for name, diff_id in image_layers(definition, image, made.results)
        )
        created = options.created or EPOCH
        composed = compose(image, layers, facts, labels=options.labels, created=created)
        labels = described_labels(
            title=image.image.name, version=self._parts.facts.version, base=_base_of(definition, image)
        )
        own = (*image.image.labels, *options.labels)
        described = describe(composed.manifest, composed.config, labels, own)
        digest = described.descriptor.digest
        attach = partial(self._attachments, definition, image, facts, plan, digest) if self._attest else tuple
        new = [layer.descriptor.digest for layer in layers if layer.diff_id in fresh]
        new += [described.manifest.config.digest] if new else []
        parcel = Parcel(described.manifest, described.config, attach, frozenset(new))
        return Release(plan, parcel, tuple(one.name for one in layers))

    def _homes(self, definition: Definition, image: ImagePlan, results: Mapping[str, Result]) -> dict[str, str]:
        """Where the layers of a base image lie, by diff_id."""
        bottom = definition.chain(image.base)[0]
        op = definition[bottom].op
        if not isinstance(op, ImageOp) or op.location.partition(":")[0] in LOCAL_SCHEMES:
            return {}
        return dict.fromkeys((layer.diff_id for layer in results[bottom].layers), self._repository_name(op.location))

    def _attachments(
        self, definition: Definition, image: ImagePlan, facts: BaseFacts, plan: CellPlan, digest: str
    ) -> tuple[Attachment, ...]:
        """Bills of materials and provenance, as far as they are wanted; their libraries are loaded here."""
        from lamella.images.attest.components import components
        from lamella.images.attest.provenance import IN_TOTO, PREDICATE, materials, provenance_json
        from lamella.images.attest.sbom import CYCLONEDX, SPDX, Subject, cyclonedx_json, spdx_json

        version, created = self._parts.facts.version or "", self._options.created or EPOCH
        subject = Subject(plan.repository, digest, image.image.name, version, plan.platform, created)
        documents: list[Attachment] = []
        if "sbom" in self._attest:
            found = components(image, definition, facts)
            documents.append(Attachment(CYCLONEDX, cyclonedx_json(subject, found)))
            documents.append(Attachment(SPDX, spdx_json(subject, found)))
        if "provenance" in self._attest:
            data = provenance_json(subject, self._built_from(image), materials(definition, image.targets))
            documents.append(Attachment(IN_TOTO, data, FrozenMap({"in-toto.io/predicate-type": PREDICATE})))
        return tuple(documents)


def _fresh(made: MadeCells) -> frozenset[str]:
    """diff_ids of the layers that were made just now and not found."""
    built = {row.key for row in made.rows if row.outcome == "built"}
    results = (result for result in made.results.values() if result.key in built)
    return frozenset(layer.diff_id for result in results for layer in result.layers)


def _base_of(definition: Definition, image: ImagePlan) -> tuple[str, str] | None:
    """Reference and manifest digest of the base image; None for one that was made or lies on disk."""
    op = definition[definition.chain(image.base)[0]].op
    if not isinstance(op, ImageOp) or op.location.partition(":")[0] in LOCAL_SCHEMES:
        return None
    return op.location.partition("@")[0], op.digest
