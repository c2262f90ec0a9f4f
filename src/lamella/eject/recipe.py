"""From a Definition to a recipe: named stages, images with their tags, files beside. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.eject.context import Context, ignore_file
from lamella.eject.final import final_stage
from lamella.eject.guess import guessed_facts
from lamella.eject.probes import probe_spellings
from lamella.eject.products import make_product
from lamella.eject.stages import Stages, needed_stages, unified
from lamella.eject.values import Run, Stage
from lamella.eject.work import Beside, Shared, Work
from lamella.graph.facts import BaseFacts
from lamella.graph.protocols import Tree
from lamella.oci.platform import parse_platform
from lamella.planning.lowering import BuildGraph, ImagePlan
from lamella.project.cells import Cell
from lamella.project.lock import Lock
from lamella.project.projectfile import ProjectFile
from lamella.project.spec import ImageSpec
from lamella.values import dataclass

__all__ = ["Given", "Recipe", "Target", "make_recipe"]

PLATFORM = "platform"

FindFacts = Callable[[str], BaseFacts | None]
"""The recorded facts of a root file system's vertex, None where it was never built."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a recipe is made of besides the Definition. ``folder`` is where files go, seen from the project."""

    project: ProjectFile
    tree: Tree
    lock: Lock
    version: str | None = None
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One image of one cell but for its platform: a stage to build.

    ``name`` is its name for bake and compose, ``stage`` that of the stage; ``axes`` the cell without its platform.
    ``facts`` are those of the base on the first platform.
    """

    name: str
    stage: str
    image: ImageSpec
    axes: FrozenMap[str, str]
    platforms: tuple[str, ...]
    references: tuple[str, ...]
    facts: BaseFacts

    @property
    def profile(self) -> str:
        """``dev`` or ``prod``."""
        return self.axes.get("profile", "")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stages in an order where what they use comes first, images, and small files that stand beside.

    ``sources`` are the project's top folders and files that enter a build, ``probes`` other spellings of its health
    checks (see ``probes.probe_spellings``), ``guessed`` the images whose health check
    goes by what the project says of its base, because nothing is recorded of it.
    """

    project: str
    stages: tuple[tuple[str, Stage], ...]
    names: FrozenMap[int, str]
    targets: tuple[Target, ...]
    beside: FrozenMap[str, str]
    ignore: str
    secrets: tuple[str, ...]
    version: str | None
    sources: tuple[str, ...] = ()
    probes: FrozenMap[str, str] = EMPTY_MAP
    guessed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Group:
    """The plans of one image in one cell but for its platform."""

    image: str
    axes: FrozenMap[str, str]
    plans: tuple[ImagePlan, ...]


def make_recipe(graph: BuildGraph, given: Given, find_facts: FindFacts, *, single: bool = False) -> Recipe:
    """The recipe of all images of a graph. ``single``: everything must fit into the Dockerfile itself.

    Raises ConfigError for what plain Docker has no way to do, and what ``compose`` raises for a configuration.
    """
    context = Context(given.tree)
    beside = Beside(given.folder, inline=single)
    shared = Shared(given.project.name, given.lock, Stages(), context, beside, given.project.secrets)
    in_image = frozenset(key for plan in graph.images for key in graph.definition.chain(plan.base))
    maker = _Maker(graph, shared, find_facts, in_image)
    groups = _groups(graph.images)
    numbers = [maker.group(group) for group in groups]
    shared.stages.fold(numbers)
    needed = needed_stages(shared.stages, numbers)
    images = {number: group.image for number, group in zip(numbers, groups, strict=True)}
    names = shared.stages.names(needed, images)
    targets = tuple(_target(group, names[number], groups, maker) for number, group in zip(numbers, groups, strict=True))
    return Recipe(
        given.project.name,
        tuple((names[number], shared.stages.bodies[number]) for number in needed),
        FrozenMap(names),
        targets,
        FrozenMap(beside.files),
        _ignored(context, given),
        _secrets(shared.stages, needed),
        given.version,
        tuple(sorted({path.split("/", 1)[0] for path in context.taken})),
        FrozenMap(_probes(graph.images)),
        tuple(dict.fromkeys(maker.guessed)),
    )


