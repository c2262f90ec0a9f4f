"""Lowers cells to one Definition: every layer through its stack adapter, every image to its parts."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.errors import InternalError
from lamella.graph.definition import Definition, DefinitionBuilder
from lamella.graph.op import InlineFile, InlineOp, PlaceOp
from lamella.graph.protocols import Host, Tree
from lamella.graph.vertex import AllPaths, FactsOf, Input, Paths, Vertex, VertexInfo
from lamella.oci.platform import ANY
from lamella.planning.defaults_file import render_defaults
from lamella.project.cells import Cell
from lamella.project.lock import Lock
from lamella.project.spec import BaseSpec, CellSpec, ImageSpec, LayerSpec, Need
from lamella.stacks.base import LowerContext, Lowered, NeededProduct, Placement, Requirement, Rootfs, Stack, layer_error
from lamella.stacks.toolchain import DEFAULT_SUITE
from lamella.values import dataclass, field

__all__ = ["BuildGraph", "ImagePart", "ImagePlan", "LoweredLayer", "PlanningInputs", "lower_cells"]


@dataclass(frozen=True, slots=True)
class PlanningInputs:
    """What lowering is handed besides the cells."""

    tree: Tree
    lock: Lock
    host: Host
    stacks: Mapping[str, Stack]
    execution: str = ""
    """First legal platform of the project: where steps of platform-free results run."""


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One layer of an image above its base: the placement vertex and the layer it comes from."""

    layer: str
    vertex: str


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An image of one cell as vertices: the chain's top, the parts above it, and what is known for its config."""

    image: ImageSpec
    cell: Cell
    base: str
    parts: tuple[ImagePart, ...]
    requirements: tuple[Requirement, ...] = ()
    entrypoints: tuple[tuple[str, ...], ...] = ()
    path: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """All vertices the image is made of."""
        return (self.base, *(part.vertex for part in self.parts))


@dataclass(frozen=True, slots=True)
class LoweredLayer:
    """A layer of one cell with its vertices, for ``explain``, ``export`` and ``shell``."""

    layer: LayerSpec
    cell: Cell
    lowered: Lowered


