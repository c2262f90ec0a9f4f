"""From a project file to one cell: images, and every layer they use, with all variables filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.project.cells import PLATFORM, PROFILE, Cell, matches
from lamella.project.check import nearest
from lamella.project.decode import Decoder
from lamella.project.expand_image import ImageResult, build_image, local_name
from lamella.project.expand_layer import LayerResult, Use, build_layer
from lamella.project.merge import axes_of_when, effective, without
from lamella.project.projectfile import ProjectFile
from lamella.project.schema.image import IMAGE
from lamella.project.schema.layer import LAYER
from lamella.project.spec import BaseSpec, CellSpec, LayerSpec
from lamella.project.template import Scope, TemplateFacts, variable_axes
from lamella.project.toml import Node
from lamella.values import dataclass, field

__all__ = ["Expander", "complete_args", "expand"]

_Key = tuple[str, ...]


def complete_args(project: ProjectFile, given: Mapping[str, str]) -> FrozenMap[str, str]:
    """The project's arguments with ``given`` values; raises ConfigError for one that is not declared."""
    for name in given:
        if name not in project.args:
            hint = nearest(name, project.args) or f"declare {name} under [args] in {project.file}"
            raise ConfigError(f"there is no build argument {name!r}", hint=hint)
    return project.args.with_items(given)


def expand(
    project: ProjectFile,
    *,
    cell: Cell,
    args: Mapping[str, str] | None = None,
    facts: TemplateFacts | None = None,
    images: Iterable[str] | None = None,
    layers: Iterable[str] = (),
) -> CellSpec:
    """The images of ``cell`` (or some of them) and every layer they use, and ``layers`` with what those use.

    ``args`` are values for the project's arguments, ``facts`` what is known of version, commit, time and caller.
    Raises ConfigError with all problems: a variable without a value, a rendered string without its form, a layer
    without exactly one kind, a cycle, a name that is not there.
    """
    expander = Expander(project, complete_args(project, args or {}), facts or TemplateFacts())
    legal = tuple(name for name in project.images if matches(project.image_cells[name], cell))
    wanted = legal if images is None else tuple(images)
    targets = tuple(layers)
    for name in targets:
        if name not in project.layers:
            raise ConfigError(f"there is no layer {name!r}", hint=nearest(name, project.layers))
    for name in wanted:
        if name not in project.images:
            raise ConfigError(f"there is no image {name!r}", hint=nearest(name, project.images))
        if name not in legal:
            raise ConfigError(f"image {name} has no cell {cell}", hint="its `cells` exclude it")
    spec = expander.cell(cell, wanted, targets)
    if expander.problems:
        raise ConfigError.from_problems(tuple(set(expander.problems)))
    return spec


