"""The use case ``lock``: the only writer of ``lamella.lock`` (DESIGN 3b). Plan and build never resolve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from lamella.build.parts import Parts, Selection, expand_cells, lower
from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, InternalError
from lamella.graph.op import Wheel
from lamella.planning.lowering import LoweredLayer
from lamella.project.lock import BasePin, BootstrapPin, Lock, PythonSet
from lamella.project.spec import BaseSpec, CellSpec, LayerSpec
from lamella.sources.wheel_request import ResolveRequest
from lamella.stacks.python.locked import UnlockedSetError
from lamella.stacks.toolchain import DEFAULT_SUITE

__all__ = ["LockChange", "Resolvers", "lock_project"]

_ROUNDS = 500
"""More unresolved sets than that in one project are a defect."""


class Resolvers(Protocol):
    """What asks the outside world; each raises RegistryError or AuthError when it cannot."""

    def base(self, reference: str, platforms: tuple[str, ...]) -> BasePin:
        """The digests and facts of a base image for the platforms it has."""

    def wheels(self, request: ResolveRequest) -> tuple[Wheel, ...]:
        """The resolved set of a request."""


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
        python=kept.python,
        tools=kept.tools,
    )
    lock = _python_sets(replace(parts, lock=lock), every, resolvers, say)
    return lock, _changes(parts.lock, lock)


def _kept(lock: Lock, upgrade: tuple[str, ...] | None) -> Lock:
    if upgrade is None:
        return lock
    if not upgrade:
        return Lock(bootstraps=lock.bootstraps)
    known = {*lock.bases, *lock.bootstraps, *lock.models, *(found.layer for found in lock.python)}
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
    wanted: dict[str, set[str]] = {}
    for _, spec, platform in _base_layers(cells):
        if spec.from_ is not None and spec.from_ != "scratch":
            wanted.setdefault(spec.from_, set()).add(platform)
    pins = {}
    for reference, platforms in sorted(wanted.items()):
        pin = kept.bases.get(reference)
        if pin is None or not platforms <= set(pin.manifests):
            say(f"resolving base {reference}")
            pin = resolvers.base(reference, tuple(sorted(platforms)))
        pins[reference] = pin
    return FrozenMap(pins)


def _bootstraps(cells: tuple[CellSpec, ...], kept: Lock) -> FrozenMap[str, BootstrapPin]:
    """Suites in use; a pin that the user or an earlier run wrote stays."""
    names = {
        spec.bootstrap or DEFAULT_SUITE for _, spec, _ in _base_layers(cells) if spec.from_ is None and not spec.host
    }
    return FrozenMap({name: kept.bootstraps.get(name, BootstrapPin()) for name in sorted(names)})


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
    old_sets = {(found.layer, found.variant): found for found in before.python}
    new_sets = {(found.layer, found.variant): found for found in after.python}
    for place in sorted({*old_sets, *new_sets}):
        changes += _set_changes(place, old_sets.get(place), new_sets.get(place))
    return tuple(changes)


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
