"""What ``init`` proposes, as values: lines of TOML with the reasons for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from lamella.values import dataclass, field

__all__ = ["Line", "Proposal", "Table", "inline_table", "quoted", "string_list"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of TOML and why it is there."""

    text: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table: ``header`` as in ``layer.app``; ``why`` is about the table as a whole."""

    header: str
    lines: tuple[Line, ...]
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A whole project file. ``notes`` are said besides: what to look at, what was seen and not taken over.

    ``suites`` are the Debian suites of its bases that nothing but a default chose, ``local`` says that steps run with
    the host's tools.
    """

    project: Table
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    local: bool = field(default=False)


def quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def string_list(items: Iterable[str]) -> str:
    """A TOML array of strings."""
    return f"[{', '.join(quoted(item) for item in items)}]"


def inline_table(items: Mapping[str, str]) -> str:
    """A TOML inline table of strings; names are quoted where a bare key cannot have them."""
    pairs = (f"{name if _is_bare(name) else quoted(name)} = {quoted(value)}" for name, value in items.items())
    return f"{{ {', '.join(pairs)} }}"


def _is_bare(name: str) -> bool:
    return name.isascii() and name.replace("_", "").replace("-", "").isalnum()
