"""The grammar the settings table is written in: what a value may be, a row, a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from lamella.canonical import FrozenMap
from lamella.project.formats import FORMATS, Format
from lamella.project.toml import Node
from lamella.values import dataclass, field

__all__ = [
    "Boolean",
    "Choice",
    "Default",
    "Free",
    "Integer",
    "Later",
    "ListOf",
    "MapOf",
    "Number",
    "OneOf",
    "Row",
    "Table",
    "TableOf",
    "Text",
    "Type",
    "as_list",
    "choose",
    "describe",
    "field_name",
    "flag",
    "table_of",
    "text",
    "texts",
]

Default: TypeAlias = "str | int | bool | tuple[str, ...] | None"


_UNBOUNDED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Text:
    """A string of one form.

    ``constant``: no variables. ``deferred``: may hold ``{base.X}`` too. ``raw``: variables are checked and stay as
    they are written, for a reader that fills them in later.
    """

    form: Format
    constant: bool = False
    deferred: bool = False
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within bounds. ``convert`` turns it into the value, e.g. a port into ``PORT/tcp``."""

    minimum: int = 0
    maximum: int = _UNBOUNDED
    convert: Callable[[int], object] = int


@dataclass(frozen=True, slots=True)
class Number:
    """A whole or decimal number within bounds; ``convert`` gives the value."""

    minimum: float
    maximum: float
    convert: Callable[[float], object] = float


@dataclass(frozen=True, slots=True)
class Boolean:
    """``true`` or ``false``."""


@dataclass(frozen=True, slots=True)
class Free:
    """Any value but a date or time; strings may hold templates and line breaks."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array. ``bare``: one item may be written without the array around it."""

    item: Type
    at_least: int = 0
    bare: bool = False


@dataclass(frozen=True, slots=True)
class MapOf:
    """A table with keys of one form. ``templates``: variables may stand in keys."""

    key: Format
    item: Type
    templates: bool = False


@dataclass(frozen=True, slots=True)
class TableOf:
    """A table with the keys of ``table``."""

    table: Table


@dataclass(frozen=True, slots=True)
class OneOf:
    """The first of some types that fits by TOML type; ``text`` describes them together."""

    options: tuple[Type, ...]
    text: str


Type: TypeAlias = Text | Choice | Integer | Number | Boolean | Free | ListOf | MapOf | TableOf | OneOf


@dataclass(frozen=True, slots=True)
class Later:
    """A key that is understood and not working yet: ``use`` names what refuses it, ``note`` what it waits for.

    With an empty ``use`` nothing refuses it: it has no effect, and a plan says so.
    ``values`` limits it to some values of a ``Choice``; empty means the key at all.
    """

    use: str
    note: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One key. ``default`` is what holds when it is not written, as it would be written; ``shown`` says it in words.

    ``nullable``: an absent list or table is None, not empty.
    """

    key: str
    type: Type
    doc: str
    default: Default = None
    shown: str = ""
    required: bool = False
    nullable: bool = False
    later: Later | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table and its rows. ``build`` makes the value from one keyword per row.

    ``one_of`` are groups of keys of which exactly one is wanted, ``at_most_one`` groups of which none is fine too.
    ``varied``: ``when`` and ``add`` may stand in it.
    """

    name: str
    doc: str
    rows: tuple[Row, ...]
    build: Callable[..., Any] | None = None
    one_of: tuple[tuple[str, ...], ...] = ()
    at_most_one: tuple[tuple[str, ...], ...] = ()
    varied: bool = False
    later: Later | None = None
    by_key: dict[str, Row] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_key", {row.key: row for row in self.rows})

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """All groups whose keys exclude each other."""
        return self.one_of + self.at_most_one


def choose(kind: OneOf, node: Node) -> Type | None:
    """The option whose TOML type is that of ``node``, or None. An array is told by its first item."""
    return next((option for option in kind.options if _fits(option, node)), None)


def as_list(kind: ListOf, node: Node) -> Node:
    """``node`` as an array: where ``bare`` allows one item alone, the array is put around it."""
    if kind.bare and not _fits(kind, node) and _fits(kind.item, node):
        return node._replace(value=(node,))
    return node


def _fits(kind: Type, node: Node) -> bool:
    value = node.value
    if isinstance(kind, ListOf):
        return isinstance(value, tuple) and (not value or _fits(kind.item, value[0]))
    if isinstance(kind, (Text, Choice)):
        return isinstance(value, str)
    if isinstance(kind, (MapOf, TableOf)):
        return isinstance(value, FrozenMap)
    if isinstance(kind, Integer):
        return isinstance(value, int) and not isinstance(value, bool)
    return True


def describe(kind: Type) -> str:
    """What a value of ``kind`` is, for messages and the reference page."""
    if isinstance(kind, Text):
        return kind.form.text
    if isinstance(kind, Choice):
        return "one of " + ", ".join(f'"{value}"' for value in kind.values)
    if isinstance(kind, Integer) and kind.minimum == kind.maximum:
        return str(kind.minimum)
    if isinstance(kind, (Integer, Number)):
        word = "an integer" if isinstance(kind, Integer) else "a number"
        top = f"to {kind.maximum}" if kind.maximum != _UNBOUNDED else "up"
        return f"{word} from {kind.minimum} {top}"
    if isinstance(kind, ListOf):
        items = f"an array of {_PLURALS.get(type(kind.item), 'values')}"
        return f"{describe(kind.item)}, or an array of these" if kind.bare else items
    if isinstance(kind, OneOf):
        return kind.text
    return {Boolean: "true or false", Free: "any value"}.get(type(kind), "a table")


_PLURALS: dict[type, str] = {
    Text: "strings",
    Choice: "words",
    Integer: "integers",
    ListOf: "arrays",
    MapOf: "tables",
    TableOf: "tables",
}


def field_name(key: str) -> str:
    """The Python name of a key: ``from`` and ``as`` are words of the language."""
    return f"{key}_" if key in ("from", "as") else key


def text(form: str, *, constant: bool = False, deferred: bool = False) -> Text:
    """A string of the named form."""
    return Text(FORMATS[form], constant, deferred)


def texts(form: str, *, constant: bool = False, at_least: int = 0) -> ListOf:
    """An array of strings of the named form."""
    return ListOf(text(form, constant=constant), at_least)


def table_of(table: Table) -> ListOf:
    """An array of tables."""
    return ListOf(TableOf(table), 1)


def flag(key: str, doc: str, *, default: bool = False, later: Later | None = None) -> Row:
    """A yes-or-no key."""
    return Row(key, Boolean(), doc, default=default, later=later)
