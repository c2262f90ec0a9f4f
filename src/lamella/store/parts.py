"""The parts of one open store, for what works on all of them: collection, verification, status."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lamella.store.blobs import Blobs
from lamella.store.context import Context
from lamella.store.held import Caches, States
from lamella.store.images import Images
from lamella.store.memo import BootMemo
from lamella.store.pins import Pins
from lamella.store.records import Records
from lamella.store.snapshots import Snapshots
from lamella.store.variants import Variants
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.store.index import Index  # SQLite is loaded when it is first asked something

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts; ``index`` opens the SQLite index when it is first needed."""

    context: Context
    index: Callable[[], Index]
    blobs: Blobs
    snapshots: Snapshots
    variants: Variants
    records: Records
    states: States
    caches: Caches
    images: Images
    pins: Pins

    @classmethod
    def of(cls, context: Context, index: Callable[[], Index]) -> Parts:
        """The parts over one context."""
        blobs = Blobs(context, BootMemo(index))
        snapshots, variants = Snapshots(context), Variants(context, blobs)
        return cls(
            context,
            index,
            blobs,
            snapshots,
            variants,
            Records(context, index, blobs, snapshots, variants),
            States(context),
            Caches(context),
            Images(context, blobs),
            Pins(context),
        )