@dataclass(slots=True)
class Expander:
    """Expands cells of one project; layers and images that do not depend on an axis are made once.

    ``problems`` collects what is wrong, possibly more than once. ``broken`` are tables (``layer.app``) whose problems
    are known already: what refers to them is left alone.
    """

    project: ProjectFile
    args: FrozenMap[str, str]
    facts: TemplateFacts
    problems: list[Problem] = field(default_factory=list)
    broken: frozenset[str] = frozenset()
    _axes: dict[_Key, frozenset[str]] = field(default_factory=dict)
    _layers: dict[_Key, LayerResult] = field(default_factory=dict)
    _images: dict[_Key, ImageResult] = field(default_factory=dict)

    @property
    def used_layers(self) -> frozenset[str]:
        """The names of all layers made so far."""
        return frozenset(key[0] for key in self._layers)

    def cell(self, cell: Cell, images: Iterable[str], layers: Iterable[str] = ()) -> CellSpec:
        """The cell with ``images`` and further ``layers``; incomplete when ``problems`` are found."""
        order: dict[str, LayerResult] = {}
        specs = []
        for name in images:
            result = self.image(name, cell)
            for layer, node in result.layers:
                self._visit(Use(f"image.{name}.layers", layer, node), cell, order, ())
            self._image_rules(name, result, order)
            if result.spec is not None:
                specs.append(result.spec)
        for name in layers:
            self._visit(Use("layers", name, self.project.layers[name]), cell, order, ())
        found = tuple(result.spec for result in order.values() if result.spec is not None)
        names = {name for layer in found for name in _secret_names(layer)}
        secrets = FrozenMap({name: secret for name, secret in self.project.secrets.items() if name in names})
        return CellSpec(cell, self.project.name, tuple(specs), found, secrets)

    def layer(self, name: str, cell: Cell) -> LayerResult:
        """One layer, whether or not an image uses it."""
        node = self.project.layers[name]
        key = self._key("layer", name, (node,), cell)
        found = self._layers.get(key)
        if found is None:
            table = effective(node, LAYER, cell.values, self._report)
            found = build_layer(name, table, cell.profile, self._decoder(cell))
            self._layers[key] = found
            self._names(name, table, found)
        return found

    def image(self, name: str, cell: Cell) -> ImageResult:
        """One image."""
        chain = _chain(self.project, name)
        key = self._key("image", name, chain, cell)
        found = self._images.get(key)
        if found is None:
            table: Node | None = None
            for node in reversed(chain):
                below = None if table is None else without(table, "tags", "cells", "extends")
                table = effective(node, IMAGE, cell.values, self._report, below=below, prod_only=("tags",))
            found = build_image(
                name,
                chain[0] if table is None else table,
                cell,
                self._decoder(cell),
                repository=self.project.repository,
                local=local_name(self.project.name, name, cell, self._defaults(cell)),
                allow_failure=any(matches(pattern, cell) for pattern in self.project.allow_failure),
            )
            self._images[key] = found
        return found

    def _decoder(self, cell: Cell) -> Decoder:
        return Decoder(self.project.file, Scope(self.facts, cell.values, self.args), self.problems)

    def _report(self, node: Node, message: str, hint: str) -> None:
        self.problems.append(Problem(self.project.file, node.line, node.column, message, hint))

    def _defaults(self, cell: Cell) -> dict[str, str]:
        """The default value of each axis; platform: this machine's, or the cell's when nobody knows."""
        values = {axis: names[0] for axis, names in self.project.axes.items() if names}
        platforms = self.project.axes[PLATFORM]
        host = self.facts.host
        if host is not None and (not platforms or host in platforms):
            values[PLATFORM] = host
        values.setdefault(PLATFORM, cell.platform)
        return values

    def _key(self, kind: str, name: str, nodes: tuple[Node, ...], cell: Cell) -> _Key:
        """What the value of a table depends on: the cell's values of the axes it names in ``when`` or variables."""
        axes = self._axes.get((kind, name))
        if axes is None:
            known = self.project.axes
            axes = frozenset().union(*(axes_of_when(node) | _axes_in_strings(node, known) for node in nodes), {PROFILE})
            if kind == "image":
                axes = frozenset(known)  # its local name and allow_failure depend on all of them
            self._axes[kind, name] = axes
        return (name, *(value for axis, value in cell.values.items() if axis in axes))

    def _visit(self, use: Use, cell: Cell, order: dict[str, LayerResult], path: tuple[str, ...]) -> None:
        """Put a layer and all it uses into ``order``, each after those it uses; cycles are reported."""
        if use.name in path:
            ring = " -> ".join((*path[path.index(use.name) :], use.name))
            self._report(use.node, f"layers wait for each other: {ring}", "take one of these references out")
            return
        if use.name in order or f"layer.{use.name}" in self.broken:
            return
        if use.name not in self.project.layers:
            owner = f"layer.{path[-1]}.{use.key}" if path else use.key
            hint = nearest(use.name, self.project.layers)
            self._report(use.node, f"{owner}: there is no layer {use.name!r}", hint)
            return
        result = self.layer(use.name, cell)
        for inner in result.uses:
            self._visit(inner, cell, order, (*path, use.name))
            self._use_rules(use.name, inner, order)
        order[use.name] = result

    def _use_rules(self, name: str, use: Use, order: Mapping[str, LayerResult]) -> None:
        """What a layer may refer to by ``on`` and ``above``."""
        spec = order[use.name].spec if use.name in order else None
        if spec is None:
            return
        if use.key == "on" and spec.kind not in ("base", "run"):
            self._report(
                use.node,
                f"layer.{name}.on: {use.name} is a {spec.kind} layer and has no root file system",
                "name a base layer, or a run layer on one",
            )
        if use.key == "above" and spec.kind != "python":
            self._report(use.node, f"layer.{name}.python.above: {use.name} is no python layer", "")

    def _names(self, name: str, table: Node, result: LayerResult) -> None:
        """Secrets and services of a layer must be declared; a root of its own runs on nothing else."""
        if result.spec is None:
            return
        self._known(f"layer.{name}.secrets", table.value.get("secrets"), result.spec.secrets, self.project.secrets)
        self._known(
            f"layer.{name}.services",
            table.value.get("services"),
            result.spec.services,
            self.project.root_names("service"),
        )
        for item in table.value["fetch"].value if result.spec.kind == "fetch" else ():
            secret = item.value.get("secret")
            if secret is not None and secret.value not in self.project.secrets:
                hint = nearest(secret.value, self.project.secrets)
                self._report(secret, f"layer.{name}.fetch: there is no secret {secret.value!r}", hint)
        spec = result.spec.spec
        if result.spec.on is not None and isinstance(spec, BaseSpec) and spec.is_root:
            self._report(table.value["on"], f"layer.{name}.on does nothing: the layer is a root file system itself", "")

    def _known(self, at: str, node: Node | None, names: tuple[str, ...], known: Mapping[str, object]) -> None:
        word = at.rpartition(".")[2].removesuffix("s")
        for item, name in zip(node.value if node is not None else (), names, strict=True):
            if name not in known:
                self._report(item, f"{at}: there is no {word} {name!r}", nearest(name, known))

    def _image_rules(self, name: str, result: ImageResult, order: Mapping[str, LayerResult]) -> None:
        """A root file system comes first and once, and the host's tools go into no image."""
        for index, (layer, node) in enumerate(result.layers):
            spec = order[layer].spec if layer in order else None
            if spec is None or not isinstance(spec.spec, BaseSpec):
                continue
            if spec.spec.host:
                self._report(node, f"image.{name}: {layer} is the host's tools, which go into no image", "use it as on")
            elif index > 0 and spec.spec.is_root:
                self._report(node, f"image.{name}: {layer} is a base and must be the first layer", "an image has one")


