"""``when``, ``add`` and ``extends``: one table as it holds in one cell.

Tables merge, arrays and scalars replace, ``add.KEY`` appends; the deeper ``when`` wins, two of equal depth may not
differ. Keys of a group that exclude each other replace each other, too: a ``when`` with ``bootstrap`` takes ``from``
away. Merging works on nodes, so every value keeps the place it was written at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lamella.canonical import FrozenMap
from lamella.project.schema.grammar import ListOf, Table, TableOf, as_list
from lamella.project.toml import Node
from lamella.values import dataclass

__all__ = ["Overlay", "axes_of_when", "effective", "laid_over", "plain_value", "without"]

_VARIED = ("when", "add")
Report = Callable[[Node, str, str], None]


@dataclass(frozen=True, slots=True)
class Overlay:
    """One ``when`` branch that holds: its conditions (empty for the table itself) and its keys."""

    conditions: tuple[tuple[str, str], ...]
    node: Node

    @property
    def label(self) -> str:
        """The branch as it is written: ``when.accelerator.cuda.when.profile.dev``."""
        return ".".join(f"when.{axis}.{names}" for axis, names in self.conditions)


def _overlays(node: Node, cell: Mapping[str, str], held: tuple[tuple[str, str], ...] = ()) -> Iterator[Overlay]:
    """The table and all its branches that hold in ``cell``, in file order."""
    yield Overlay(held, node)
    when = node.value.get("when")
    if when is None:
        return
    for axis, by_value in when.value.items():
        for names, branch in by_value.value.items():
            if cell.get(axis) in names.split("|"):
                yield from _overlays(branch, cell, (*held, (axis, names)))


def axes_of_when(node: Node) -> frozenset[str]:
    """The axes that any ``when`` of the table names, at any depth."""
    when = node.value.get("when")
    if when is None:
        return frozenset()
    found = set(when.value)
    for by_value in when.value.values():
        for branch in by_value.value.values():
            found |= axes_of_when(branch)
    return frozenset(found)


def effective(
    node: Node,
    table: Table,
    cell: Mapping[str, str],
    report: Report,
    *,
    below: Node | None = None,
    prod_only: tuple[str, ...] = (),
) -> Node:
    """The table as it holds in ``cell``, without ``when`` and ``add``, laid over ``below`` (what it extends).

    ``prod_only`` keys count in a dev cell only where a branch names the profile. Branches of equal depth that differ
    are reported at the second one.
    """
    overlays = list(_overlays(node, cell))
    if prod_only and cell.get("profile") == "dev":
        overlays = [o if any(axis == "profile" for axis, _ in o.conditions) else _drop(o, prod_only) for o in overlays]
    result = node._replace(value=FrozenMap() if below is None else below.value)
    for depth in sorted({len(overlay.conditions) for overlay in overlays}):
        level = [overlay for overlay in overlays if len(overlay.conditions) == depth]
        _conflicts(level, table, cell, report)
        for overlay in level:
            result = laid_over(result, _plain_part(overlay.node, _VARIED), table)
        for overlay in level:
            add = overlay.node.value.get("add")
            if add is not None:
                result = _appended(result, add, table)
    return result


def _plain_part(node: Node, names: tuple[str, ...]) -> Node:
    return without(node, *names) if any(name in node.value for name in names) else node


def without(node: Node, *names: str) -> Node:
    """The table without some keys."""
    return node._replace(value=FrozenMap({key: item for key, item in node.value.items() if key not in names}))


def _drop(overlay: Overlay, names: tuple[str, ...]) -> Overlay:
    """The branch without ``names``, also below ``add``."""
    node = without(overlay.node, *names)
    add = node.value.get("add")
    if add is not None:
        node = node._replace(value=node.value.with_items({"add": without(add, *names)}))
    return Overlay(overlay.conditions, node)


def laid_over(below: Node, above: Node, table: Table | None) -> Node:
    """``above`` over ``below``: tables merge, everything else replaces. The place is that of ``below``."""
    merged: dict[str, Node] = dict(below.value)
    if table is not None:
        for group in table.groups:
            if any(key in above.value for key in group):
                merged = {key: item for key, item in merged.items() if key not in group or key in above.value}
    for key, item in above.value.items():
        old = merged.get(key)
        if old is not None and isinstance(old.value, FrozenMap) and isinstance(item.value, FrozenMap):
            item = laid_over(old, item, _inner(table, key))  # noqa: PLW2901  the merged item takes its place
        merged[key] = item
    return below._replace(value=FrozenMap(merged))


def _inner(table: Table | None, key: str) -> Table | None:
    """The rows of the table at ``key``, when it has rows."""
    row = table.by_key.get(key) if table is not None else None
    return row.type.table if row is not None and isinstance(row.type, TableOf) else None


def _appended(below: Node, add: Node, table: Table) -> Node:
    """``below`` with the arrays of ``add`` appended to its own."""
    merged: dict[str, Node] = dict(below.value)
    for key, item in add.value.items():
        row = table.by_key[key]
        old = merged.get(key)
        if isinstance(row.type, TableOf):
            empty = item._replace(value=FrozenMap())
            merged[key] = _appended(empty if old is None else old, item, row.type.table)
        elif old is None:
            merged[key] = item
        elif isinstance(row.type, ListOf):
            merged[key] = old._replace(value=(*as_list(row.type, old).value, *as_list(row.type, item).value))
    return below._replace(value=FrozenMap(merged))


def _conflicts(level: list[Overlay], table: Table, cell: Mapping[str, str], report: Report) -> None:
    """Report keys to which two branches of one depth give different values."""
    for index, second in enumerate(level):
        for first in level[:index]:
            for path, node in _differences(first.node, second.node, table):
                report(
                    node,
                    f"{path} differs between {first.label} and {second.label}, and both hold in {_cell(cell)}",
                    f"say which one counts: {first.label}.{second.label}.{path}",
                )


def _differences(first: Node, second: Node, table: Table | None) -> Iterator[tuple[str, Node]]:
    """Paths that both tables set to different values or where their keys exclude each other; the second's nodes."""
    groups = () if table is None else table.groups
    for key, item in second.value.items():
        if any(key in group and other in group for group in groups for other in first.value if other != key):
            yield key, item
        if key in _VARIED or key not in first.value:
            continue
        other = first.value[key]
        if isinstance(item.value, FrozenMap) and isinstance(other.value, FrozenMap):
            yield from ((f"{key}.{path}", node) for path, node in _differences(other, item, _inner(table, key)))
        elif plain_value(item) != plain_value(other):
            yield key, item


def plain_value(node: Node) -> Any:
    """The value without places, as plain maps, tuples and scalars."""
    value = node.value
    if isinstance(value, FrozenMap):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain_value(item) for item in value)
    return value


def _cell(cell: Mapping[str, str]) -> str:
    return ",".join(f"{axis}={value}" for axis, value in cell.items())
