"""Collection: decide under the exclusive store lock, take away by renames, delete afterwards (RELIABILITY S7).

There is no journal to replay (S10): pointers go before what they point to, so a collection that was cut off at any
moment leaves a whole store with some unreferenced objects, which the next one takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lamella.host.locks import hold, try_lock
from lamella.store.collection import GcPolicy, Removal, Stock, decide
from lamella.store.context import LOCK_TIMEOUT, Context
from lamella.store.held import Caches, States
from lamella.store.leases import live_objects
from lamella.store.parts import Parts
from lamella.store.survey import Surveyor
from lamella.values import dataclass

__all__ = ["GcPolicy", "GcReport", "Removal", "collect"]


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was taken (or, of a dry run, would be), and what is left of objects, states and caches, in bytes.

    ``busy`` are states and caches that would have gone but are in use.
    """

    removed: tuple[Removal, ...]
    kept_bytes: int
    busy: tuple[Removal, ...] = ()
    dry_run: bool = False

    @property
    def freed_bytes(self) -> int:
        """Bytes of all that was taken."""
        return sum(removal.size for removal in self.removed)


def collect(parts: Parts, policy: GcPolicy, *, dry_run: bool = False) -> GcReport:
    """Runs one collection; a second one at the same time waits. Raises StoreBusyError."""
    context = parts.context
    context.check_writable()
    with hold(context.layout.lock("gc"), timeout=LOCK_TIMEOUT, on_wait=context.on_wait, what="a running collection"):
        surveyor = Surveyor(parts)
        surveyor.records()  # parsed before others are kept out
        mutable = surveyor.mutable()
        with context.lock.exclusive():
            stock = Stock(
                surveyor.records(),
                surveyor.objects(),
                mutable,
                frozenset(surveyor.rooted(parts.pins.all())),
                frozenset(live_objects(context.layout.folder("leases"))),
            )
            wanted = decide(stock, policy, context.clock.now())
            if not dry_run:
                _drop_variants(context, surveyor, {r.id for r in wanted if r.kind == "blob"}, _live(stock, wanted))
                _take(context, wanted)
        busy = () if dry_run else _remove_mutable(parts, wanted)
        removed = tuple(removal for removal in wanted if removal not in busy)
        if not dry_run:
            _tidy(context, policy.keep)
            context.empty_trash()  # first of all: on a full disk nothing can be written before
    before = sum(item.size for item in stock.objects.values()) + sum(item.size for item in mutable)
    gone = sum(removal.size for removal in removed if removal.kind != "record")
    return GcReport(removed, before - gone, busy, dry_run)


def _take(context: Context, wanted: Iterable[Removal]) -> None:
    """Records, then snapshots, then blobs: at whatever moment a crash comes, nothing points to what is gone."""
    place = {"record": context.layout.record, "snapshot": context.layout.snapshot, "blob": context.layout.blob}
    for removal in wanted:
        if removal.kind in place:
            context.discard(place[removal.kind](removal.id))


def _live(stock: Stock, wanted: Iterable[Removal]) -> frozenset[str]:
    """Ids that something kept still names, whether or not they are here."""
    dropped = {removal.id for removal in wanted if removal.kind == "record"}
    named = {name for record in stock.records if record.key not in dropped for name in record.objects}
    return frozenset(identity for _, identity in named | stock.rooted | stock.held)


def _drop_variants(context: Context, surveyor: Surveyor, gone: set[str], live: frozenset[str]) -> None:
    """Variants whose blobs go, or went with a crash before; notes of blobs elsewhere when nothing names them."""
    for diff_id, named in surveyor.variants().items():
        folder = context.layout.variants(diff_id)
        for name, digest, elsewhere in named:
            lost = digest in gone or not os.path.lexists(context.layout.blob(digest))
            if lost and not (elsewhere and digest in live):
                context.discard(folder / name)
        with suppress(OSError):
            os.rmdir(folder)


def _remove_mutable(parts: Parts, wanted: Iterable[Removal]) -> tuple[Removal, ...]:
    """States and caches, each under its own lock; gives those that somebody has."""
    kinds: dict[str, States | Caches] = {"state": parts.states, "cache": parts.caches}
    return tuple(one for one in wanted if one.kind in kinds and not kinds[one.kind].remove_named(one.id))


def _tidy(context: Context, keep: int) -> None:
    """Old quarantined things, logs, scans and answers, and the lock files of keys that nobody waits for."""
    now = context.clock.now()
    for folder in map(context.layout.folder, ("quarantine", "logs", "scan")):
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):
                if now - os.lstat(folder / name).st_ctime >= keep:
                    context.discard(folder / name)
    locks = context.layout.folder("locks")
    for name in os.listdir(locks):
        if name.startswith("key-"):
            _drop_lock(locks / name)


def _drop_lock(path: Path) -> None:
    """Removes a lock file that nobody holds; whoever comes in between notices that it lost its name."""
    with suppress(FileNotFoundError):
        fd = try_lock(path, create=False)
        if fd is not None:
            os.unlink(path)
            os.close(fd)