def _secret_names(layer: LayerSpec) -> tuple[str, ...]:
    """The secrets a layer uses."""
    items = getattr(layer.spec, "fetch", ())
    return (*layer.secrets, *(item.secret for item in items if item.secret is not None))


def _chain(project: ProjectFile, name: str) -> tuple[Node, ...]:
    """The image's table and those it extends; an unknown or repeated name ends the chain (reported elsewhere)."""
    chain: list[Node] = []
    seen: set[str] = set()
    while name in project.images and name not in seen:
        seen.add(name)
        chain.append(project.images[name])
        parent = chain[-1].value.get("extends")
        if parent is None:
            break
        name = parent.value
    return tuple(chain)


def _axes_in_strings(node: Node, axes: Mapping[str, object]) -> frozenset[str]:
    """The axes that variables in any string or key below ``node`` depend on."""
    found: set[str] = set()
    pending: list[Node] = [node]
    while pending:
        value = pending.pop().value
        if isinstance(value, str):
            if "{" in value:
                found |= variable_axes(value, axes.keys())
        elif isinstance(value, tuple):
            pending += value
        elif isinstance(value, FrozenMap):
            pending += value.values()
            for key in value:
                if "{" in key:
                    found |= variable_axes(key, axes.keys())
    return frozenset(found)
