"""Checked access to the JSON of ``lamella.lock``: every value has its type and form, unknown keys are errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lamella.canonical import FrozenMap
from lamella.oci.digest import is_digest
from lamella.project.formats import control_character

__all__ = ["LockReader", "Wrong"]

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*\Z")
_URL = re.compile(r"(?:https?|file)://\S+\Z")


class Wrong(ValueError):  # noqa: N818  read as a sentence: raise Wrong(...)
    """A value of the lock is not what it should be."""


class LockReader:
    """One object of the lock; ``at`` is its path in messages."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: Any, at: str) -> None:
        if not isinstance(data, dict):
            raise Wrong(f"{at or 'the lock'} is not an object")
        self._data: dict[str, Any] = data
        self._at = at

    def keys(self, *known: str) -> None:
        """Refuse keys that are not known."""
        if not self._data.keys() <= set(known):
            unknown = min(self._data.keys() - set(known))
            raise Wrong(f"{self._path(unknown)} is not a key this version knows")

    def _path(self, key: str) -> str:
        return f"{self._at}.{key}" if self._at else key

    def entries(self, key: str) -> Iterator[tuple[str, LockReader]]:
        """The objects in a map, by name."""
        for name, item in self._map(key):
            yield name, LockReader(item, f"{self._path(key)}.{name}")

    def items(self, key: str) -> Iterator[LockReader]:
        """The objects in a list."""
        for index, item in enumerate(self._list(key)):
            yield LockReader(item, f"{self._path(key)}[{index}]")

    def lists(self, key: str) -> Iterator[tuple[str, tuple[LockReader, ...]]]:
        """The lists of objects in a map, by name."""
        for name, items in self._map(key):
            inner = LockReader({name: items}, self._path(key))
            yield name, tuple(inner.items(name))

    def _map(self, key: str) -> Iterator[tuple[str, Any]]:
        data = self._data.get(key, {})
        if not isinstance(data, dict):
            raise Wrong(f"{self._path(key)} is not an object")
        for name, item in data.items():
            if not name or control_character(name):
                raise Wrong(f"{self._path(key)} has the name {name!a}")
            yield name, item

    def _list(self, key: str) -> list[Any]:
        data = self._data.get(key, [])
        if not isinstance(data, list):
            raise Wrong(f"{self._path(key)} is not an array")
        return data

    def text(self, key: str, default: str | None = None) -> str:
        """A string without control characters; ``default`` when it is not there."""
        value = self._data.get(key, default)
        if not isinstance(value, str) or (not value and default is None):
            raise Wrong(f"{self._path(key)} is missing" if value is None else f"{self._path(key)} is not a string")
        if control_character(value):
            raise Wrong(f"{self._path(key)} holds a control character")
        return value

    def texts(self, key: str) -> FrozenMap[str, str]:
        """A map of strings."""
        found: dict[str, str] = {}
        for name, item in self._map(key):
            if not isinstance(item, str) or control_character(item):
                raise Wrong(f"{self._path(key)}.{name} is not a string of one line")
            found[name] = item
        return FrozenMap(found)

    def digest(self, key: str) -> str:
        """A digest."""
        value = self.text(key)
        if not is_digest(value):
            raise Wrong(f"{self._path(key)} is not a digest")
        return value

    def digests(self, key: str) -> FrozenMap[str, str]:
        """A map of digests."""
        found = self.texts(key)
        for name, value in found.items():
            if not is_digest(value):
                raise Wrong(f"{self._path(key)}.{name} is not a digest")
        return found

    def sha256(self, key: str, default: str | None = None) -> str:
        """64 hex digits, or ``default``."""
        value = self.text(key, default)
        if value != default and not _SHA256.match(value):
            raise Wrong(f"{self._path(key)} is not 64 lower-case hex digits")
        return value

    def filename(self, key: str) -> str:
        """A plain file name: it becomes part of paths."""
        value = self.text(key)
        if not _FILENAME.match(value):
            raise Wrong(f"{self._path(key)} is not a plain file name")
        return value

    def url(self, key: str) -> str:
        """A URL or an empty string."""
        value = self.text(key, "")
        if value and not _URL.match(value):
            raise Wrong(f"{self._path(key)} is not a URL")
        return value

    def size(self, key: str) -> int:
        """A number of bytes; 0 when it is not known."""
        value = self._data.get(key, 0)
        if type(value) is not int or value < 0:
            raise Wrong(f"{self._path(key)} is not a size in bytes")
        return value
