"""Reads compose files for what they say of services that are built here (Compose specification).

Only what an image or its start can use: where a service is built, its ports, environment, volumes, health check.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.values import dataclass

__all__ = ["COMPOSE_NAMES", "ComposeService", "read_compose"]

COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""File names in the order in which Compose looks for them."""

_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::?([-+?])([^}]*))?\}|(\w+))")
_URL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::(\d+))?(/[\w./-]*)?")
_PORT = re.compile(r"(?:(?:[\d.]+|\[[0-9a-f:]+\]):)?(?:\d+:)?\d+(?:/\w+)?")


@dataclass(frozen=True, slots=True)
class ComposeService:
    """One service. ``context`` and ``dockerfile`` are relative to the project, empty when an image is taken.

    ``ports`` are ``[[IP:]HOST:]CONTAINER``; ``environment`` holds what is written out, ``open_environment`` names
    whose value is the caller's; ``health`` is the path of an HTTP check.
    """

    name: str
    context: str = ""
    dockerfile: str = ""
    target: str = ""
    image: str = ""
    ports: tuple[str, ...] = ()
    environment: FrozenMap[str, str] = EMPTY_MAP
    open_environment: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    health: str = ""
    health_port: int = 0
    user: str = ""


def read_compose(data: bytes, *, file: str) -> tuple[ComposeService, ...]:
    """The services of a compose file, in file order; raises ConfigError when it is no YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(data.decode("utf-8", "replace"))
    except (YAMLError, ValueError, RecursionError) as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        reason = error.problem if isinstance(error, MarkedYAMLError) else str(error)
        raise ConfigError.from_problems((Problem(file, line, column, f"not YAML: {reason}"),)) from None
    services = document.get("services") if isinstance(document, dict) else None
    folder = posixpath.dirname(file)
    found = services.items() if isinstance(services, dict) else ()
    return tuple(_service(str(name), table, folder) for name, table in found if isinstance(table, dict))


def _service(name: str, table: Mapping[str, Any], folder: str) -> ComposeService:
    build = table.get("build")
    build = {"context": build} if isinstance(build, str) else build if isinstance(build, dict) else {}
    context = _inside(folder, _text(build.get("context", "."))) if build else ""
    dockerfile = _inside(context, _text(build.get("dockerfile", "Dockerfile"))) if build else ""
    pairs = dict(_pairs(table.get("environment")))
    health, port = _health(table.get("healthcheck"))
    return ComposeService(
        name=name,
        context=context,
        dockerfile=dockerfile,
        target=_text(build.get("target", "")),
        image=_text(table.get("image", "")),
        ports=tuple(port for port in map(_port, _items(table.get("ports"))) if port),
        environment=FrozenMap({key: value for key, value in pairs.items() if value is not None}),
        open_environment=tuple(key for key, value in pairs.items() if value is None),
        env_files=tuple(_inside(folder, path) for path in map(_path, _items(table.get("env_file"))) if path),
        volumes=tuple(volume for volume in map(_volume, _items(table.get("volumes"))) if volume),
        command=_command(table.get("command")),
        health=health,
        health_port=port,
        user=_text(table.get("user", "")),
    )


def _inside(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder or ".", path))


def _text(value: object) -> str:
    """A scalar with its variables at their defaults; empty for what is none."""
    if isinstance(value, bool) or value is None or isinstance(value, (dict, list)):
        return str(value).lower() if isinstance(value, bool) else ""
    return _VARIABLE.sub(_default, str(value))


def _default(match: re.Match[str]) -> str:
    if match[1]:
        return "$"
    return match[4] if match[3] == "-" else ""


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else () if value is None else (value,)


def _pairs(value: object) -> Iterable[tuple[str, str | None]]:
    """Names and values; None where the value comes from the caller's environment."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield str(name), None if item is None or _open(item) else _text(item)
    for item in value if isinstance(value, list) else ():
        name, sign, text = str(item).partition("=")
        yield name, _text(text) if sign and not _open(text) else None


def _open(value: object) -> bool:
    """Whether a value names a variable that has no default."""
    return any(not m[1] and m[3] not in ("-", "+") for m in _VARIABLE.finditer(str(value)))


def _port(item: object) -> str:
    if isinstance(item, dict):
        target, published = _text(item.get("target")), _text(item.get("published"))
        return f"{published}:{target}" if published and target else target
    text = _text(item)
    return text if _PORT.fullmatch(text) else ""


def _path(item: object) -> str:
    """The path of a file that must be there; empty for one that may be missing."""
    if isinstance(item, dict) and item.get("required") is False:
        return ""
    return _text(item.get("path")) if isinstance(item, dict) else _text(item)


def _volume(item: object) -> str:
    if not isinstance(item, dict):
        return _text(item)
    source, target = _text(item.get("source")), _text(item.get("target"))
    end = ":ro" if item.get("read_only") is True else ""
    return f"{source}:{target}{end}" if source and target and item.get("type") in ("bind", "volume") else ""


def _command(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_text(item) for item in value)
    try:
        return tuple(shlex.split(_text(value)))
    except ValueError:
        return ()


def _health(value: object) -> tuple[str, int]:
    test = value.get("test") if isinstance(value, dict) else None
    text = " ".join(map(str, test)) if isinstance(test, list) else str(test or "")
    match = _URL.search(text)
    return (match[2] or "/", int(match[1] or 0)) if match else ("", 0)
