"""Cargo manifests as parsed documents, and what members inherit from their workspace's root manifest.

Cargo book, "Workspaces": the tables ``package`` and ``dependencies`` and ``lints`` of ``[workspace]`` are taken
over by members with ``NAME.workspace = true``, written as a dotted key or inside an inline table.
"""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lamella.errors import ConfigError, Problem
from lamella.project.toml import Node, read_toml
from lamella.stacks.cargo.places import moved
from lamella.values import dataclass, field

__all__ = ["DEPENDENCY_TABLES", "MANIFEST", "Document", "inherited", "parse_document"]

MANIFEST = "Cargo.toml"

DEPENDENCY_TABLES = {
    "dependencies": "normal",
    "dev-dependencies": "dev",
    "dev_dependencies": "dev",
    "build-dependencies": "build",
    "build_dependencies": "build",
}
"""Names of dependency tables, with the old spellings, and the kind each stands for."""

_INHERITED_PATHS = ("readme", "license-file")


@dataclass(frozen=True, slots=True)
class Document:
    """One manifest as it is written. ``raw`` is read only by agreement; ``path`` is relative to the project."""

    path: str
    data: bytes = field(repr=False)
    raw: dict[str, Any] = field(repr=False, compare=False)

    @property
    def directory(self) -> str:
        """The package's directory, empty for the project's root."""
        return posixpath.dirname(self.path)

    @property
    def workspace(self) -> Mapping[str, Any] | None:
        """The ``[workspace]`` table, None where there is none."""
        return self.table("workspace") if "workspace" in self.raw else None

    def table(self, *keys: str) -> Mapping[str, Any]:
        """A table, empty when it is not there; raises ConfigError when something else stands there."""
        value: Any = self.raw
        for count, key in enumerate(keys, 1):
            value = value.get(key, {})
            if not isinstance(value, dict):
                raise self.error(keys[:count], f"{'.'.join(keys[:count])} must be a table")
        return value  # type: ignore[no-any-return]

    def error(self, keys: tuple[str, ...], message: str, hint: str = "") -> ConfigError:
        """A ConfigError at the place of a key, or as near to it as the file goes."""
        line, column = self.place(keys)
        return ConfigError.from_problems((Problem(self.path, line, column, message, hint),))

    def place(self, keys: tuple[str, ...]) -> tuple[int, int]:
        """Line and column of a key, from 1; parents stand in for keys that are not there."""
        line, column = 1, 1
        try:
            node: Node = read_toml(self.data, file=self.path)
        except ConfigError:  # Cargo takes a byte-order mark, our reader does not; the finding itself matters more
            return line, column
        for key in keys:
            if not isinstance(node.value, Mapping) or key not in node.value:
                break
            node = node.value[key]
            line, column = node.key_line, node.key_column
        return line, column


@lru_cache(maxsize=1024)
def parse_document(data: bytes, path: str) -> Document:
    """A manifest's document; raises ConfigError with line and column for what is no TOML."""
    try:
        raw = tomllib.loads(data.decode("utf-8").removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        read_toml(data, file=path)  # says the same with its place
        raise ConfigError(f"{path}: the manifest is not TOML") from None
    return Document(path, data, raw)


def inherited(document: Document, root: Document | None) -> dict[str, Any]:
    """The manifest with everything filled in that it takes over from ``root``; no ``workspace = true`` is left.

    Raises ConfigError when it inherits what the root does not have, or without a root.
    """
    out = dict(document.raw)
    for table in ("package", "project"):
        if table in out:
            out[table] = {k: _field(document, root, table, k, v) for k, v in document.table(table).items()}
    lints = document.raw.get("lints")
    if isinstance(lints, dict) and lints.get("workspace") is True:
        out["lints"] = dict(_root_table(document, root, ("lints",), "lints"))
    for name in DEPENDENCY_TABLES:
        if name in out:
            out[name] = _dependencies(document, root, (name,))
    if "target" in out:
        out["target"] = {name: _target(document, root, name) for name in document.table("target")}
    return out


def _target(document: Document, root: Document | None, name: str) -> dict[str, Any]:
    table = dict(document.table("target", name))
    for kind in DEPENDENCY_TABLES:
        if kind in table:
            table[kind] = _dependencies(document, root, ("target", name, kind))
    return table


def _field(document: Document, root: Document | None, table: str, key: str, value: Any) -> Any:
    if not (isinstance(value, dict) and value.get("workspace") is True):
        return value
    where = (table, key)
    source = _root_table(document, root, where, "package")
    if root is None or key not in source:
        raise _missing(document, root, where, f"workspace.package.{key}")
    found = source[key]
    if key in _INHERITED_PATHS and isinstance(found, str):
        return moved(found, root.directory, document.directory)
    return found


def _root_table(document: Document, root: Document | None, where: tuple[str, ...], name: str) -> Mapping[str, Any]:
    if root is None:
        raise _missing(document, root, where, f"workspace.{name}")
    return root.table("workspace", name)


def _missing(document: Document, root: Document | None, where: tuple[str, ...], what: str) -> ConfigError:
    if root is None:
        hint = "its workspace must lie inside the project's folder: put lamella.toml beside the workspace's Cargo.toml"
        return document.error(where, f"{'.'.join(where)} inherits {what}, but no workspace holds this package", hint)
    return document.error(where, f"{'.'.join(where)} inherits {what}, which {root.path} does not have")


def _dependencies(document: Document, root: Document | None, keys: tuple[str, ...]) -> dict[str, Any]:
    return {name: _dependency(document, root, (*keys, name), value) for name, value in document.table(*keys).items()}


def _dependency(document: Document, root: Document | None, where: tuple[str, ...], value: Any) -> Any:
    """One dependency. Features add up; ``default-features = true`` of the member switches them on again."""
    if not (isinstance(value, dict) and value.get("workspace") is True):
        return value
    name = where[-1]
    source = _root_table(document, root, where, "dependencies")
    if root is None or name not in source:
        raise _missing(document, root, where, f"workspace.dependencies.{name}")
    base = source[name]
    merged: dict[str, Any] = {"version": base} if isinstance(base, str) else dict(base)
    if isinstance(merged.get("path"), str):
        merged["path"] = moved(merged["path"], root.directory, document.directory)
    features = [*merged.get("features", ()), *value.get("features", ())]
    if features:
        merged["features"] = list(dict.fromkeys(features))
    if value.get("default-features", value.get("default_features")) is True:
        merged.pop("default_features", None)
        merged["default-features"] = True
    return {**merged, **{key: value[key] for key in ("optional", "public") if key in value}}
