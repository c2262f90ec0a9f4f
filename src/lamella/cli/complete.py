"""Names for shell completion, read from the project file; silent when it cannot be read."""

from __future__ import annotations

from pathlib import Path

import click

from lamella.errors import LamellaError

__all__ = ["image_names", "layer_names"]


def _names(context: click.Context, table: str) -> list[str]:
    from lamella.api.files import find_project_file
    from lamella.project.load import parse_project

    try:
        path = find_project_file(context.params.get("file"), Path.cwd())
        project = parse_project(path.read_bytes(), file=str(path))
    except (LamellaError, OSError):
        return []
    return sorted(getattr(project, table))


def image_names(context: click.Context) -> list[str]:
    """Images of the project."""
    return _names(context, "images")


def layer_names(context: click.Context) -> list[str]:
    """Layers of the project."""
    return _names(context, "layers")
