"""The second pass: nodes become values. Templates are filled in from a scope, or kept when there is none yet."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from lamella.canonical import FrozenMap
from lamella.errors import Problem
from lamella.project.formats import FormatError, control_character
from lamella.project.schema.grammar import (
    Free,
    Integer,
    ListOf,
    MapOf,
    Number,
    OneOf,
    Row,
    Table,
    TableOf,
    Text,
    Type,
    as_list,
    choose,
    field_name,
)
from lamella.project.template import Scope, TemplateError, parse_template, render
from lamella.project.toml import Node
from lamella.values import dataclass, field

__all__ = ["Decoder"]

_NOWHERE = Node(FrozenMap(), 0, 0, 0, 0)


@dataclass(slots=True)
class Decoder:
    """Decodes checked nodes. Without a ``scope`` strings with variables become ``Template`` values.

    ``problems`` receives what only shows now; the value is None there. ``used`` has the variables that were filled in.
    """

    file: str
    scope: Scope | None = None
    problems: list[Problem] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def report(self, node: Node, message: str, hint: str = "") -> None:
        """Add a problem at the node's value."""
        self.problems.append(Problem(self.file, node.line, node.column, message, hint))

    def table(self, node: Node, table: Table) -> Any:
        """The value of a table: what its ``build`` makes, or a map of fields when it has none."""
        values = self.fields(node, table)
        return FrozenMap(values) if table.build is None else table.build(**values)

    def fields(self, node: Node, table: Table, rows: tuple[Row, ...] | None = None) -> dict[str, Any]:
        """The values of all rows (or some) by field name, with defaults for what is not written."""
        present = node.value
        defaults = _defaults(table)
        for group in table.one_of:
            if not any(key in present for key in group):
                self.report(node, f"{table.name} needs one of {', '.join(group)}")
        values: dict[str, Any] = {}
        for row in table.rows if rows is None else rows:
            item = present.get(row.key)
            if item is not None:
                values[field_name(row.key)] = self.value(item, row.type)
                continue
            if row.required:
                self.report(node, f"{table.name}: {row.key} is missing", row.doc)
            values[field_name(row.key)] = defaults[row.key]
        return values

    def value(self, node: Node, kind: Type) -> Any:
        """The value of a node."""
        if isinstance(kind, Text):
            return self.text(node, kind)
        if isinstance(kind, ListOf):
            return tuple(self.value(item, kind.item) for item in as_list(kind, node).value)
        if isinstance(kind, MapOf):
            return self._map(node, kind)
        if isinstance(kind, TableOf):
            return self.table(node, kind.table)
        if isinstance(kind, (Integer, Number)):
            return kind.convert(node.value)
        if isinstance(kind, OneOf):
            chosen = choose(kind, node)
            return None if chosen is None else self.value(node, chosen)
        if isinstance(kind, Free):
            return self._free(node)
        return node.value  # a boolean or one of a few words

    def _map(self, node: Node, kind: MapOf) -> FrozenMap[str, Any]:
        items: dict[str, Any] = {}
        for key, item in node.value.items():
            name = self.text(item._replace(value=key), Text(kind.key)) if kind.templates else key
            items[name] = self.value(item, kind.item)
        return FrozenMap(items)

    def _free(self, node: Node) -> Any:
        value = node.value
        if isinstance(value, str):
            return self._filled(node)
        if isinstance(value, FrozenMap):
            return FrozenMap({key: self._free(item) for key, item in value.items()})
        return tuple(self._free(item) for item in value) if isinstance(value, tuple) else value

    def _filled(self, node: Node) -> Any:
        """The string with its variables filled in: str, Deferred, Template (no scope) or None (no value)."""
        text: str = node.value
        if "{" not in text and "}}" not in text:
            return text
        template = parse_template(text)
        self.used.update(variable.name for variable in template.variables)
        if self.scope is None:
            return template if template.variables else "".join(str(part) for part in template.parts)
        try:
            return render(template, self.scope)
        except TemplateError as error:
            self.report(node, error.message, error.hint)
            return None

    def text(self, node: Node, kind: Text) -> Any:
        """A string: filled in, then checked and converted by its form."""
        filled = node.value if kind.raw else self._filled(node)
        if not isinstance(filled, str):
            return filled
        try:
            bad = None if filled is node.value else control_character(filled, lines=kind.form.lines)
            if bad is not None:
                raise FormatError(f"control character {bad} cannot stand here")
            return kind.form.convert(filled)
        except FormatError as error:
            self.report(node, error.message, error.hint)
            return None


@lru_cache(maxsize=256)
def _defaults(table: Table) -> FrozenMap[str, Any]:
    """What holds for each key of the table when it is not written."""
    return FrozenMap({row.key: _default(row) for row in table.rows})


def _default(row: Row) -> Any:
    if row.default is not None:
        return Decoder("").value(_as_node(row.default), row.type)
    if row.nullable:
        return None
    if isinstance(row.type, ListOf):
        return ()
    if isinstance(row.type, MapOf):
        return FrozenMap()
    if isinstance(row.type, TableOf):
        return Decoder("").table(_NOWHERE, row.type.table)
    return None


def _as_node(value: object) -> Node:
    items = tuple(_as_node(item) for item in value) if isinstance(value, tuple) else value
    return Node(items, 0, 0, 0, 0)
