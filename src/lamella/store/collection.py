"""What a collection takes: a pure decision over values (RELIABILITY S7, S11).

Roots are names of images, pins, live leases, and records that were used lately or are the newest of their name.
An object that nothing roots goes when it is older than a grace time. ``max_size`` takes the longest unused records,
states and caches on top, until what is left fits; what is named, pinned or leased stays whatever its size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from lamella.store.survey import Item, MutableItem, Object, RecordItem
from lamella.values import dataclass

__all__ = ["DAY", "GcPolicy", "Removal", "Stock", "decide"]

DAY = 86400


@dataclass(frozen=True, slots=True)
class GcPolicy:
    """``keep``: seconds since its last use that a record, state, cache or quarantined object stays. ``latest``: the
    newest record of each vertex name stays. ``grace``: seconds that an unreferenced object stays. ``max_size``: bytes
    of objects, states and caches that may be left, None for no limit.
    """

    keep: int = 30 * DAY
    latest: bool = True
    grace: int = DAY
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is. ``rooted`` and ``held`` may hold records too, as (record, key)."""

    records: tuple[RecordItem, ...]
    objects: Mapping[Object, Item]
    mutable: tuple[MutableItem, ...]
    rooted: frozenset[Object]
    held: frozenset[Object]


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that goes: kind record, blob, snapshot, state or cache; ``size`` in bytes; why, in words."""

    kind: str
    id: str
    size: int
    why: str


def decide(stock: Stock, policy: GcPolicy, now: int) -> tuple[Removal, ...]:
    """What goes, pointers before what they point to. A clock that went back makes nothing older than it is."""
    roots = stock.rooted | stock.held
    newest = _newest(stock.records) if policy.latest else frozenset()
    kept, out = [], []
    for record in stock.records:
        young = _age(record.used, now) < policy.keep
        if young or record.key in newest or ("record", record.key) in roots:
            kept.append(record)
        else:
            out.append(Removal("record", record.key, record.size, "not used lately"))
    live = roots.union(*(record.objects for record in kept))
    loose = {
        name: item
        for name, item in stock.objects.items()
        if name not in live and _age(item.changed, now) >= policy.grace
    }
    out += [Removal(*name, item.size, "nothing refers to it") for name, item in sorted(loose.items())]
    idle = [item for item in stock.mutable if _age(item.used, now) >= policy.keep]
    out += [Removal(item.kind, item.name, item.size, "not used lately") for item in idle]
    if policy.max_size is not None:
        left = {name: item for name, item in stock.objects.items() if name not in loose}
        usable = [item for item in stock.mutable if item not in idle]
        out += _shrink(kept, left, usable, roots, policy.max_size)
    order = {"record": 0, "snapshot": 1, "blob": 2, "state": 3, "cache": 3}
    return tuple(sorted(out, key=lambda removal: order[removal.kind]))


def _age(then: int, now: int) -> int:
    """Seconds, never negative: of what seems to come from the future the age is not known."""
    return max(0, now - then)


def _newest(records: Iterable[RecordItem]) -> frozenset[str]:
    best: dict[tuple[str, str], RecordItem] = {}
    for record in records:
        name = (record.project, record.name)
        if name not in best or (record.created, record.key) > (best[name].created, best[name].key):
            best[name] = record
    return frozenset(record.key for record in best.values())


def _shrink(
    records: list[RecordItem],
    objects: Mapping[Object, Item],
    mutable: list[MutableItem],
    roots: frozenset[Object],
    limit: int,
) -> list[Removal]:
    """Least recently used first, until the rest fits into ``limit`` bytes."""
    total = sum(item.size for item in objects.values()) + sum(item.size for item in mutable)
    users = Counter(name for record in records for name in record.objects)
    out: list[Removal] = []
    candidates: list[RecordItem | MutableItem] = [r for r in records if ("record", r.key) not in roots]
    for item in sorted([*candidates, *mutable], key=lambda one: one.used):
        if total <= limit:
            break
        if isinstance(item, MutableItem):
            out.append(Removal(item.kind, item.name, item.size, "longest unused"))
            total -= item.size
            continue
        out.append(Removal("record", item.key, item.size, "longest unused"))
        users.subtract(item.objects)
        for name in sorted(item.objects):
            if users[name] == 0 and name not in roots and name in objects:
                out.append(Removal(*name, objects[name].size, "longest unused"))
                total -= objects[name].size
    return out
