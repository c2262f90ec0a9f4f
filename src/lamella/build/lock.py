"""The use case ``lock``: the only writer of ``lamella.lock`` (DESIGN 3b). Plan and build never resolve."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from lamella.build.parts import Parts, expand_cells, lower
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, InternalError, Problem
from lamella.graph.op import Wheel
from lamella.planning.lowering import LoweredLayer
from lamella.project.lock import BasePin, BootstrapPin, Lock, ModelPin, PythonSet, ToolPin
from lamella.project.spec import BaseSpec, CellSpec, LayerSpec, ModelSpec, PythonSpec
from lamella.registry.layout import LOCAL_SCHEMES
from lamella.sources.wheel_request import ResolveRequest
from lamella.stacks.debian import MANAGERS, tool_source
from lamella.stacks.python.locked import UnlockedSetError
from lamella.stacks.toolchain import DEFAULT_SUITE
from lamella.values import dataclass, replace

__all__ = ["LockChange", "Resolvers", "lock_project"]

ADAPTER_TOOLS = frozenset({"rust", "bun", "pnpm", "npm"})
"""Names that adapters look up in the lock although no layer lists them as tools."""

_Pin = TypeVar("_Pin")

_ROUNDS = 500
"""More unresolved sets than that in one project are a defect."""


class Resolvers(Protocol):
    """What asks the outside world; each raises RegistryError or AuthError when it cannot."""

    def base(
        self, reference: str, platforms: tuple[str, ...], *, look: tuple[str, ...], known: BasePin | None = None
    ) -> BasePin:
        """The digests of a base image for the platforms, of what the reference names now. A registry's base stays with
        the index of ``known``. For the platforms in ``look`` also what is inside: family and interpreters.
        """

    def wheels(self, request: ResolveRequest) -> tuple[Wheel, ...]:
        """The resolved set of a request."""

    def tool(self, source: str, name: str) -> ToolPin | None:
        """The newest version of a tool of ``cargo``, ``npm`` or ``uv``; None when its client is not on this machine."""


@dataclass(frozen=True, slots=True)
class LockChange:
    """One line of what changed: ``what`` names the pin, ``before`` is empty for a new one."""

    what: str
    before: str
    after: str


def lock_project(
    parts: Parts,
    resolvers: Resolvers,
    *,
    upgrade: tuple[str, ...] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Lock, tuple[LockChange, ...]]:
    """The lock that the whole matrix needs, and what changed against the one in ``parts``.

    ``upgrade`` names bases, layers or suites to resolve anew; an empty tuple means all, None nothing: then pins
    that still answer are kept. Pins that nothing uses any more are dropped.
    """
    every = Selection(all=True)
    cells = expand_cells(parts, every)
    kept = _kept(parts.lock, upgrade)
    lock = replace(
        kept,
        bases=_bases(cells, kept, resolvers, say),
        bootstraps=_bootstraps(cells, kept),
        tools=_tools(cells, kept, resolvers, say),
        models=_models(cells, kept),
    )
    lock = _python_sets(replace(parts, lock=lock), every, resolvers, say)
    return lock, _changes(parts.lock, lock)


def _kept(lock: Lock, upgrade: tuple[str, ...] | None) -> Lock:
    if upgrade is None:
        return lock
    if not upgrade:  # what cannot be resolved here stays: snapshots, commits and toolchains that somebody wrote
        tools = {name: pin for name, pin in lock.tools.items() if name in ADAPTER_TOOLS}
        return Lock(bootstraps=lock.bootstraps, models=lock.models, tools=FrozenMap(tools))
    known = {*lock.bases, *lock.bootstraps, *lock.models, *lock.tools, *(found.layer for found in lock.python)}
    unknown = [name for name in upgrade if name not in known]
    if unknown:
        raise ConfigError(
            f"--upgrade {unknown[0]!r} names nothing in lamella.lock",
            hint=f"it has {', '.join(sorted(known)) or 'no pins'}",
        )
    return replace(
        lock,
        bases=FrozenMap({name: pin for name, pin in lock.bases.items() if name not in upgrade}),
        models=FrozenMap({name: pin for name, pin in lock.models.items() if name not in upgrade}),
        tools=FrozenMap({name: pin for name, pin in lock.tools.items() if name not in upgrade}),
        python=tuple(found for found in lock.python if found.layer not in upgrade),
    )


def _base_layers(cells: tuple[CellSpec, ...]) -> list[tuple[LayerSpec, BaseSpec, str]]:
    """Base layers with the platform of their cell."""
    return [
        (layer, layer.spec, cell.cell.platform)
        for cell in cells
        for layer in cell.layers
        if isinstance(layer.spec, BaseSpec)
    ]


def _bases(
    cells: tuple[CellSpec, ...], kept: Lock, resolvers: Resolvers, say: Callable[[str], None]
) -> FrozenMap[str, BasePin]:
    """A pin stays with its index; one of a local layout is read each time, which costs nothing."""
    wanted: dict[str, set[str]] = {}
    for _, spec, platform in _base_layers(cells):
        if spec.from_ is not None and spec.from_ != "scratch":
            wanted.setdefault(spec.from_, set()).add(platform)
    looked = _looked_into(cells)
    pins = {}
    for reference, platforms in sorted(wanted.items()):
        look, pin = looked.get(reference, set()), kept.bases.get(reference)
        local = reference.partition(":")[0] in LOCAL_SCHEMES
        if pin is None or local or not (platforms <= set(pin.manifests) and look <= set(pin.interpreters)):
            if not local:
                say(f"resolving base {reference} for {', '.join(sorted(platforms))}")
            pin = resolvers.base(reference, tuple(sorted(platforms)), look=tuple(sorted(look)), known=pin)
        pins[reference] = pin
    return FrozenMap(pins)


def _looked_into(cells: tuple[CellSpec, ...]) -> dict[str, set[str]]:
    """Bases whose inside planning must know, with the platforms: under Python layers, and where the project lists
    packages for several package managers. Looking means pulling, so nothing else is looked into.
    """
    found: dict[str, set[str]] = {}
    for cell in cells:
        for image in cell.images:
            layers = [cell.layer(name).spec for name in image.layers]
            roots = [
                spec.from_ for spec in layers if isinstance(spec, BaseSpec) and spec.from_ not in (None, "scratch")
            ]
            lists = {name for spec in layers if isinstance(spec, BaseSpec) for name in MANAGERS if getattr(spec, name)}
            if len(lists) > 1 or any(isinstance(spec, PythonSpec) for spec in layers):
                for reference in roots:
                    found.setdefault(str(reference), set()).add(cell.cell.platform)
    return found


def _bootstraps(cells: tuple[CellSpec, ...], kept: Lock) -> FrozenMap[str, BootstrapPin]:
    """Suites in use: with the snapshot that their name holds, else with the one that somebody wrote into the lock."""
    names = {
        spec.bootstrap or DEFAULT_SUITE for _, spec, _ in _base_layers(cells) if spec.from_ is None and not spec.host
    }
    pins = {}
    for name in sorted(names):
        pin, snapshot = kept.bootstraps.get(name, BootstrapPin()), name.partition("@")[2]
        pins[name] = replace(pin, snapshot=snapshot) if snapshot else pin
    return FrozenMap(pins)


def _tools(
    cells: tuple[CellSpec, ...], kept: Lock, resolvers: Resolvers, say: Callable[[str], None]
) -> FrozenMap[str, ToolPin]:
    """Versions of tools that the project lists without one. What adapters take from the lock (``rust``) stays."""
    pins = dict(kept.tools)
    listed = {tool for _, spec, _ in _base_layers(cells) for tool in spec.tools if tool.version is None}
    for tool in sorted(listed, key=lambda tool: tool.name):
        source = tool_source(tool)
        if tool.name in pins or not source:
            continue
        pin = resolvers.tool(source, tool.name)
        if pin is None:
            say(f"tool {source}:{tool.name} stays without a version: {source} is not on this machine")
        else:
            pins[tool.name] = pin
    stay = {tool.name for tool in listed} | ADAPTER_TOOLS
    return FrozenMap({name: pin for name, pin in pins.items() if name in stay})


def _models(cells: tuple[CellSpec, ...], kept: Lock) -> FrozenMap[str, ModelPin]:
    """Commits of hub repositories: kept ones, and those written in full. Raises ConfigError for others: not yet."""
    pins, problems = {}, []
    for layer in {layer.name: layer for cell in cells for layer in cell.layers}.values():
        spec = layer.spec
        if not isinstance(spec, ModelSpec) or spec.hub is None:
            continue
        if spec.hub in kept.models:
            pins[spec.hub] = kept.models[spec.hub]
        elif re.fullmatch(r"[0-9a-f]{40}", spec.revision or ""):
            pins[spec.hub] = ModelPin(str(spec.revision), str(spec.revision))
        else:
            place, branch = layer.position, spec.revision or "main"
            text = f"layer {layer.name!r}: resolving {branch!r} of hub {spec.hub} is not yet supported"
            hint = "write the whole commit id as revision, or take the file by url or file"
            problems.append(Problem(place.file, place.line, place.column, text, hint))
    if problems:
        raise ConfigError.from_problems(tuple(problems))
    return FrozenMap(pins)


def _python_sets(parts: Parts, selection: Selection, resolvers: Resolvers, say: Callable[[str], None]) -> Lock:
    """Lowers again and again; each set that turns out missing is resolved and added."""
    lock = parts.lock
    for _ in range(_ROUNDS):
        try:
            graph = lower(replace(parts, lock=lock), selection)
        except UnlockedSetError as missing:
            request = missing.request
            say(f"resolving {len(request.requirements)} requirements of layer {request.layer} for {request.platform}")
            found = PythonSet(
                request.layer,
                f"{request.platform} python {request.python}",
                request.digest,
                tuple(sorted(resolvers.wheels(request), key=lambda wheel: (wheel.name, wheel.filename))),
            )
            lock = replace(lock, python=(*lock.python, found))
        else:
            used = {digest for item in graph.layers for digest in _requests(item)}
            kept = (found for found in lock.python if found.request in used)
            ordered = sorted(kept, key=lambda found: (found.layer, found.variant, found.request))
            return replace(lock, python=tuple(ordered))
    raise InternalError("resolving Python sets does not come to an end")


def _requests(layer: LoweredLayer) -> tuple[object, ...]:
    """The requests that a layer has in the lock: its own set, and build requirements of packages in it."""
    found = layer.lowered.details.get("requests", ())
    return found if isinstance(found, tuple) else ()


def _changes(before: Lock, after: Lock) -> tuple[LockChange, ...]:
    changes = []
    for reference in sorted({*before.bases, *after.bases}):
        old, new = before.bases.get(reference), after.bases.get(reference)
        if old != new:
            changes.append(LockChange(f"base {reference}", old.index if old else "", new.index if new else ""))
    changes += _pin_changes("suite", before.bootstraps, after.bootstraps, lambda pin: pin.snapshot or "as it is now")
    changes += _pin_changes("tool", before.tools, after.tools, lambda pin: pin.version)
    changes += _pin_changes("model", before.models, after.models, lambda pin: pin.commit)
    old_sets = {(found.layer, found.variant): found for found in before.python}
    new_sets = {(found.layer, found.variant): found for found in after.python}
    for place in sorted({*old_sets, *new_sets}):
        changes += _set_changes(place, old_sets.get(place), new_sets.get(place))
    return tuple(changes)


def _pin_changes(
    kind: str, before: Mapping[str, _Pin], after: Mapping[str, _Pin], text: Callable[[_Pin], str]
) -> list[LockChange]:
    """One line for each pin of a kind that is new, other or gone."""
    return [
        LockChange(
            f"{kind} {name}",
            text(before[name]) if name in before else "",
            text(after[name]) if name in after else "",
        )
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _set_changes(place: tuple[str, str], old: PythonSet | None, new: PythonSet | None) -> list[LockChange]:
    """Versions that differ; a whole new or dropped set is one line."""
    what = f"layer {place[0]} ({place[1]})"
    if old is None or new is None:
        return [
            LockChange(what, f"{len(old.wheels)} packages" if old else "", f"{len(new.wheels)} packages" if new else "")
        ]
    left = {wheel.name: wheel.version for wheel in old.wheels}
    right = {wheel.name: wheel.version for wheel in new.wheels}
    return [
        LockChange(f"{what}: {name}", left.get(name, ""), right.get(name, ""))
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name)
    ]
