"""Where each key and value of a TOML text stands.

``tomllib`` gives exact values and no places; this scanner gives places and no values. It relies on ``tomllib`` having
accepted the text, so it only has to find the ends of keys and values (TOML 1.0, https://toml.io/en/v1.0.0).
Offsets are in characters; a ``Mark`` tree has the same shape as the value tree.
"""

from __future__ import annotations

import re

from lamella.values import dataclass, field

__all__ = ["MAX_DEPTH", "Mark", "ScanError", "scan"]

MAX_DEPTH = 64
"""Arrays, inline tables and dotted keys nested deeper than this are refused; no project file needs it."""

_BLANK = re.compile(r"(?:[ \t\n\r]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_VALUE = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!"")|""(?!"))*"{3,5}'''
    r"""|'''(?:[^']|'(?!'')|''(?!'))*'{3,5}"""
    r'''|"(?:[^"\\\n]|\\.)*"'''
    r"""|'[^'\n]*'"""
    r"""|[^\s,\]}#]+(?:[ ]\d\d:[^\s,\]}#]+)?""",
    re.DOTALL,
)


class ScanError(ValueError):
    """The text is nested too deeply, or is no TOML; ``offset`` says where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(slots=True)
class Mark:
    """The offsets of a key and its value; ``table`` or ``items`` hold the marks inside."""

    key: int
    value: int
    table: dict[str, Mark] = field(default_factory=dict)
    items: list[Mark] = field(default_factory=list)


@dataclass(slots=True)
class _Scanner:
    """State of one scan; ``twice`` collects (offset, first offset) of keys that are set again."""

    text: str
    twice: list[tuple[int, int]]

    def document(self) -> Mark:
        """The mark tree of the whole text."""
        root = Mark(0, 0)
        current = root
        at = self._skip(0)
        while at < len(self.text):
            current, at = self._header(root, at) if self.text[at] == "[" else (current, self._entry(current, at, 0))
            at = self._skip(at)
        return root

    def _skip(self, at: int) -> int:
        """The offset of the next thing that is neither white space nor comment."""
        match = _BLANK.match(self.text, at)
        return match.end() if match else at

    def _space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def _header(self, root: Mark, start: int) -> tuple[Mark, int]:
        """``[a.b]`` or ``[[a.b]]``: the table that follows and the offset behind the header."""
        is_array = self.text.startswith("[[", start)
        keys, at = self._keys(self._space(start + (2 if is_array else 1)))
        at += 2 if is_array else 1
        owner = root
        for name, offset in keys[:-1]:
            owner = _open(owner, name, offset)
        name, offset = keys[-1]
        if is_array:
            array = owner.table.setdefault(name, Mark(offset, start))
            array.items.append(Mark(offset, start))
            return array.items[-1], at
        table = owner.table.get(name)
        if table is None:
            table = owner.table[name] = Mark(offset, start)
        elif self.text[table.value] == "[" and _last_key(self.text, table, name):
            self.twice.append((offset, table.key))
        table.key, table.value = offset, start
        return table, at

    def _keys(self, at: int) -> tuple[list[tuple[str, int]], int]:
        """A dotted key as names with their offsets, and the offset behind it (at ``=`` or ``]``)."""
        keys: list[tuple[str, int]] = []
        while True:
            match = _KEY.match(self.text, at)
            if match is None:
                raise ScanError("a key is expected", at)
            keys.append((_unquote(match[0]), at))
            if len(keys) > MAX_DEPTH:
                raise ScanError(f"a key has more than {MAX_DEPTH} parts", at)
            at = self._space(match.end())
            if not self.text.startswith(".", at):
                return keys, at
            at = self._space(at + 1)

    def _entry(self, table: Mark, at: int, depth: int) -> int:
        """``key = value``; the offset behind the value."""
        keys, at = self._keys(at)
        for name, offset in keys[:-1]:
            table = _open(table, name, offset)
        if not self.text.startswith("=", at):
            raise ScanError("'=' is expected", at)
        at = self._space(at + 1)
        name, offset = keys[-1]
        mark = Mark(offset, at)
        if name in table.table:
            self.twice.append((offset, table.table[name].key))
        table.table[name] = mark
        return self._value(mark, at, depth + 1)

    def _value(self, mark: Mark, at: int, depth: int) -> int:
        """One value; fills ``mark`` for arrays and inline tables and gives the offset behind it."""
        if depth > MAX_DEPTH:
            raise ScanError(f"values are nested more than {MAX_DEPTH} deep", at)
        char = self.text[at : at + 1]
        if char == "[":
            return self._array(mark, at, depth)
        if char == "{":
            return self._inline(mark, at, depth)
        match = _VALUE.match(self.text, at)
        if match is None:
            raise ScanError("a value is expected", at)
        return match.end()

    def _array(self, mark: Mark, at: int, depth: int) -> int:
        at = self._skip(at + 1)
        while not self.text.startswith("]", at):
            item = Mark(at, at)
            mark.items.append(item)
            at = self._skip(self._value(item, at, depth + 1))
            if self.text.startswith(",", at):
                at = self._skip(at + 1)
        return at + 1

    def _inline(self, mark: Mark, at: int, depth: int) -> int:
        at = self._skip(at + 1)
        while not self.text.startswith("}", at):
            at = self._skip(self._entry(mark, at, depth))
            if self.text.startswith(",", at):
                at = self._skip(at + 1)
        return at + 1


def _open(owner: Mark, name: str, offset: int) -> Mark:
    """The table ``name`` below ``owner``, made when it is implied only; of an array of tables the last one."""
    mark = owner.table.get(name)
    if mark is None:
        mark = owner.table[name] = Mark(offset, offset)
    return mark.items[-1] if mark.items else mark


def _last_key(text: str, table: Mark, name: str) -> bool:
    """Whether the header at ``table.value`` was written for this very table, not for one below it."""
    end = text.find("]", table.key)
    return _unquote(text[table.key : end].strip()) == name


def _unquote(key: str) -> str:
    """The name that a bare or quoted key stands for."""
    if key[:1] == "'":
        return key[1:-1]
    if key[:1] == '"':
        if "\\" not in key:
            return key[1:-1]
        import tomllib

        return next(iter(tomllib.loads(f"{key}=0")))
    return key


def scan(text: str, twice: list[tuple[int, int]] | None = None) -> Mark:
    r"""The marks of ``text`` (with ``\n`` line ends). ``twice`` receives keys set again. Raises ScanError."""
    return _Scanner(text, [] if twice is None else twice).document()
