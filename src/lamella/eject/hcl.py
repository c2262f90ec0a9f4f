"""The one serialiser of bake files: attributes and blocks of HCL (HCL native syntax specification, "Template
Expressions": in quotes a backslash, a quote, ``${`` and ``%{`` are escaped).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lamella.eject.text import check_text
from lamella.errors import HostileInputError
from lamella.values import dataclass

__all__ = ["Template", "Value", "block_lines", "hcl_text"]


@dataclass(frozen=True, slots=True)
class Template:
    """A text in which ``variable`` stands between the parts."""

    parts: tuple[str, ...]
    variable: str


Value = str | Template | list["str | Template"]


def hcl_text(text: str) -> str:
    r"""A quoted template that means the text itself.

    >>> hcl_text('a"${b}')
    '"a\\"$${b}"'
    """
    return f'"{_inside(text)}"'


def _inside(text: str) -> str:
    check_text(text, "bake file")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${").replace("%{", "%%{")


def _value(value: Value, indent: str) -> str:
    if isinstance(value, Template):
        pieces = [_inside(part) for part in value.parts]
        if any(piece.endswith(("$", "%")) for piece in pieces[:-1]):
            raise HostileInputError(f"{''.join(value.parts)!r} cannot stand before a variable of a bake file")
        return '"' + f"${{{value.variable}}}".join(pieces) + '"'
    if isinstance(value, str):
        return hcl_text(value)
    items = [_value(item, indent) for item in value]
    if len(items) < 2:
        return f"[{''.join(items)}]"
    inner = "".join(f"{indent}  {item},\n" for item in items)
    return f"[\n{inner}{indent}]"


def block_lines(kind: str, name: str, attributes: Mapping[str, Value], remark: str = "") -> list[str]:
    """``kind "name" { attribute = value … }`` with names padded to one width."""
    for word in (kind, *attributes):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", word):
            raise HostileInputError(f"{word!r} is no name in a bake file")
    width = max((len(key) for key in attributes), default=0)
    lines = [f"# {check_text(remark, 'remark')}"] if remark else []
    lines.append(f"{kind} {hcl_text(name)} {{")
    for key, value in attributes.items():
        lines += f"  {key:<{width}} = {_value(value, '  ')}".split("\n")
    return [*lines, "}"]
