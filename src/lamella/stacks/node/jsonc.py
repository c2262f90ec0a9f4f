"""JSON, and JSON with comments and trailing commas (bun.lock, bunfig-like files), with the place of a mistake."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from lamella.errors import ConfigError, Problem
from lamella.graph.protocols import Tree

__all__ = ["read_json", "read_jsonc"]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|,(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL)


def read_json(tree: Tree, path: str) -> dict[str, Any]:
    """An object from a JSON file of the tree, not to be changed; raises ConfigError with its place."""
    return _parse(tree.read(path), path, comments=False)


def read_jsonc(tree: Tree, path: str) -> dict[str, Any]:
    """The same for JSON with comments and trailing commas."""
    return _parse(tree.read(path), path, comments=True)


@lru_cache(maxsize=64)
def _parse(data: bytes, path: str, *, comments: bool) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
        document = json.loads(_TOKEN.sub(_blank, text) if comments else text)
    except UnicodeDecodeError as error:
        raise ConfigError.from_problems((Problem(path, 0, 0, f"not UTF-8: {error.reason}"),)) from None
    except json.JSONDecodeError as error:
        hint = "it has marks of a merge conflict" if b"\n<<<<<<< " in data else ""
        problem = Problem(path, error.lineno, error.colno, f"not JSON: {error.msg}", hint)
        raise ConfigError.from_problems((problem,)) from None
    except RecursionError:
        raise ConfigError.from_problems((Problem(path, 0, 0, "values are nested too deeply"),)) from None
    if not isinstance(document, dict):
        raise ConfigError.from_problems((Problem(path, 1, 1, "not a JSON object"),))
    return document


def _blank(match: re.Match[str]) -> str:
    """A string as it is; anything else as white space that keeps lines and columns."""
    text = match[0]
    return text if text.startswith('"') else re.sub(r"[^\n]", " ", text)
