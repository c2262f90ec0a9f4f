"""Where a program seems to write into its working directory, which belongs to root in an image."""

from __future__ import annotations

import re

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.init.pages import source_files
from lamella.stacks.base import Detection

__all__ = ["find_write"]

_RELATIVE = r"\(\s*f?[\"'`](?![/~{$:]|https?:)[\w.]"
_WRITES = {
    "python": re.compile(
        rf"\bos\.(?:mkdir|makedirs){_RELATIVE}|FileHandler{_RELATIVE}|\bsqlite3\.connect{_RELATIVE}|"
        rf"\bopen\(\s*f?[\"'](?![/~{{])[^\"'\n]+[\"']\s*,\s*[\"'][wax]|[\"']sqlite(?:\+\w+)?:///(?!/|:memory:|\{{)|"
        rf"\bPath{_RELATIVE}[^\"'\n]*[\"']\s*\)\.(?:mkdir|touch|write_)"
    ),
    "node": re.compile(
        rf"\b(?:mkdir|writeFile|appendFile|createWriteStream)(?:Sync)?{_RELATIVE}|[\"'`]file:\./[^\"'`\n]+\.(?:db|sqlite)"
    ),
}
"""Calls with a path that is relative to the working directory."""


def find_write(tree: Tree, detection: Detection) -> str:
    """The first place (``file:line``) that writes there; empty when none is seen."""
    pattern = _WRITES.get(detection.stack)
    if detection.why.get("data") or pattern is None:
        return detection.why.get("data", "")
    for path in source_files(tree, detection):
        try:
            text = tree.read(path).decode("utf-8", "replace")
        except ConfigError:
            continue
        match = pattern.search(text)
        if match is not None:
            return f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
    return ""
