"""Why a folder was not recognised: what is there, and what the adapters say of it."""

from __future__ import annotations

from collections.abc import Callable

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.project.spec import LayerSpec, NodeSpec
from lamella.stacks.cargo.workspace import load_workspace
from lamella.stacks.node.manifest import read_manifest
from lamella.stacks.node.output import find_goal
from lamella.stacks.node.workspace import find_workspace
from lamella.stacks.python.pyproject import read_pyproject

__all__ = ["clues"]

_ENOUGH = {
    "Cargo.toml": "no package of it has a binary",
    "pyproject.toml": "names no project",
    "package.json": "has nothing to build or to start",
}
_NOT_READ = {
    "setup.py": "is code that would have to run; write a pyproject.toml or a requirements.txt",
    "Pipfile": "is not read; export it: pipenv requirements > requirements.txt",
    "environment.yml": "is not read; write a requirements.txt",
}


def clues(tree: Tree) -> tuple[str, ...]:
    """Files that are there and were not enough, with what the adapters say of them."""
    known: dict[str, Callable[[], object]] = {
        "Cargo.toml": lambda: _look_at_workspace(tree),
        "pyproject.toml": lambda: read_pyproject(tree, "."),
        "package.json": lambda: _look_at_package(tree),
    }
    found = []
    for name, look in known.items():
        if tree.exists(name):
            try:
                look()
            except ConfigError as error:
                found.append(f"{name}: {error.message}" + (f"; {error.hint}" if error.hint else ""))
            else:
                found.append(f"{name} is there, and {_ENOUGH[name]}")
    return (*found, *(f"{name} is there, and {why}" for name, why in _NOT_READ.items() if tree.exists(name)))


def _look_at_workspace(tree: Tree) -> None:
    workspace = load_workspace(tree, "")
    for member in workspace.members:
        workspace.package(member)


def _look_at_package(tree: Tree) -> None:
    manifest, layer = read_manifest(tree, "."), LayerSpec("ui", NodeSpec())
    find_workspace(tree, layer, ".")
    if manifest is not None:
        find_goal(tree, layer, NodeSpec(), manifest)
