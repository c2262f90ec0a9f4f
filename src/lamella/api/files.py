"""Finds and reads the files of a project."""

from __future__ import annotations

from pathlib import Path

from lamella.errors import ConfigError
from lamella.project.lock import EMPTY_LOCK, Lock, parse_lock

__all__ = ["LOCK_NAME", "PROJECT_NAME", "find_project_file", "read_lock", "read_project_bytes"]

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
