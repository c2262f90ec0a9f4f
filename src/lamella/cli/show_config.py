"""``lamella run --show-config``: the merged settings of a container, and where each comes from."""

from __future__ import annotations

import json
from typing import Any

import click

from lamella.cli.report import table
from lamella.planning.defaults_file import plain_value
from lamella.project.spec import ImageSpec
from lamella.runtime.values import Container

__all__ = ["show_config"]


def show_config(container: Container, spec: ImageSpec | None, output_format: str) -> None:
    """Writes the settings as a table or as JSON to standard output."""
    defaults = _defaults(container, spec)
    if output_format == "json":
        click.echo(json.dumps(_json(container, defaults), indent=2, ensure_ascii=False))
        return
    rows: list[tuple[str, ...]] = [
        ("image", container.name, ""),
        ("program", " ".join(container.argv), "arguments" if container.arguments else "image"),
        ("user", container.user or "0", container.origins.get("user", "")),
        ("workdir", container.workdir, container.origins.get("workdir", "")),
        ("network", container.network, container.origins.get("network", "")),
    ]
    rows += [("port", str(port), "") for port in container.ports]
    rows += [
        ("volume", f"{v.source} -> {v.target}{' (read-only)' if v.read_only else ''}", "") for v in container.volumes
    ]
    if container.memory:
        rows.append(("memory", str(container.memory), ""))
    if container.read_only:
        rows.append(("root", "read-only", ""))
    if container.health is not None:
        rows.append(("health", str(container.health), "probed from outside"))
    for line in table([("SETTING", "VALUE", "FROM"), *rows]):
        click.echo(line)
    for title, found in (("VARIABLE", _variables(container)), ("DEFAULT", defaults)):
        if found:
            click.echo("")
            for line in table([(title, "VALUE", "FROM"), *found]):
                click.echo(line)


def _variables(container: Container) -> list[tuple[str, ...]]:
    return [(name, variable.value, variable.origin) for name, variable in sorted(container.env.items())]


def _defaults(container: Container, spec: ImageSpec | None) -> list[tuple[str, ...]]:
    """The project's runtime defaults as the program will see them: a variable of its name changes one."""
    if spec is None or spec.defaults is None:
        return []
    rows: list[tuple[str, ...]] = []
    for name, value in spec.defaults.values.items():
        variable = container.env.get(f"{spec.defaults.env_prefix}{name}")
        if variable is not None and variable.origin != "image":
            rows.append((name, variable.value, variable.origin))
        else:
            text = value if isinstance(value, str) else json.dumps(plain_value(value), ensure_ascii=False)
            rows.append((name, text, spec.defaults.file or "defaults"))
    return rows


def _json(container: Container, defaults: list[tuple[str, ...]]) -> dict[str, Any]:
    return {
        "format": 1,
        "image": container.name,
        "digest": container.image.descriptor.digest,
        "program": list(container.argv),
        "user": container.user,
        "workdir": container.workdir,
        "network": container.network,
        "ports": [str(port) for port in container.ports],
        "volumes": [{"source": v.source, "target": v.target, "read_only": v.read_only} for v in container.volumes],
        "memory": container.memory,
        "read_only": container.read_only,
        "health": str(container.health) if container.health is not None else None,
        "env": [{"name": n, "value": v.value, "from": v.origin} for n, v in sorted(container.env.items())],
        "defaults": [{"name": name, "value": value, "from": origin} for name, value, origin in defaults],
    }
