"""``lamella pull``: the bytes of layers that a cache repository has, without building anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamella.api.layers import check_layer
from lamella.build.selection import Selection
from lamella.errors import ConfigError, RegistryError
from lamella.values import dataclass, replace

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.planning.plan import PlannedVertex

__all__ = ["PulledLayer", "pull_layers"]


@dataclass(frozen=True, slots=True)
class PulledLayer:
    """One layer: the layers of images and products of steps that are here now, and the bytes that came for them.

    ``bytes`` are what the requests answered, records too; 0 when all of it was here.
    """

    name: str
    vertices: tuple[str, ...]
    layers: int
    products: int
    bytes: int


def pull_layers(session: Session, names: Sequence[str], selection: Selection) -> tuple[PulledLayer, ...]:
    """Brings the layers of images, and the products of steps, that ``names`` have in the selected cells.

    Raises ConfigError for an unknown layer and without a repository, RegistryError for one that has no record or whose
    bytes cannot be had.
    """
    for name in names:
        check_layer(session, name)
    if session.cache is None:
        raise ConfigError(
            "there is no repository to pull layers from" if not session.options.offline else "--offline forbids it",
            hint="set repository in [project] or [cache], or name one: --cache-from registry.example/acme/shop-cache",
        )
    with session.store.lease("pull"):
        return tuple(_pull(session, name, selection) for name in dict.fromkeys(names))


def _pull(session: Session, name: str, selection: Selection) -> PulledLayer:
    cache = session.cache
    if cache is None:
        raise ConfigError("there is no repository to pull layers from")
    before = sum(reader.bytes for reader in cache.readers)
    vertices = _vertices(session, name, selection)
    missing = [vertex.name for vertex in vertices if vertex.record is None]
    if missing:
        where = " or ".join(reader.name for reader in cache.readers)
        raise RegistryError(
            f"layer {name}: there is no record of {', '.join(missing[:3])} here or in {where}",
            hint=f"build it: lamella build --target {name}",
        )
    records = [vertex.record for vertex in vertices if vertex.record is not None]
    diff_ids = [layer.diff_id for record in records for layer in record.result.layers]
    products = [v.record.result.tree for v in vertices if v.executes and v.record is not None and v.record.result.tree]
    lost = [*cache.layers(diff_ids), *(tree for tree in products if not cache.product(tree))]
    if lost:
        raise RegistryError(
            f"layer {name}: {len(lost)} of {len(diff_ids) + len(products)} parts could not be had",
            hint=f"build it: lamella build --target {name}",
        )
    came = sum(reader.bytes for reader in cache.readers) - before
    return PulledLayer(name, tuple(v.name for v in vertices), len(diff_ids), len(products), came)


def _vertices(session: Session, name: str, selection: Selection) -> tuple[PlannedVertex, ...]:
    """The planned vertices of a layer, as images of the selection have it, or by itself when none has."""
    own = replace(selection, layer=name)
    graph = session.lower(own)
    for one in (selection, own):
        planned = session.plan(one, graph=graph).vertices
        found = tuple(vertex for vertex in planned if vertex.layer == name)
        if found:
            return found
    raise ConfigError(f"layer {name!r} makes nothing: its files come from the project as they are")
