"""A Python layer as vertices: wheel groups, built packages, and the binding to the base's interpreter."""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.graph.op import WheelsOp
from lamella.graph.vertex import AllPaths, Input, Vertex
from lamella.oci.platform import ANY
from lamella.project.spec import PythonSpec
from lamella.sources.wheel_tags import wheel_glibc
from lamella.stacks.base import LowerContext, Lowered, Placement, Requirement, layer_error, vertex_info
from lamella.stacks.python.backend import build_requests
from lamella.stacks.python.binding import binding_op
from lamella.stacks.python.build import build_vertices
from lamella.stacks.python.groups import group_wheels
from lamella.stacks.python.interpreter import Binding, find_interpreter, missing_in_base
from lamella.stacks.python.locked import locked_selection
from lamella.stacks.python.resolved import Selection
from lamella.stacks.python.wishes import Wishes, read_wishes

__all__ = ["lower_layer"]

DEFAULT_VENV = "/opt/venv"


def lower_layer(context: LowerContext, spec: PythonSpec) -> Lowered:
    """The layer's vertices and placements. Raises ConfigError for everything that is wrong with it."""
    wishes = read_wishes(context, spec)
    binding = find_interpreter(context, spec, wishes.project)
    target = binding.target
    venv = (context.layer.to or DEFAULT_VENV).rstrip("/")
    locked, request = locked_selection(context, spec, wishes, target)
    wanted = _beyond(context, spec, locked)
    placements = list(_wheel_placements(context, wanted, binding, venv))
    if context.above is None:
        vertex = Vertex(binding_op(target.python, binding.path), (), ANY, ANY, vertex_info(context.layer, "venv"))
        placements.append(_placed(context, context.graph.add(vertex), venv, "venv"))
    versions = _versions_above(context) | locked.versions
    return Lowered(
        product=placements[0].vertex if len(placements) == 1 else "",
        placements=tuple(placements),
        entrypoints=_entrypoints(wishes, venv),
        path=(f"{venv}/bin",),
        requirements=_requirements(context, wanted, binding),
        notes=_notes(context, wishes, wanted, binding),
        details=FrozenMap(
            {
                "python": target.python,
                "interpreter": binding.path,
                "venv": venv,
                "versions": FrozenMap(versions),
                "requests": tuple(digest for digest in (request, *build_requests(context, wanted, target)) if digest),
            }
        ),
    )


def _versions_above(context: LowerContext) -> dict[str, str]:
    if context.above is None:
        return {}
    versions = context.above.details.get("versions")
    return dict(versions) if isinstance(versions, FrozenMap) else {}


def _beyond(context: LowerContext, spec: PythonSpec, locked: Selection) -> Selection:
    """What the layer below does not have already; one package in two versions is an error with both."""
    below = _versions_above(context)
    for name, version in sorted(locked.versions.items()):
        if name in below and version and below[name] and below[name] != version:
            raise layer_error(
                context.layer,
                f"it needs {name} {version}, layer {spec.above!r} below it has {below[name]}",
                hint="let both ask for versions that fit together, then run: lamella lock",
            )
    return locked.without(frozenset(below))


def _wheel_placements(context: LowerContext, wanted: Selection, binding: Binding, venv: str) -> tuple[Placement, ...]:
    """Heavy wheels, the light rest, what came from source, and last the project's own packages."""
    target, placements = binding.target, []
    for group in group_wheels(wanted.wheels):
        platform = ANY if group.pure else context.platform
        vertex = Vertex(
            WheelsOp(group.wheels, target.python, venv), (), platform, ANY, vertex_info(context.layer, group.name)
        )
        placements.append(_placed(context, context.graph.add(vertex), venv, group.name))
    for built in build_vertices(context, wanted.builds, target):
        info = context.graph[built].info
        edge = Input(built, AllPaths(), "wheels")
        vertex = Vertex(
            WheelsOp((), target.python, venv),
            (edge,),
            context.platform,
            ANY,
            vertex_info(context.layer, _part(info.name)),
        )
        placements.append(_placed(context, context.graph.add(vertex), venv, _part(info.name)))
    return tuple(placements)


def _part(name: str) -> str:
    """``app:demo wheel`` -> ``demo``."""
    return name.partition(":")[2].removesuffix(" wheel")


def _placed(context: LowerContext, vertex: str, venv: str, name: str) -> Placement:
    mode = "" if context.layer.mode is None else f"{context.layer.mode:04o}"
    return Placement(vertex, venv, context.layer.owner, mode, name=f"{context.layer.name}:{name}")


def _entrypoints(wishes: Wishes, venv: str) -> tuple[tuple[str, ...], ...]:
    project = wishes.project
    if project is None or not project.is_package:
        return ()
    return tuple((f"{venv}/bin/{script}",) for script in project.scripts)


def _requirements(context: LowerContext, wanted: Selection, binding: Binding) -> tuple[Requirement, ...]:
    why = f"layer {context.layer.name!r}"
    found = [Requirement("interpreter", f"python {binding.target.python} {binding.path}", why)]
    needy = max(wanted.wheels, key=lambda wheel: wheel_glibc(wheel.filename), default=None)
    if needy is not None and wheel_glibc(needy.filename) > (0, 0):
        version = ".".join(map(str, wheel_glibc(needy.filename)))
        found.append(Requirement("glibc", version, f"{why}: wheel {needy.filename}"))
    return tuple(found)


def _notes(context: LowerContext, wishes: Wishes, wanted: Selection, binding: Binding) -> tuple[str, ...]:
    notes = list(wanted.notes)
    foreign = [build.name for build in wanted.builds if not build.folder]
    if foreign:
        notes.append(
            f"layer {context.layer.name!r}: no wheel fits Python {binding.target.python}, built from source: "
            f"{', '.join(foreign)} (another Python may have wheels)"
        )
    project = wishes.project
    if project is not None and not project.is_package:
        notes.append(
            f"layer {context.layer.name!r}: {project.path} has no build system, so its files are not installed; "
            "copy them with a files layer"
        )
    other = missing_in_base(context, binding) if context.above is None else ""
    return (*notes, other) if other else tuple(notes)
