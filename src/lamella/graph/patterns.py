"""Globs over relative paths, as ``inputs`` of a layer are written.

``*`` and ``?`` stay inside one path part, ``**`` spans parts, ``[...]`` is a character class, ``{`` has no
meaning. A pattern without a wildcard that names a directory takes everything below it. ``!`` in front
excludes again; later patterns win.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["compile_patterns", "literal_prefix", "pattern_regex"]

_WILD = re.compile(r"[*?\[]")


@lru_cache(maxsize=2048)
def pattern_regex(pattern: str) -> re.Pattern[str]:
    """A compiled expression that fully matches the paths of one glob (without a leading ``!``)."""
    text = pattern.strip("/")
    text = text.removeprefix("./")
    out, index = "", 0
    while index < len(text):
        char = text[index]
        if text.startswith("**/", index):
            out, index = out + r"(?:[^/]+/)*", index + 3
        elif text.startswith("**", index):
            out, index = out + r".*", index + 2
        elif char == "*":
            out, index = out + r"[^/]*", index + 1
        elif char == "?":
            out, index = out + r"[^/]", index + 1
        elif char == "[":
            piece, index = _char_class(text, index)
            out += piece
        else:
            out, index = out + re.escape(char), index + 1
    return re.compile(out + r"(?:/.*)?", re.DOTALL)


def _char_class(text: str, index: int) -> tuple[str, int]:
    """The expression of ``[...]`` that starts at ``index`` and the index after it."""
    end = text.find("]", index + 2)
    if end < 0:
        return re.escape("["), index + 1
    body = text[index + 1 : end]
    negated = body[:1] in ("!", "^")
    body = body[1:] if negated else body
    inner = body.replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
    return f"(?!/)[{'^' if negated else ''}{inner}]", end + 1


@lru_cache(maxsize=512)
def compile_patterns(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """A predicate over relative paths for a list of globs; the last one that matches decides."""
    rules = tuple((not p.startswith("!"), pattern_regex(p.removeprefix("!"))) for p in patterns)

    def matches(path: str) -> bool:
        for wanted, regex in reversed(rules):
            if regex.fullmatch(path):
                return wanted
        return False

    return matches


def literal_prefix(pattern: str) -> str:
    """The leading path parts of a glob without a wildcard: where a walk may start."""
    parts: list[str] = []
    for part in pattern.lstrip("!").strip("/").split("/"):
        if _WILD.search(part):
            break
        parts.append(part)
    return "/".join(part for part in parts if part != ".")
