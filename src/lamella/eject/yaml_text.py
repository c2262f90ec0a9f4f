"""The one serialiser of compose files: YAML by a library, with Compose's own variables kept out of values.

Compose replaces ``$NAME`` in every string after it has read the YAML (Compose file reference, "Interpolation"), so a
dollar of ours is written twice.
"""

from __future__ import annotations

import io
import re
from typing import Any

from lamella.eject.text import check_text

__all__ = ["CWD_MARK", "UID_MARK", "compose_string", "yaml_text"]

CWD_MARK = "/lamella-cwd-of-the-caller"
"""Stands for ``{cwd}`` until the file is written: the folder that compose is started in."""

UID_MARK = 4_000_000_321
"""Stands for ``{uid}``: the caller's, as far as the shell exports it."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def compose_string(text: str) -> str:
    """A text as compose must read it to mean the text itself; the marks become variables."""
    check_text(text, "compose file", breaks=True)
    out = text.replace("$", "$$")
    return out.replace(CWD_MARK, "${PWD}").replace(str(UID_MARK), "${UID:-1000}")


def yaml_text(document: dict[str, Any]) -> str:
    """A document of dicts, lists, strings, numbers and truth values, in its own order. Strings are quoted unless no
    reader of YAML 1.1 or 1.2 could take them for something else.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(_quoted(document), out)
    return out.getvalue()


def _quoted(value: Any) -> Any:
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, dict):
        return CommentedMap((_quoted(key), _quoted(item)) for key, item in value.items())
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    if isinstance(value, str):
        text = compose_string(value)
        plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
        return text if plain else DoubleQuotedScalarString(text)
    return value
