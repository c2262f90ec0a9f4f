"""Reads the project's version from where ``project.version`` says it comes from."""

from __future__ import annotations

import tomllib

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree, Vcs
from lamella.project.version import VersionSource

__all__ = ["read_version"]


def read_version(source: VersionSource | None, tree: Tree, vcs: Vcs) -> str | None:
    """The version, or None when the source has none now (no tag yet). Raises ConfigError for a broken file."""
    if source is None:
        return None
    match source.kind:
        case "literal":
            return source.value
        case "git":
            found = (source.from_tag(tag) for tag in vcs.tags(source.value))
            return next((version for version in found if version), None)
        case "file":
            return tree.read(source.value).decode("utf-8", "replace").strip() or None
        case "cargo":
            return _cargo(tree, source.value)
        case _:
            return _toml(tree, _join(source.value, "pyproject.toml")).get("project", {}).get("version")


def _join(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder.strip('/')}/{name}"


def _toml(tree: Tree, path: str) -> dict[str, dict[str, str]]:
    try:
        return tomllib.loads(tree.read(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _cargo(tree: Tree, folder: str) -> str | None:
    """``package.version``, inherited from the workspace where the manifest says so."""
    manifest = _toml(tree, _join(folder, "Cargo.toml"))
    version: object = manifest.get("package", {}).get("version")
    if isinstance(version, str):
        return version
    place = folder
    while True:
        path = _join(place, "Cargo.toml")
        if tree.exists(path):
            workspace = _toml(tree, path).get("workspace", {})
            shared: object = workspace.get("package", {})
            if isinstance(shared, dict) and isinstance(shared.get("version"), str):
                return str(shared["version"])
        if place in ("", "."):
            return None
        place = place.rpartition("/")[0]