@dataclass(frozen=True, slots=True)
class BuildGraph:
    """The Definition of all wanted cells, their images and layers."""

    definition: Definition
    images: tuple[ImagePlan, ...]
    layers: tuple[LoweredLayer, ...]
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The vertices of all images, each once."""
        return tuple(dict.fromkeys(vertex for image in self.images for vertex in image.targets))

    def layer_vertices(self, name: str) -> tuple[str, ...]:
        """Product or root file system vertices of a layer in all cells; empty when no image uses it."""
        found = (item.lowered for item in self.layers if item.layer.name == name)
        tops = (low.product or (low.rootfs.vertex if low.rootfs else "") for low in found)
        return tuple(dict.fromkeys(top for top in tops if top))


def lower_cells(cells: tuple[CellSpec, ...], given: PlanningInputs, *, layer: str = "") -> BuildGraph:
    """One Definition for all cells; ``layer`` lowers that layer too although no image may hold it."""
    builder = DefinitionBuilder()
    images: list[ImagePlan] = []
    layers: list[LoweredLayer] = []
    for cell in cells:
        lowering = _CellLowering(cell, given, builder)
        images += [lowering.image(image) for image in cell.images]
        if layer:
            lowering.layer(layer)
        layers += [LoweredLayer(cell.layer(name), cell.cell, low) for name, low in lowering.done.items()]
    notes = tuple(dict.fromkeys(note for item in layers for note in item.lowered.notes))
    return BuildGraph(builder.build(), tuple(images), tuple(layers), notes)


@dataclass
class _CellLowering:
    """Work in progress over one cell."""

    cell: CellSpec
    given: PlanningInputs
    builder: DefinitionBuilder
    done: dict[str, Lowered] = field(default_factory=dict)

    def layer(self, name: str) -> Lowered:
        """A layer that does not depend on the image it is in."""
        if name not in self.done:
            self.done[name] = self._lower(self.cell.layer(name), None)
        return self.done[name]

    def _lower(self, layer: LayerSpec, chain: Rootfs | None) -> Lowered:
        stack = self.given.stacks.get(layer.kind)
        if stack is None:
            raise layer_error(layer, f"layers of kind {layer.kind!r} are not yet supported")
        rootfs = chain
        if layer.on is not None:
            rootfs = self.layer(layer.on).rootfs
            if rootfs is None:
                raise layer_error(layer, f"'on' names layer {layer.on!r}, which is not a root file system")
        above = getattr(layer.spec, "above", None)
        return stack.lower(
            LowerContext(
                project=self.cell.project,
                layer=layer,
                cell=self.cell.cell,
                tree=self.given.tree,
                lock=self.given.lock,
                host=self.given.host,
                graph=self.builder,
                platform=self.cell.cell.platform,
                execution=self.cell.cell.platform,
                rootfs=rootfs,
                needs=tuple(self._needed(layer, need) for need in layer.needs),
                above=self.layer(above) if above else None,
                bases=self._bases(layer.name),
            )
        )

    def _bases(self, layer: str) -> tuple[str, ...]:
        """The names in the lock of the bases that a layer lands on, over all images of the cell."""
        found: list[str] = []
        for image in self.cell.images:
            if layer in image.layers:
                specs = [self.cell.layer(name).spec for name in image.layers]
                roots = [spec for spec in specs if isinstance(spec, BaseSpec) and spec.is_root]
                found.append((roots[0].from_ or roots[0].bootstrap or DEFAULT_SUITE) if roots else DEFAULT_SUITE)
        return tuple(dict.fromkeys(found))

    def _needed(self, layer: LayerSpec, need: Need) -> NeededProduct:
        low = self.layer(need.layer)
        if low.rootfs is not None:
            return NeededProduct(need, low.rootfs.vertex, is_rootfs=True)
        if not low.product:
            raise layer_error(layer, f"layer {need.layer!r} has no single product that can be needed")
        return NeededProduct(need, low.product)

    def image(self, image: ImageSpec) -> ImagePlan:
        """The image's chain, then its file layers in listed order, then directories and defaults."""
        chain = self._chain(image)
        lowered = [
            (name, self.layer(name)) for name in image.layers if self.cell.layer(name).kind not in ("base", "run")
        ]
        parts = [
            ImagePart(name, self._place(name, placement, chain))
            for name, low in lowered
            for placement in low.placements
        ]
        parts += self._config_parts(image, chain)
        return ImagePlan(
            image,
            self.cell.cell,
            chain.vertex,
            tuple(parts),
            tuple(requirement for _, low in lowered for requirement in low.requirements),
            tuple(dict.fromkeys(entry for _, low in lowered for entry in low.entrypoints)),
            tuple(dict.fromkeys(path for _, low in lowered for path in low.path)),
        )

    def _chain(self, image: ImageSpec) -> Rootfs:
        """The root file system under the image's file layers: base, packages on it, ``run`` steps in order."""
        chain: Rootfs | None = None
        for name in image.layers:
            layer = self.cell.layer(name)
            if layer.kind not in ("base", "run"):
                continue
            if layer.kind == "run" and chain is None:
                chain = self._default_base(image)
            own_root = isinstance(layer.spec, BaseSpec) and (layer.spec.is_root or chain is None)
            low = self.layer(name) if own_root else self._lower(layer, chain)
            if low.rootfs is None:
                raise InternalError(f"layer {name!r} of kind {layer.kind} has no root file system")
            if own_root and chain is not None:
                raise layer_error(layer, f"image {image.name!r} already has a base", hint="an image has one root")
            if low.rootfs.host:
                raise layer_error(
                    layer,
                    f"image {image.name!r} cannot stand on the host's own files",
                    hint="use host = true only for layers named by 'on'",
                )
            self.done[name] = low
            chain = low.rootfs
        return chain or self._default_base(image)

    def _default_base(self, image: ImageSpec) -> Rootfs:
        layer = LayerSpec("default-base", BaseSpec(bootstrap=DEFAULT_SUITE), position=image.position)
        low = self._lower(layer, None)
        if low.rootfs is None:
            raise InternalError("the default base has no root file system")
        return low.rootfs

    def _place(self, name: str, placement: Placement, chain: Rootfs, facts: tuple[str, ...] = ()) -> str:
        op = PlaceOp(placement.target, placement.owner, placement.mode, placement.source, placement.rename)
        selection = Paths((placement.source,)) if placement.source else AllPaths()
        edges = (
            Input(placement.vertex, selection, "product"),
            Input(chain.vertex, FactsOf(facts or (placement.target,), (placement.owner,)), "base facts"),
        )
        label = placement.name if placement.name.startswith(f"{name}:") else name  # one of several of a layer
        info = VertexInfo(f"{label} -> {placement.target}", name, local=self.builder[placement.vertex].info.local)
        return self.builder.add(Vertex(op, edges, ANY, ANY, info))

    def _config_parts(self, image: ImageSpec, chain: Rootfs) -> list[ImagePart]:
        """``dirs`` and the defaults file: small layers that planning itself makes."""
        groups: dict[str, list[InlineFile]] = {}
        for path, owner in image.dirs.items():
            groups.setdefault(owner, []).append(InlineFile(path.strip("/"), mode=0o755, directory=True))
        name = f"{image.name}:config"
        parts = []
        for owner, files in sorted(groups.items()):
            placed = Placement(self._inline(image, f"dirs {owner}", tuple(files)), "/", owner)
            paths = tuple(f"/{file.path}" for file in files)
            parts.append(ImagePart(name, self._place(name, placed, chain, paths)))
        defaults = image.defaults
        if defaults is not None and defaults.as_ == "file" and defaults.file and defaults.values:
            data = InlineFile(defaults.file.rpartition("/")[2], render_defaults(defaults))
            placed = Placement(self._inline(image, "defaults", (data,)), defaults.file, rename=True)
            parts.append(ImagePart(name, self._place(name, placed, chain)))
        return parts

    def _inline(self, image: ImageSpec, what: str, files: tuple[InlineFile, ...]) -> str:
        return self.builder.add(Vertex(InlineOp(files), (), ANY, ANY, VertexInfo(f"{image.name}:{what}", image.name)))
