"""Values of secrets, from ``--secret`` and from the project's table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.project.projectfile import ProjectFile

__all__ = ["read_secrets"]


def read_secrets(
    project: ProjectFile, options: tuple[str, ...], environ: Mapping[str, str], root: Path
) -> FrozenMap[str, bytes]:
    """Values by id. ``--secret id=N,env=VAR`` and ``id=N,src=FILE`` win over the table.

    A secret of the table that has no value is left out here; the step that needs it says so. Raises
    ConfigError for malformed options and unreadable files.
    """
    values: dict[str, bytes] = {}
    for name, spec in project.secrets.items():
        if spec.env and spec.env in environ:
            values[name] = environ[spec.env].encode()
        elif spec.file and (root / spec.file).is_file():
            values[name] = _read(root / spec.file)
    for text in options:
        name, value = _option(text, environ)
        if name not in project.secrets:
            raise ConfigError(
                f"--secret names {name!r}, which the project does not have", hint=f"add [secrets] {name} = {{ ... }}"
            )
        values[name] = value
    return FrozenMap(values)


def _option(text: str, environ: Mapping[str, str]) -> tuple[str, bytes]:
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    name = fields.get("id", "")
    source = fields.get("src") or fields.get("source")
    if not name or set(fields) - {"id", "src", "source", "env", "type"}:
        raise ConfigError(f"--secret {text!r} is not of the form id=NAME[,src=FILE|,env=VAR]")
    if source:
        return name, _read(Path(source))
    variable = fields.get("env", name)
    if variable not in environ:
        raise ConfigError(f"--secret {name}: the environment has no {variable}")
    return name, environ[variable].encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"secret file {path} cannot be read: {error.strerror}") from error