class _Maker:
    """Makes the stages of images; remembers which bases were guessed."""

    def __init__(self, graph: BuildGraph, shared: Shared, find_facts: FindFacts, in_image: frozenset[str]) -> None:
        self._graph = graph
        self._shared = shared
        self._find = find_facts
        self._in_image = in_image
        self.guessed: list[str] = []

    def facts(self, plan: ImagePlan) -> BaseFacts:
        """What is known of an image's base."""
        found = self._find(plan.base)
        if found is None and plan.image.healthcheck is not None and not plan.image.healthcheck.cmd:
            self.guessed.append(plan.image.name)
        return found or guessed_facts(plan, self._graph.definition, self._shared.lock)

    def group(self, group: _Group) -> int:
        """The number of the stage that is an image, the same for all platforms."""
        arches = [parse_platform(plan.cell.platform).architecture for plan in group.plans]
        bodies = {arch: self._stage(plan, arch) for arch, plan in zip(arches, group.plans, strict=True)}
        cell = group.axes
        one = unified(self._shared.stages, bodies, cell)
        if one is not None:
            return self._shared.stages.add(group.image, one, cell)
        numbers = {
            arch: self._shared.stages.add(group.image, body, _with_arch(cell, arch)) for arch, body in bodies.items()
        }
        return self._shared.stages.switch(group.image, numbers, cell)

    def _stage(self, plan: ImagePlan, arch: str) -> Stage:
        layers = {item.layer.name: item for item in self._graph.layers if item.cell == plan.cell}
        work = Work(
            self._shared,
            self._graph.definition,
            layers,
            _with_arch(_axes(plan.cell), arch),
            self.facts(plan),
            self._in_image,
            make_product,
        )
        return final_stage(work, plan, EMPTY_MAP)


def _axes(cell: Cell) -> FrozenMap[str, str]:
    return FrozenMap({axis: value for axis, value in cell.values.items() if axis != PLATFORM})


def _with_arch(cell: FrozenMap[str, str], arch: str) -> FrozenMap[str, str]:
    return cell.with_items({"arch": arch})


def _groups(plans: Iterable[ImagePlan]) -> tuple[_Group, ...]:
    """Plans by image and cell, dev before prod: the last stage of the file is what a build without a target makes."""
    found: dict[tuple[str, FrozenMap[str, str]], list[ImagePlan]] = {}
    for plan in plans:
        found.setdefault((plan.image.name, _axes(plan.cell)), []).append(plan)
    order = list(dict.fromkeys(image for image, _ in found))
    groups = [_Group(image, axes, tuple(sorted(plans_, key=_platform))) for (image, axes), plans_ in found.items()]
    return tuple(sorted(groups, key=lambda group: (order.index(group.image), group.axes.get("profile", ""))))


def _platform(plan: ImagePlan) -> str:
    return plan.cell.platform


def _target(group: _Group, stage: str, groups: tuple[_Group, ...], maker: _Maker) -> Target:
    image = group.plans[0].image
    return Target(
        _target_name(group, groups),
        stage,
        image,
        group.axes,
        tuple(plan.cell.platform for plan in group.plans),
        _references(group.plans),
        maker.facts(group.plans[0]),
    )


def _target_name(group: _Group, groups: tuple[_Group, ...]) -> str:
    """The image's name, with the values of axes in which its cells differ."""
    others = [other.axes for other in groups if other.image == group.image]
    words = [value for axis, value in group.axes.items() if any(other.get(axis) != value for other in others)]
    return "-".join((group.image, *words))


def _references(plans: tuple[ImagePlan, ...]) -> tuple[str, ...]:
    """Full names that the images get; those that name one platform's manifest only when there is one platform."""
    found: list[str] = []
    for plan in plans:
        image = plan.image
        tags = [tag for tag in image.tags if len(plans) == 1 or tag not in image.manifest_tags]
        if image.repository and tags:
            found += [f"{image.repository}:{tag}" for tag in tags]
    return tuple(dict.fromkeys(found)) or (plans[0].image.local_name,)


def _ignored(context: Context, given: Given) -> str:
    own = given.tree.read(".dockerignore").decode("utf-8", "replace") if given.tree.exists(".dockerignore") else ""
    return ignore_file(context, own, given.project.ignore, "Dockerfile")


def _probes(plans: Iterable[ImagePlan]) -> dict[str, str]:
    """Other spellings of the images' health checks."""
    found: dict[str, str] = {}
    for plan in plans:
        check = plan.image.healthcheck
        if check is not None:
            exposed = (int(port.partition("/")[0]) for port in plan.image.expose)
            found |= probe_spellings(check, check.port or check.tcp or next(exposed, None))
    return found


def _secrets(stages: Stages, needed: Iterable[int]) -> tuple[str, ...]:
    """Ids of the secrets that a build must be given."""
    found: dict[str, None] = {}
    for number in needed:
        for item in stages.bodies[number].instructions:
            for mount in item.mounts if isinstance(item, Run) else ():
                fields: Mapping[str, str] = dict(mount.fields)
                if fields.get("type") == "secret":
                    found.setdefault(fields["id"])
    return tuple(found)
