"""The settings table as a JSON schema (draft 2020-12), for editors and for checking files without Lamella.

The schema is a little weaker than the checker: it cannot know axes, references, or what a template becomes.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from lamella.project.formats import Format
from lamella.project.schema.grammar import (
    Boolean,
    Choice,
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
)
from lamella.project.schema.root import root_table

__all__ = ["json_schema"]

_Schema = dict[str, Any]


def json_schema() -> _Schema:
    """The schema of ``lamella.toml`` as JSON-able data."""
    definitions: dict[str, _Schema] = {}
    root = _object(root_table(), definitions, partial=False)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lamella.toml",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(table: Table, definitions: dict[str, _Schema], *, partial: bool) -> _Schema:
    """A table; ``partial`` when it may be completed by a ``when``, so that nothing is required of it."""
    partial = partial or table.varied
    properties = {row.key: _row(row, definitions, partial=partial) for row in table.rows}
    schema: _Schema = {"type": "object", "description": table.doc}
    if table.varied:
        properties["when"] = _when(table, definitions)
        properties["add"] = _reference(f"{table.name}.add", lambda: _add(table, definitions), definitions)
    schema |= {"properties": properties, "additionalProperties": False}
    required = [row.key for row in table.rows if row.required]
    if required and not partial:
        schema["required"] = required
    rules = [_one_of(group) for group in table.one_of if not partial]
    rules += [_not_both(pair) for group in table.groups for pair in combinations(group, 2)]
    if rules:
        schema["allOf"] = rules
    return schema


def _one_of(group: tuple[str, ...]) -> _Schema:
    return {"anyOf": [{"required": [key]} for key in group]}


def _not_both(pair: tuple[str, str]) -> _Schema:
    return {"not": {"required": list(pair)}}


def _when(table: Table, definitions: dict[str, _Schema]) -> _Schema:
    """``when.AXIS.VALUE``: the table again."""
    return {
        "type": "object",
        "description": "Keys for some cells: when.AXIS.VALUE, with | between several values.",
        "additionalProperties": {"type": "object", "additionalProperties": _table(table, definitions, partial=True)},
    }


def _add(table: Table, definitions: dict[str, _Schema]) -> _Schema:
    """``add.KEY``: what is appended to arrays."""
    properties: dict[str, _Schema] = {}
    for row in table.rows:
        if isinstance(row.type, ListOf):
            properties[row.key] = _value(row.type, definitions, partial=False)
        elif isinstance(row.type, TableOf) and row.key != "base":
            inner = row.type.table
            properties[row.key] = _reference(f"{inner.name}.add", lambda t=inner: _add(t, definitions), definitions)
    return {
        "type": "object",
        "description": "Appends to arrays.",
        "properties": properties,
        "additionalProperties": False,
    }


def _reference(name: str, make: Any, definitions: dict[str, _Schema]) -> _Schema:
    """A definition under a name, made once."""
    if name not in definitions:
        definitions[name] = {}  # stands while the definition refers to itself
        definitions[name] = make()
    return {"$ref": f"#/$defs/{name.replace('~', '~0').replace('/', '~1')}"}


def _table(table: Table, definitions: dict[str, _Schema], *, partial: bool) -> _Schema:
    name = f"{table.name} (part)" if partial and not table.varied else table.name
    return _reference(name, lambda: _object(table, definitions, partial=partial), definitions)


def _row(row: Row, definitions: dict[str, _Schema], *, partial: bool) -> _Schema:
    """One key with what people want to know of it."""
    doc = row.doc
    if row.later is not None:
        values = f" ({', '.join(row.later.values)})" if row.later.values else ""
        doc += f". Not yet{values}: {row.later.note}"
    schema = {**_value(row.type, definitions, partial=partial), "description": doc}
    if row.default is not None:
        schema["default"] = list(row.default) if isinstance(row.default, tuple) else row.default
    return schema


def _value(kind: Type, definitions: dict[str, _Schema], *, partial: bool) -> _Schema:
    """A value of one type."""
    if isinstance(kind, Text):
        return {"type": "string", **_pattern(kind.form, templates=not kind.constant and not kind.raw)}
    if isinstance(kind, Choice):
        return {"type": "string", "enum": list(kind.values)}
    if isinstance(kind, Boolean):
        return {"type": "boolean"}
    if isinstance(kind, Integer):
        return {"type": "integer", "minimum": kind.minimum, "maximum": kind.maximum}
    if isinstance(kind, Number):
        return {"type": "number", "minimum": kind.minimum, "maximum": kind.maximum}
    if isinstance(kind, ListOf):
        item = _value(kind.item, definitions, partial=False)
        array = {"type": "array", "items": item, **({"minItems": kind.at_least} if kind.at_least else {})}
        return {"anyOf": [array, item]} if kind.bare else array
    if isinstance(kind, MapOf):
        names = _pattern(kind.key, templates=kind.templates)
        inner = _value(kind.item, definitions, partial=partial)
        return {"type": "object", "additionalProperties": inner, **({"propertyNames": names} if names else {})}
    if isinstance(kind, TableOf):
        return _table(kind.table, definitions, partial=partial)
    if isinstance(kind, OneOf):
        return {"anyOf": [_value(option, definitions, partial=partial) for option in kind.options]}
    return {}


def _pattern(form: Format, *, templates: bool) -> _Schema:
    """The form's expression; a string with a variable passes."""
    if form.pattern is None:
        return {}
    return {"pattern": rf"(?:{form.pattern})|\{{" if templates else form.pattern}
