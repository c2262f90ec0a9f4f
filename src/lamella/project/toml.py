"""TOML as nodes with places: every key and value knows its line and column (rule C1 of the reliability page)."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.project.positions import Mark, ScanError, scan

__all__ = ["MAX_BYTES", "Node", "NodeValue", "read_toml", "type_name"]

MAX_BYTES = 8 * 1024 * 1024
"""A project or lock file larger than this is refused before it is parsed."""

NodeValue: TypeAlias = Any
"""``FrozenMap[str, Node]``, ``tuple[Node, ...]``, or a plain TOML scalar."""

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


class Node(NamedTuple):
    """A value with its place and the place of its key (1-based; columns in characters)."""

    value: NodeValue
    line: int
    column: int
    key_line: int
    key_column: int


def type_name(value: object) -> str:
    """What a TOML value is, in the words of the TOML specification."""
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "float", FrozenMap: "table", tuple: "array"}
    return names.get(type(value), "date or time")


def read_toml(data: bytes, *, file: str) -> Node:
    """``data`` as a node tree; raises ConfigError with file, line and column for anything that is not TOML."""
    text = _decode(data, file)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, text, file) from None
    except RecursionError:
        raise ConfigError.from_problems((Problem(file, 1, 1, "values are nested too deeply"),)) from None
    try:
        mark = scan(text)
    except ScanError as error:
        line, column = _Lines(text).place(error.offset)
        raise ConfigError.from_problems((Problem(file, line, column, error.message),)) from None
    return _Lines(text).node(values, mark)


def _decode(data: bytes, file: str) -> str:
    """The text of the file; the byte-order mark and bytes that are not UTF-8 are errors with their place."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{file}: the file has {len(data)} bytes, more than {MAX_BYTES}")
    if data.startswith(b"\xef\xbb\xbf"):
        problem = Problem(file, 1, 1, "the file begins with a byte-order mark", "save it as UTF-8 without one")
        raise ConfigError.from_problems((problem,))
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem = Problem(file, line, column, f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8")
        raise ConfigError.from_problems((problem,)) from None


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, file: str) -> ConfigError:
    """``tomllib``'s finding; for a key or table set twice with the places of both."""
    match = _AT.search(str(error))
    message = str(error)[: match.start()] if match else str(error)
    lines = _Lines(text)
    place = (int(match[1]), int(match[2])) if match and match[1] else lines.place(len(text))
    if message.startswith(("Cannot overwrite", "Cannot declare", "Duplicate")):
        twice: list[tuple[int, int]] = []
        with suppress(ScanError):  # what stands before the finding may end in the middle of a value
            scan(text[: lines.offset(*place)], twice)
        if twice:
            offset, first = twice[-1]
            line, column = lines.place(offset)
            name = re.match(r"[^\s=\].]+", text[offset:])
            what = f"{name[0] if name else 'the key'} is set twice, first in line {lines.place(first)[0]}"
            return ConfigError.from_problems((Problem(file, line, column, what),))
    plain = message[:1].lower() + message[1:]
    return ConfigError.from_problems((Problem(file, place[0], place[1], f"not TOML: {plain}"),))


class _Lines:
    """Offsets to lines and columns."""

    __slots__ = ("_starts",)

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1."""
        index = bisect_right(self._starts, offset) - 1
        return index + 1, offset - self._starts[index] + 1

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and column."""
        return self._starts[line - 1] + column - 1

    def node(self, value: Any, mark: Mark) -> Node:
        """The node of ``value``, which ``mark`` describes."""
        if isinstance(value, dict):
            value = FrozenMap({key: self.node(item, mark.table[key]) for key, item in value.items()})
        elif isinstance(value, list):
            value = tuple(self.node(item, inner) for item, inner in zip(value, mark.items, strict=True))
        line, column = self.place(mark.value)
        key_line, key_column = (line, column) if mark.key == mark.value else self.place(mark.key)
        return Node(value, line, column, key_line, key_column)
