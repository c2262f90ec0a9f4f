"""What a ``pyproject.toml`` says of its project (PyPA specifications: pyproject.toml, dependency groups)."""

from __future__ import annotations

import posixpath
import tomllib
from functools import lru_cache
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.graph.protocols import Tree
from lamella.stacks.python.requirements import RequirementLine, parse_line
from lamella.values import dataclass, field

__all__ = ["Pyproject", "read_pyproject", "read_toml_table"]


@dataclass(frozen=True, slots=True)
class Pyproject:
    """One project. ``dynamic`` fields are only known to its build backend.

    ``is_package`` is whether there is something to install: a build system that uv's settings do not switch off.
    ``workspace`` is true where ``[tool.uv.workspace]`` makes the folder the root of others.
    """

    path: str
    name: str = ""
    version: str = ""
    requires_python: str = ""
    dependencies: tuple[RequirementLine, ...] = ()
    extras: FrozenMap[str, tuple[RequirementLine, ...]] = EMPTY_MAP
    groups: FrozenMap[str, tuple[RequirementLine, ...]] = EMPTY_MAP
    scripts: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    build_requires: tuple[str, ...] = ()
    build_backend: str = ""
    backend_path: tuple[str, ...] = ()
    is_package: bool = False
    workspace: bool = False
    tools: tuple[str, ...] = field(default=(), compare=False)

    @property
    def folder(self) -> str:
        """The folder of the project, ``.`` for the root."""
        return posixpath.dirname(self.path) or "."


def read_toml_table(tree: Tree, path: str) -> dict[str, Any]:
    """A TOML file of the tree, not to be changed; raises ConfigError with its place."""
    return _parsed(tree.read(path), path)


@lru_cache(maxsize=16)
def _parsed(data: bytes, path: str) -> dict[str, Any]:
    """A lock of many cells is parsed once."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError.from_problems((Problem(path, 0, 0, f"not UTF-8: {error.reason}"),)) from None
    except tomllib.TOMLDecodeError as error:
        line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
        raise ConfigError.from_problems((Problem(path, line, column, f"not TOML: {error}"),)) from None


def read_pyproject(tree: Tree, folder: str) -> Pyproject | None:
    """The project of a folder, None when it has no ``pyproject.toml``. Raises ConfigError for a malformed one."""
    path = posixpath.normpath(posixpath.join(folder, "pyproject.toml"))
    if not tree.exists(path):
        return None
    data = read_toml_table(tree, path)
    try:
        return _project(path, data)
    except (InvalidRequirement, TypeError, AttributeError, ValueError) as error:
        raise ConfigError.from_problems((Problem(path, 0, 0, str(error).split("\n", 1)[0]),)) from None


def _project(path: str, data: dict[str, Any]) -> Pyproject:
    project, tool, build = data.get("project", {}), data.get("tool", {}), data.get("build-system")
    uv = tool.get("uv", {})
    groups = dict(data.get("dependency-groups", {}))
    if uv.get("dev-dependencies"):
        groups["dev"] = [*groups.get("dev", []), *uv["dev-dependencies"]]
    extras = project.get("optional-dependencies", {})
    return Pyproject(
        path=path,
        name=canonicalize_name(project.get("name", "")),
        version=project.get("version", ""),
        requires_python=project.get("requires-python", ""),
        dependencies=_lines(project.get("dependencies", ()), path),
        extras=FrozenMap({canonicalize_name(name): _lines(items, path) for name, items in extras.items()}),
        groups=FrozenMap({canonicalize_name(name): _lines(_group(groups, name, ()), path) for name in groups}),
        scripts=tuple(sorted(project.get("scripts", {}))),
        dynamic=tuple(project.get("dynamic", ())),
        build_requires=tuple(build.get("requires", ())) if build else (),
        build_backend=build.get("build-backend", "setuptools.build_meta:__legacy__") if build else "",
        backend_path=tuple(build.get("backend-path", ())) if build else (),
        is_package=bool(uv.get("package", build is not None)),
        workspace="workspace" in uv,
        tools=tuple(sorted(tool)),
    )


def _lines(items: Any, path: str) -> tuple[RequirementLine, ...]:
    return tuple(parse_line(item, file=path) for item in items)


def _group(groups: dict[str, Any], name: str, above: tuple[str, ...]) -> list[str]:
    """A dependency group with what it includes (PEP 735); raises ValueError for a circle or an unknown name."""
    known = {canonicalize_name(key): items for key, items in groups.items()}
    wanted = canonicalize_name(name)
    if wanted in above:
        raise ValueError(f"dependency group {name!r} includes itself")
    if wanted not in known:
        raise ValueError(f"dependency group {name!r} does not exist")
    out: list[str] = []
    for item in known[wanted]:
        if isinstance(item, str):
            Requirement(item)
            out.append(item)
        else:
            out += _group(groups, item["include-group"], (*above, wanted))
    return out
