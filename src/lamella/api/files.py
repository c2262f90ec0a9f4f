"""Finds and reads the files of a project, as bytes."""

from __future__ import annotations

from pathlib import Path

from lamella.errors import ConfigError

__all__ = ["LOCK_NAME", "PROJECT_NAME", "find_project_file", "read_file_bytes", "read_project_bytes"]

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


def read_file_bytes(path: Path) -> bytes | None:
    """The bytes of a file that need not be there; raises ConfigError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
