"""The Dockerfile of a recipe."""

from __future__ import annotations

from lamella.eject.dockerfile_text import stage_lines
from lamella.eject.recipe import Recipe
from lamella.eject.text import wrapped
from lamella.eject.values import Add, Run

__all__ = ["dockerfile_text"]


def dockerfile_text(recipe: Recipe, *, path: str, context: str) -> str:
    """All stages as text. ``path`` is the file's own path seen from the folder it is built in, ``context`` the context
    seen from there.
    """
    names = dict(recipe.names)
    lines = [*_head(recipe, path, context), ""]
    for name, stage in recipe.stages:
        lines += [*stage_lines(stage, name, names), ""]
    return "\n".join(lines)


def _needs(recipe: Recipe) -> str:
    """The oldest BuildKit that knows all instructions, with the Docker Engine that brought it."""
    items = [item for _, stage in recipe.stages for item in stage.instructions]
    variables = any(dict(mount.fields).get("env") for item in items if isinstance(item, Run) for mount in item.mounts)
    if variables:  # a secret as a variable: Dockerfile 1.10
        return "BuildKit 0.16 or newer (Docker 27.3)"
    checksum = any(isinstance(item, Add) for item in items)  # Dockerfile 1.6
    return "BuildKit 0.12 or newer (Docker 25)" if checksum else "BuildKit 0.10 or newer (Docker 23)"


def _head(recipe: Recipe, path: str, context: str) -> list[str]:
    """What this file is and how it is built."""
    last = recipe.targets[-1]
    secrets = "".join(f" --secret id={name}" for name in recipe.secrets)
    text = (
        f"Images of {recipe.project}, written by lamella eject from lamella.toml. From here on it is yours: it needs "
        "no Lamella, and lamella eject dockerfile --check says when the two have drifted apart.\n\n"
        f"Needs {_needs(recipe)}.\n"
        f"  docker buildx build --file {path}{secrets} --target {last.stage} --tag {last.references[0]} {context}"
    )
    lines = wrapped(text, width=118)
    found: dict[str, tuple[str, list[str]]] = {}
    for target in recipe.targets:
        found.setdefault(target.stage, (target.image.name, []))[1].append(" ".join(target.axes.values()))
    rows = [f"  {stage:<20} image {image} ({', '.join(cells)})" for stage, (image, cells) in found.items()]
    return [*lines, "#", "# Targets:", *wrapped("\n".join(rows))]
