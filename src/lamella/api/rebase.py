"""Swaps the bases of images: what stands on a base is made again, what does not is kept (DESIGN 7b.3).

An image is recomposed from its parts, so a rebase is a build with newer base digests in the lock. Layers that steps
made on the old base (its packages, its users) are made on the new one; a placed layer is made again only where the
facts of its parents differ; nothing is compiled unless it is compiled on the base itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lamella.api.resolvers import OutsideResolvers
from lamella.build.lock import LockChange, lock_project
from lamella.build.parts import expand_cells, plan
from lamella.build.selection import Selection
from lamella.errors import ConfigError
from lamella.planning.plan import Plan, PlanOptions
from lamella.project.spec import BaseSpec
from lamella.values import dataclass, replace

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.project.lock import Lock

__all__ = ["Rebase", "image_bases", "prepare_rebase"]


@dataclass(frozen=True, slots=True)
class Rebase:
    """What a rebase would do: the pins that move, the lock with them, and the plan of a build with that lock."""

    changes: tuple[LockChange, ...]
    lock: Lock
    plan: Plan


def image_bases(session: Session, selection: Selection) -> tuple[str, ...]:
    """The references of the bases that the selected images stand on, without those of toolchains, sorted."""
    found: set[str] = set()
    for cell in expand_cells(session.parts, selection):
        used = {name for image in cell.images for name in image.layers}
        for layer in cell.layers:
            if layer.name in used and isinstance(layer.spec, BaseSpec) and layer.spec.from_:
                found.add(layer.spec.from_)
    return tuple(sorted(found & session.lock.bases.keys()))


def prepare_rebase(
    session: Session,
    selection: Selection,
    names: tuple[str, ...] = (),
    *,
    say: Callable[[str], None] = lambda text: None,
) -> Rebase | None:
    """Asks for the bases (those of ``names``) as they are now; None when none has moved. Writes nothing.

    Raises ConfigError when the images have no such base, RegistryError and AuthError.
    """
    bases = image_bases(session, selection)
    unknown = [name for name in names if name not in bases]
    if unknown or not bases:
        what = f"{unknown[0]!r} is no base" if unknown else "there is no base from a registry or a layout"
        raise ConfigError(
            f"{what} of the selected images",
            hint=f"their bases are {', '.join(bases)}" if bases else "a bootstrapped base moves with: lamella lock",
        )
    outside = OutsideResolvers(session.store, session.root, session.options, say)
    lock, changes = lock_project(session.parts, outside, upgrade=names or bases, say=say)
    if lock == session.lock:
        return None
    parts = replace(session.parts, lock=lock)
    return Rebase(changes, lock, plan(parts, selection, PlanOptions(now=session.clock.now())))
