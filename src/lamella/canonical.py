"""Canonical JSON and digests: the one way a value becomes bytes that are hashed.

Canonical form: UTF-8, object keys sorted by code point, no white space, integers only
(a float has no single spelling and is refused), strings NFC-agnostic (bytes as given).
The same rules as RFC 8785 for the subset of values used here.

A dataclass is written as an object of its fields, with the class's ``kind`` (a ``ClassVar[str]``)
under ``"kind"`` when it has one. A frozen map is an object, a tuple an array, ``None`` is ``null``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from enum import Enum
from typing import Any, TypeVar

from lamella.errors import InternalError

__all__ = ["EMPTY_MAP", "FrozenMap", "canonical_json", "digest_bytes", "digest_value", "plain"]

K = TypeVar("K")
V = TypeVar("V")


class FrozenMap(Mapping[K, V]):
    """An immutable, hashable mapping. Equality and hash do not depend on insertion order.

    >>> FrozenMap({"b": 1, "a": 2}) == FrozenMap({"a": 2, "b": 1})
    True
    """

    __slots__ = ("_data", "_hash")

    def __init__(self, data: Mapping[K, V] | tuple[tuple[K, V], ...] = ()) -> None:
        self._data: dict[K, V] = dict(data)
        self._hash: int | None = None

    def __getitem__(self, key: K) -> V:
        return self._data[key]

    # Mapping's mixin methods go through __getitem__; loading a project spends most of its time in these.

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def items(self) -> ItemsView[K, V]:
        """Pairs, in insertion order."""
        return self._data.items()

    def keys(self) -> KeysView[K]:
        """Keys, in insertion order."""
        return self._data.keys()

    def values(self) -> ValuesView[V]:
        """Values, in insertion order."""
        return self._data.values()

    def __iter__(self) -> Iterator[K]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._data.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMap):
            return bool(self._data == other._data)
        return NotImplemented

    def __repr__(self) -> str:
        return f"FrozenMap({self._data!r})"

    def with_items(self, items: Mapping[K, V]) -> FrozenMap[K, V]:
        """A new map with ``items`` laid over this one."""
        return FrozenMap({**self._data, **items})


EMPTY_MAP: FrozenMap[Any, Any] = FrozenMap()
"""The map without items, for defaults."""


def plain(value: Any) -> Any:
    """The JSON-able form of ``value``; raises InternalError for what has no canonical spelling."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return _plain_map(value)
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest(), "size": len(value)}
    if hasattr(type(value), "__match_args__"):  # a dataclass; a named tuple is a tuple
        fields = {name: plain(getattr(value, name)) for name in type(value).__match_args__}
        kind = getattr(type(value), "kind", None)
        return {"kind": kind, **fields} if isinstance(kind, str) else fields
    raise InternalError(f"a value of type {type(value).__name__} has no canonical form")


def _plain_map(value: Mapping[Any, Any]) -> dict[str, Any]:
    """An object with string keys only."""
    out: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InternalError(f"a map key of type {type(key).__name__} has no canonical form")
        out[key] = plain(item)
    return out


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: Any) -> bytes:
    """``value`` as canonical JSON bytes."""
    return _ENCODER.encode(plain(value)).encode("utf-8", "surrogateescape")


def digest_bytes(data: bytes) -> str:
    """The OCI digest of ``data``: ``sha256:`` and 64 lower-case hex digits (image-spec, descriptor.md)."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_value(value: Any) -> str:
    """The digest of a value's canonical JSON."""
    return digest_bytes(canonical_json(value))
