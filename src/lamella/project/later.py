"""Keys that are understood and not working yet: found in a file, and refused by the command that would use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.project.projectfile import ProjectFile
from lamella.project.schema.grammar import Choice, Later, ListOf, MapOf, Row, TableOf, Type
from lamella.project.schema.root import root_rows
from lamella.project.spec import Position
from lamella.project.toml import Node
from lamella.values import dataclass

__all__ = ["LaterFeature", "later_features", "refuse_later"]

_SEE = "docs/reference/lamella-toml.md"


@dataclass(frozen=True, slots=True)
class LaterFeature:
    """One such key. ``path`` is the key (``layer.app.ssh``), ``use`` what would need it, ``note`` what is missing."""

    path: str
    use: str
    note: str
    position: Position


def later_features(project: ProjectFile) -> tuple[LaterFeature, ...]:
    """Every key of the file that does not work yet, in file order."""
    found: list[LaterFeature] = []
    _table(project.root, root_rows(project.root.value), "", project.file, found)
    return tuple(sorted(found, key=lambda feature: (feature.position.line, feature.position.column)))


def refuse_later(
    project: ProjectFile, use: str, *, images: Iterable[str] | None = None, layers: Iterable[str] | None = None
) -> None:
    """Raise ConfigError when ``use`` (build, run, publish, check, ...) would need a key that does not work yet.

    ``images`` and ``layers`` limit it to the entries the command really uses.
    """
    limits = {
        "image": None if images is None else frozenset(images),
        "layer": None if layers is None else frozenset(layers),
    }
    problems = [
        Problem(
            project.file,
            feature.position.line,
            feature.position.column,
            f"{feature.path}: not yet: {feature.note}",
            f"see {_SEE}",
        )
        for feature in later_features(project)
        if feature.use == use and _concerns(feature.path, limits)
    ]
    if problems:
        raise ConfigError.from_problems(tuple(problems))


def _concerns(path: str, limits: dict[str, frozenset[str] | None]) -> bool:
    table, _, rest = path.partition(".")
    wanted = limits.get(table)
    return wanted is None or any(rest == name or rest.startswith(f"{name}.") for name in wanted)


def _table(node: Node, rows: Mapping[str, Row], at: str, file: str, found: list[LaterFeature]) -> None:
    for key, item in node.value.items():
        row = rows.get(key)
        path = f"{at}.{key}" if at else key
        if row is not None:
            _row(item, row, path, file, found)
        elif key == "when":
            for by_value in item.value.values():
                for branch in by_value.value.values():
                    _table(branch, rows, at, file, found)
        elif key == "add":
            _table(item, rows, at, file, found)


def _row(node: Node, row: Row, path: str, file: str, found: list[LaterFeature]) -> None:
    if row.later is not None and row.later.use and _used(node, row.later, row.type):
        found.append(_feature(node, row.later, path, file))
    else:
        _value(node, row.type, path, file, found)


def _value(node: Node, kind: Type, path: str, file: str, found: list[LaterFeature]) -> None:
    """Look into tables; a table that is not there yet as a whole counts once."""
    if isinstance(kind, TableOf) and isinstance(node.value, FrozenMap):
        if kind.table.later is not None:
            found.append(_feature(node, kind.table.later, path, file))
        else:
            _table(node, kind.table.by_key, path, file, found)
    elif isinstance(kind, MapOf) and isinstance(kind.item, TableOf) and isinstance(node.value, FrozenMap):
        for name, item in node.value.items():
            _value(item, kind.item, f"{path}.{name}", file, found)
    elif isinstance(kind, ListOf) and isinstance(node.value, tuple):
        for item in node.value:
            _value(item, kind.item, path, file, found)


def _used(node: Node, later: Later, kind: Type) -> bool:
    """Whether the value is one of those that do not work yet; ``false`` and an empty array ask for nothing."""
    if isinstance(kind, Choice) and later.values:
        return node.value in later.values
    return node.value is not False and node.value != ()


def _feature(node: Node, later: Later, path: str, file: str) -> LaterFeature:
    return LaterFeature(path, later.use, later.note, Position(file, node.key_line, node.key_column))
