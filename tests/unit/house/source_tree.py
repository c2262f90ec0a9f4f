"""The product's own source as values: every module, what it imports, where its room is.

Rooms and numbers are those of the design's section on rooms; a new room is added here and in
``docs/adr/0002-rooms-and-import-directions.md`` in the same commit.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "src"
PACKAGE = "lamella"

ROOMS = {
    "errors": 0, "canonical": 0, "process": 0, "clock": 0, "host": 0, "transport": 0, "commit": 0,
    "values": 0,
    "oci": 1,
    "graph": 2,
    "project": 3,
    "sources": 4, "layers": 4, "store": 4, "registry": 4,
    "stacks": 5, "cache": 5,
    "planning": 6,
    "engines": 7,
    "images": 8,
    "build": 9,
    "runtime": 10, "eject": 10,
    "checks": 11, "bench": 11, "ci": 11, "report": 11,
    "api": 12, "init": 12, "doctor": 12,
    "cli": 13, "__main__": 13,
}  # fmt: skip
TESTING = "testing"
"""The room of shipped fakes: it has no number, may import all but ``cli``, and only tests import it."""

PURE_ROOMS = frozenset({"oci", "graph", "project", "stacks", "planning"})
"""Rooms that do no I/O of their own."""


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: ``target`` is the dotted module (or module member) and ``line`` where it stands."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the product: dotted ``name``, ``path`` and parsed ``tree``."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The second part of the dotted name; empty for the package itself."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""

    @property
    def imports(self) -> tuple[Import, ...]:
        """Every import anywhere in the module, also inside functions and type-checking guards."""
        return imports_of(self.tree)


def parse_module(name: str, text: str) -> Module:
    """A module value of source text that need not be on disk."""
    return Module(name, Path(f"{name}.py"), ast.parse(text))


def imports_of(tree: ast.AST) -> tuple[Import, ...]:
    """All imports below ``tree``; ``from a import b`` counts as ``a.b``, which may be a module or a member."""
    found: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return tuple(found)


def python_files(*folders: str) -> tuple[Path, ...]:
    """The Python files below folders of the repository, sorted."""
    return tuple(sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")))


@cache
def product() -> tuple[Module, ...]:
    """Every module of the product."""
    return tuple(
        Module(_dotted(path), path, ast.parse(path.read_text(encoding="utf-8"))) for path in python_files("src/lamella")
    )


def _dotted(path: Path) -> str:
    """``src/lamella/oci/index.py`` -> ``lamella.oci.index``."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
