"""TOML text of plain values, always the same for equal values: sorted keys, no comments, one spelling (TOML
1.0).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from json import JSONEncoder
from typing import Any

from lamella.errors import InternalError

__all__ = ["toml_text", "toml_value"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_quoted = JSONEncoder(ensure_ascii=False).encode


def toml_text(document: Mapping[str, Any]) -> str:
    """A whole document. Tables get headers, arrays stay in one line, None values are left out."""
    lines: list[str] = []
    _table(document, (), lines)
    return "\n".join(lines).strip("\n") + "\n"


def _table(table: Mapping[str, Any], keys: tuple[str, ...], lines: list[str]) -> None:
    scalars = {k: v for k, v in sorted(table.items()) if v is not None and not isinstance(v, Mapping)}
    tables = {k: v for k, v in sorted(table.items()) if isinstance(v, Mapping)}
    if keys and (scalars or not tables):
        lines += ["", f"[{'.'.join(_key(key) for key in keys)}]"]
    lines += [f"{_key(key)} = {toml_value(value)}" for key, value in scalars.items()]
    for key, value in tables.items():
        _table(value, (*keys, key), lines)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but TOML wants DEL escaped as well."""
    return _quoted(text).replace("\x7f", "\\u007f")


def toml_value(value: Any) -> str:
    """One value in one line; raises InternalError for what TOML cannot hold."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return (
            ("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
            if not math.isfinite(value)
            else repr(value)
        )
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(k)} = {toml_value(v)}" for k, v in sorted(value.items()) if v is not None)
        return f"{{ {inner} }}" if inner else "{}"
    raise InternalError(f"a value of type {type(value).__name__} has no TOML form")
