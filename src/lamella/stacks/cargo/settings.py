"""Configuration files and toolchain files of Cargo that act on a directory (Cargo book, "Configuration").

Cargo reads ``.cargo/config.toml`` in the working directory and every one above it; the nearer one wins. Only what
planning must know is looked at; the files themselves are inputs of every step.
"""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.project.toml import read_toml
from lamella.stacks.cargo.places import ancestors, joined
from lamella.values import dataclass

__all__ = ["CargoSettings", "ToolchainFile", "read_settings", "read_toolchain"]


@dataclass(frozen=True, slots=True)
class CargoSettings:
    """What the configuration files say.

    ``files`` are inputs, ``directories`` vendored registries that they name (inputs too), ``overrides`` path
    packages of the ``paths`` key. ``target`` is the only ``build.target``, empty when there is none.
    """

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    target: str = ""
    build_flags: bool = False
    target_flags: bool = False


@dataclass(frozen=True, slots=True)
class ToolchainFile:
    """``rust-toolchain.toml`` or ``rust-toolchain``: ``channel`` is empty when it names a path or nothing."""

    path: str
    channel: str
    components: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def _parse(tree: Tree, path: str) -> dict[str, Any]:
    data = tree.read(path)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        read_toml(data, file=path)  # says the same with its place
        raise ConfigError(f"{path}: the file is not TOML") from None


def read_settings(tree: Tree, directory: str) -> CargoSettings:
    """The settings that act in ``directory``; files outside the project have no say in a step."""
    files: list[str] = []
    documents: list[tuple[str, dict[str, Any]]] = []
    for place in (directory, *ancestors(directory)):
        names = (posixpath.join(place, ".cargo", name) for name in ("config", "config.toml"))
        path = next((name for name in names if tree.exists(name)), None)
        if path is not None:
            files.append(path)
            documents.append((place, _parse(tree, path)))
    return CargoSettings(
        files=tuple(sorted(files)),
        directories=tuple(sorted({path for place, doc in documents for path in _vendored(place, doc)})),
        overrides=tuple(
            sorted({joined(place, str(path)) for place, doc in documents for path in doc.get("paths", ())})
        ),
        target=next((target for _, doc in documents if (target := _target(doc))), ""),
        build_flags=any("rustflags" in _table(doc, "build") for _, doc in documents),
        target_flags=any(
            isinstance(value, dict) and "rustflags" in value
            for _, doc in documents
            for value in _table(doc, "target").values()
        ),
    )


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name, {})
    return value if isinstance(value, dict) else {}


def _vendored(place: str, document: Mapping[str, Any]) -> Iterator[str]:
    """Directories that replace a registry (``cargo vendor`` writes such a table)."""
    for source in _table(document, "source").values():
        for key in ("directory", "local-registry"):
            if isinstance(source, dict) and isinstance(source.get(key), str):
                yield joined(place, source[key])


def _target(document: Mapping[str, Any]) -> str:
    written = _table(document, "build").get("target")
    if isinstance(written, list):
        return str(written[0]) if len(written) == 1 else ""
    return str(written) if isinstance(written, str) else ""


def read_toolchain(tree: Tree, directory: str) -> ToolchainFile | None:
    """The toolchain file that rustup finds from ``directory`` upwards (rustup book, "The toolchain file")."""
    for place in (directory, *ancestors(directory)):
        for name in ("rust-toolchain", "rust-toolchain.toml"):
            path = posixpath.join(place, name)
            if tree.exists(path):
                return _toolchain(tree, path)
    return None


def _toolchain(tree: Tree, path: str) -> ToolchainFile:
    text = tree.read(path).decode("utf-8", "replace").strip()
    if not path.endswith(".toml") and "\n" not in text and "[" not in text:
        return ToolchainFile(path, text)
    table = _table(_parse(tree, path), "toolchain")
    texts = (tuple(str(item) for item in table.get(key, ()) or ()) for key in ("components", "targets"))
    components, targets = texts
    return ToolchainFile(path, str(table.get("channel", "")), components, targets)
