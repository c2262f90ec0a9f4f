"""What a store holds, in numbers: by kind, project, layer and age."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from lamella.errors import IntegrityError
from lamella.store.collection import DAY
from lamella.store.parts import Parts
from lamella.store.survey import Item, Object, RecordItem, Surveyor, tree_size
from lamella.values import dataclass

__all__ = ["AGES", "StoreStatus", "Usage", "survey_status"]

AGES = (("under a day", DAY), ("under a week", 7 * DAY), ("under a month", 30 * DAY))
"""Names and limits (seconds since the last use) of ages; what is older is ``older``."""

OLDER = "older"


@dataclass(frozen=True, slots=True)
class Usage:
    """A row: ``name`` of a kind, project, layer or age, how many things, how many bytes."""

    name: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Rows by kind add up to ``size``. By project, layer and age records are counted with the bytes of all that they
    keep; what two of them share counts for each, so these rows may add up to more.
    """

    root: Path
    kinds: tuple[Usage, ...]
    projects: tuple[Usage, ...]
    layers: tuple[Usage, ...]
    ages: tuple[Usage, ...]
    unreferenced: Usage
    size: int


def survey_status(parts: Parts) -> StoreStatus:
    """Counts; what vanishes meanwhile is passed over. Takes no lock and no lease."""
    surveyor = Surveyor(parts)
    objects, records = surveyor.objects(), surveyor.records()
    now = parts.context.clock.now()
    kinds = (*_object_kinds(objects), *_mutable_kinds(surveyor), *_folders(parts))
    used = _rooted(parts, surveyor).union(*(record.objects for record in records))
    loose = [item.size for name, item in objects.items() if name not in used]
    return StoreStatus(
        parts.context.layout.root,
        kinds,
        _grouped(records, objects, lambda record: record.project),
        _grouped(records, objects, lambda record: f"{record.project}/{record.name}"),
        _by_age(records, objects, now),
        Usage("unreferenced", len(loose), sum(loose)),
        sum(row.size for row in kinds),
    )


def _rooted(parts: Parts, surveyor: Surveyor) -> set[Object]:
    """Numbers are still of use when the names cannot be read; that is said."""
    try:
        return surveyor.rooted(parts.pins.all())
    except IntegrityError as error:
        parts.context.warn(error.message)
        return set()


def _object_kinds(objects: dict[Object, Item]) -> tuple[Usage, ...]:
    rows = []
    for kind in ("blob", "snapshot"):
        sizes = [item.size for name, item in objects.items() if name[0] == kind]
        rows.append(Usage(f"{kind}s", len(sizes), sum(sizes)))
    return tuple(rows)


def _mutable_kinds(surveyor: Surveyor) -> tuple[Usage, ...]:
    items = surveyor.mutable()
    rows = []
    for kind in ("state", "cache"):
        sizes = [item.size for item in items if item.kind == kind]
        rows.append(Usage(f"{kind}s", len(sizes), sum(sizes)))
    return tuple(rows)


def _folders(parts: Parts) -> tuple[Usage, ...]:
    """What is no object: number of entries and bytes on disk."""
    layout = parts.context.layout
    rows = []
    for name in ("records", "variants", "logs", "scan", "tmp", "trash", "quarantine"):
        folder = layout.folder(name)
        count = sum(1 for _ in parts.records.paths()) if name == "records" else len(os.listdir(folder))
        rows.append(Usage(name, count, tree_size(folder)))
    with suppress(FileNotFoundError):
        rows.append(Usage("index", 1, os.stat(layout.index).st_size))
    return tuple(rows)


def _grouped(
    records: Iterable[RecordItem], objects: dict[Object, Item], name: Callable[[RecordItem], str]
) -> tuple[Usage, ...]:
    """Rows by descending size; within one row an object counts once."""
    counts: dict[str, int] = defaultdict(int)
    kept: dict[str, set[Object]] = defaultdict(set)
    for record in records:
        counts[name(record)] += 1
        kept[name(record)] |= record.objects
    rows = [Usage(row, counts[row], sum(objects[one].size for one in kept[row] if one in objects)) for row in counts]
    return tuple(sorted(rows, key=lambda row: (-row.size, row.name)))


def _by_age(records: Iterable[RecordItem], objects: dict[Object, Item], now: int) -> tuple[Usage, ...]:
    def age(record: RecordItem) -> str:
        return next((name for name, limit in AGES if now - record.used < limit), OLDER)

    rows = {row.name: row for row in _grouped(records, objects, age)}
    return tuple(rows.get(name, Usage(name, 0, 0)) for name in (*(name for name, _ in AGES), OLDER))
