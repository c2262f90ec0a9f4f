"""The first pass over a project file: names, types and forms of every key, whether or not a cell ever uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

from lamella.canonical import FrozenMap
from lamella.errors import Problem
from lamella.project.formats import MAX_TEXT, Format, FormatError, control_character
from lamella.project.schema.grammar import (
    Boolean,
    Choice,
    Free,
    Integer,
    ListOf,
    MapOf,
    Number,
    OneOf,
    Table,
    TableOf,
    Text,
    Type,
    as_list,
    choose,
    describe,
)
from lamella.project.template import RESERVED, Template, TemplateError, parse_template
from lamella.project.toml import Node, type_name
from lamella.values import dataclass, field

__all__ = ["Checker", "nearest"]

_VARIED = ("when", "add")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the known name closest to ``name``, or with all of them when they are few."""
    import difflib

    names = sorted(known)
    found = difflib.get_close_matches(name, names, 1, 0.6) if len(name) <= 100 else []
    if found:
        return f"did you mean {found[0]!r}?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= 12 else ""


@dataclass(slots=True)
class Checker:
    """Collects the problems of one file.

    ``axes`` has every axis with its values (empty: any value), ``args`` the declared arguments, ``extra`` further
    variables that may stand in the table at hand.
    """

    file: str
    axes: Mapping[str, tuple[str, ...]]
    args: Mapping[str, str]
    extra: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)

    def report(self, node: Node, message: str, hint: str = "", *, key: bool = False) -> None:
        """Add a problem at the node's value, or at its key."""
        line, column = (node.key_line, node.key_column) if key else (node.line, node.column)
        self.problems.append(Problem(self.file, line, column, message, hint))

    def table(self, node: Node, table: Table, at: str, *, partial: bool = False) -> bool:
        """Check a table against its rows; ``partial``: it is laid over another, so nothing has to be there."""
        before = len(self.problems)
        if not isinstance(node.value, FrozenMap):
            self.report(node, f"{at}: a table is expected, not {_article(type_name(node.value))}")
            return False
        partial = partial or table.varied
        for key, item in node.value.items():
            row = table.by_key.get(key)
            if row is not None:
                self.value(item, row.type, f"{at}.{key}" if at else key, partial=partial)
            elif key == "when" and table.varied:
                self._when(item, table, f"{at}.when")
            elif key == "add" and table.varied:
                self._add(item, table, f"{at}.add")
            else:
                self._unknown(item, key, table, at)
        self._groups(node, table, at, partial=partial)
        return len(self.problems) == before

    def _unknown(self, node: Node, key: str, table: Table, at: str) -> None:
        """An unknown key, with the nearest known one or the table it belongs into."""
        homes = [
            row.key
            for row in table.rows
            if isinstance(row.type, TableOf) and key in row.type.table.by_key and row.key != "base"
        ]
        known = [*table.by_key, *(_VARIED if table.varied else ())]
        hint = f"it belongs into {at}.{homes[0]}" if homes and at else nearest(key, known)
        if key in _VARIED:
            hint = "when and add stand directly in a layer, image or channel"
        where = f" in {at}" if at else ""
        self.report(node, f"unknown key {_shown(key)}{where}", hint, key=True)

    def _groups(self, node: Node, table: Table, at: str, *, partial: bool) -> None:
        """Required keys, and keys of which only one is wanted."""
        present = node.value
        for row in table.rows:
            if row.required and not partial and row.key not in present:
                self.report(node, f"{at}.{row.key} is missing", row.doc)
        for group in table.groups:
            written = [key for key in group if key in present]
            if len(written) > 1:
                written.sort(key=lambda key: (present[key].key_line, present[key].key_column))
                self.report(present[written[1]], f"{at}: {' and '.join(written)} exclude each other", key=True)
            elif not written and not partial and group in table.one_of:
                self.report(node, f"{at} needs one of {', '.join(group)}")

    def _when(self, node: Node, table: Table, at: str) -> None:
        """``when.AXIS.VALUE``: the axis and values must be known, what is below is laid over the table."""
        for axis, by_value in self._entries(node, at):
            values = self.axes.get(axis)
            if values is None:
                self.report(by_value, f"{at}: there is no axis {_shown(axis)}", nearest(axis, self.axes), key=True)
                continue
            for names, overlay in self._entries(by_value, f"{at}.{axis}"):
                self.axis_values(overlay, axis, names.split("|"), at, key=True)
                self.table(overlay, table, f"{at}.{axis}.{_part(names)}", partial=True)

    def axis_values(self, node: Node, axis: str, names: Iterable[str], at: str, *, key: bool = False) -> None:
        """Values of an axis must be among those it has."""
        values = self.axes.get(axis)
        for name in names:
            if values and name not in values:
                self.report(node, f"{at}: axis {axis} has no value {_shown(name)}", nearest(name, values), key=key)

    def _entries(self, node: Node, at: str) -> Iterable[tuple[str, Node]]:
        if not isinstance(node.value, FrozenMap):
            self.report(node, f"{at}: a table is expected, not {_article(type_name(node.value))}")
            return ()
        return tuple(node.value.items())

    def _add(self, node: Node, table: Table, at: str) -> None:
        """``add.KEY``: arrays only, in the same shape as the table."""
        for key, item in self._entries(node, at):
            row = table.by_key.get(key)
            if row is None or key == "base":
                self._unknown(item, key, table, at)
            elif isinstance(row.type, TableOf):
                self._add(item, row.type.table, f"{at}.{key}")
            elif isinstance(row.type, ListOf):
                self.value(item, row.type, f"{at}.{key}")
            else:
                hint = "tables merge by themselves" if isinstance(row.type, MapOf) else "write the key without add"
                self.report(item, f"{at}.{key}: add appends to arrays, {key} is none", hint, key=True)

    def value(self, node: Node, kind: Type, at: str, *, partial: bool = False) -> None:
        """Check one value against its type."""
        value: Any = node.value
        if isinstance(kind, (Text, Choice)) and isinstance(value, str):
            self._string(node, kind, at)
        elif isinstance(kind, ListOf) and isinstance(items := as_list(kind, node).value, tuple):
            if len(items) < kind.at_least:
                self.report(node, f"{at} is empty")
            for item in items:
                self.value(item, kind.item, at)
        elif isinstance(kind, MapOf) and isinstance(value, FrozenMap):
            self._map(node, kind, at)
        elif isinstance(kind, TableOf) and isinstance(value, FrozenMap):
            self.table(node, kind.table, at, partial=partial)
        elif isinstance(kind, Free):
            self._free(node, at)
        elif isinstance(kind, OneOf) and (chosen := choose(kind, node)) is not None:
            self.value(node, chosen, at, partial=partial)
        elif not self._scalar(node, kind, at):
            hint = _quoted(value, kind)
            self.report(node, f"{at}: {describe(kind)} is expected, not {_article(type_name(value))}", hint)

    def _scalar(self, node: Node, kind: Type, at: str) -> bool:
        """Whether a boolean or number has its type; a number out of bounds is reported here."""
        value = node.value
        if isinstance(kind, Boolean):
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(kind, (Integer, Number)):
            return False
        if not isinstance(value, int if isinstance(kind, Integer) else (int, float)):
            return False
        if not kind.minimum <= value <= kind.maximum:
            hint = "this release of Lamella reads no other" if kind.minimum == kind.maximum else ""
            self.report(node, f"{at}: {value} is not {describe(kind)}", hint)
        return True

    def _map(self, node: Node, kind: MapOf, at: str) -> None:
        for key, item in node.value.items():
            anchor = Node(key, item.key_line, item.key_column, item.key_line, item.key_column)
            self._string(anchor, Text(kind.key, constant=not kind.templates), f"{at}: name")
            self.value(item, kind.item, f"{at}.{_part(key)}")

    def _free(self, node: Node, at: str) -> None:
        """A value without a schema: strings, numbers, booleans, arrays and tables of them."""
        value = node.value
        if isinstance(value, str):
            self._string(node, Text(_ANY_TEXT), at)
        elif isinstance(value, FrozenMap):
            for key, item in value.items():
                self._free(item, f"{at}.{key}")
        elif isinstance(value, tuple):
            for item in value:
                self._free(item, at)
        elif not isinstance(value, (bool, int, float)):
            self.report(node, f"{at}: a {type_name(value)} cannot stand here", "write it as a string")
        elif not isfinite(value):
            self.report(node, f"{at}: {value} cannot stand here")

    def _string(self, node: Node, kind: Text | Choice, at: str) -> None:
        """Control characters, length, template, and the form when there is no variable to wait for."""
        text = node.value
        bad = control_character(text, lines=isinstance(kind, Text) and kind.form.lines)
        if bad is not None:
            self.report(node, f"{at}: control character {bad} cannot stand here")
            return
        if len(text) > MAX_TEXT // 4 and len(text.encode()) > MAX_TEXT:
            self.report(node, f"{at}: the string is longer than {MAX_TEXT} bytes")
            return
        try:
            template = parse_template(text)
        except TemplateError as error:
            self.report(node, f"{at}: {error.message}", error.hint)
            return
        variables = template.variables
        if variables and (isinstance(kind, Choice) or kind.constant):
            self.report(node, f"{at}: variables cannot stand here, {variables[0].text} does")
        elif variables:
            self._variables(node, template, at, deferred=isinstance(kind, Text) and kind.deferred)
        plain = "".join(part for part in template.parts if isinstance(part, str))
        if isinstance(kind, Choice):
            if not variables and plain not in kind.values:
                self.report(node, f"{at}: {_shown(plain)} is not {describe(kind)}", nearest(plain, kind.values))
        elif not variables or kind.raw:
            self._form(node, text if kind.raw else plain, kind.form.convert, at)

    def _form(self, node: Node, text: str, convert: Callable[[str], object], at: str) -> None:
        try:
            convert(text)
        except FormatError as error:
            self.report(node, f"{at}: {error.message}", error.hint)

    def _variables(self, node: Node, template: Template, at: str, *, deferred: bool) -> None:
        """Every variable must exist, and ``{base.X}`` stand where it can wait."""
        for variable in template.variables:
            group, dot, name = variable.name.partition(".")
            if group == "base" and dot:
                if not deferred:
                    self.report(
                        node,
                        f"{at}: {variable.text} cannot stand here",
                        "it is known when the image is composed; env, labels, entrypoint and cmd may hold it",
                    )
            elif group == "args" and dot:
                if name not in self.args:
                    hint = nearest(name, self.args) or f"declare {name} under [args]"
                    self.report(node, f"{at}: there is no argument {_shown(name)}", hint)
            elif variable.name not in self.extra and variable.name not in self.axes:
                known = {*RESERVED, *self.axes, *self.extra} - {"args", "base"}
                if variable.name not in known:
                    hint = nearest(variable.name, known)
                    hint = f"{hint}; " if hint.startswith("did") else ""
                    self.report(node, f"{at}: there is no variable {variable.text}", f"{hint}write '{{{{' for a brace")


_ANY_TEXT = Format("value", "text", str, lines=True)


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _part(name: str) -> str:
    """A name as part of a path in messages."""
    return ascii(name) if control_character(name) else name


def _shown(text: str) -> str:
    """A name from the file as it can be printed: short, and without control characters."""
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return ascii(short) if control_character(short) else repr(short)


def _quoted(value: object, kind: Type) -> str:
    """The hint for a bare number or boolean where text is expected: in quotes, or what its form wants besides."""
    if not isinstance(kind, (Text, Choice)) or not isinstance(value, (bool, int, float)):
        return ""
    text = str(value).lower()
    if isinstance(kind, Text):
        try:
            kind.form.convert(text)
        except FormatError as error:
            return f"{error.hint}, in quotes" if error.hint else "write it in quotes"
    return f'write it in quotes: "{text}"'
