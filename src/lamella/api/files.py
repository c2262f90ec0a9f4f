"""Finds and reads the files of a project."""

from __future__ import annotations

from pathlib import Path

from lamella.errors import ConfigError
from lamella.project.lock import EMPTY_LOCK, Lock, parse_lock
from lamella.project.projectfile import ProjectFile
from lamella.project.toml import Node

__all__ = ["LOCK_NAME", "PROJECT_NAME", "declared_patterns", "find_project_file", "read_lock", "read_project_bytes"]

PROJECT_NAME = "lamella.toml"
LOCK_NAME = "lamella.lock"


def find_project_file(given: Path | None, start: Path) -> Path:
    """The project file: ``given`` (a file or its folder), else ``lamella.toml`` in ``start`` or above it.

    Raises ConfigError when there is none.
    """
    if given is not None:
        path = given / PROJECT_NAME if given.is_dir() else given
        if not path.is_file():
            raise ConfigError(f"there is no project file {path}", hint="run: lamella init")
        return path.absolute()
    for folder in (start, *start.parents):
        if (folder / PROJECT_NAME).is_file():
            return folder / PROJECT_NAME
    raise ConfigError(f"there is no {PROJECT_NAME} in {start} or a folder above it", hint="run: lamella init")


def read_project_bytes(path: Path) -> bytes:
    """The bytes of a project file; raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"project file {path} cannot be read: {error.strerror}") from error


def read_lock(root: Path) -> Lock:
    """The lock beside a project file; an absent one is empty."""
    path = root / LOCK_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return EMPTY_LOCK
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return parse_lock(data, file=LOCK_NAME)


def declared_patterns(project: ProjectFile) -> tuple[str, ...]:
    """What layers name on purpose, so that it counts although git ignores it: ``inputs``, and files by name.

    Templates and ``when`` are not resolved: a pattern that holds a variable declares nothing.
    """
    found: list[str] = []
    for layer in project.layers.values():
        _collect(layer, found)
    return tuple(dict.fromkeys(text for text in found if "{" not in text))


def _collect(node: Node, found: list[str]) -> None:
    if not hasattr(node.value, "items"):
        return
    for key, item in node.value.items():
        if key == "inputs" and isinstance(item.value, tuple):
            found.extend(entry.value for entry in item.value if isinstance(entry.value, str))
        elif key == "file" and isinstance(item.value, str):
            found.append(item.value)
        elif key == "files" and isinstance(item.value, tuple):
            sources = (entry.value.get("from") for entry in item.value if hasattr(entry.value, "get"))
            found.extend(source.value for source in sources if source is not None)
        elif isinstance(item.value, tuple):
            for entry in item.value:
                _collect(entry, found)
        else:
            _collect(item, found)
