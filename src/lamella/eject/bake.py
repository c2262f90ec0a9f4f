"""The bake file of a recipe: one target per image and cell, groups by profile."""

from __future__ import annotations

import posixpath
import re

from lamella.canonical import FrozenMap
from lamella.eject.hcl import Template, Value, block_lines
from lamella.eject.recipe import Recipe, Target
from lamella.eject.text import wrapped
from lamella.project.settings import SecretSpec

__all__ = ["bake_text", "secret_source", "target_name"]

_COMMON = "_common"


def target_name(target: Target) -> str:
    """The name of a target in bake files and of a service in compose files (letters, digits, ``_`` and ``-``)."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", target.name)


def bake_text(
    recipe: Recipe,
    *,
    dockerfile: str,
    context: str,
    file: str,
    platforms: bool,
    secrets: FrozenMap[str, SecretSpec],
) -> str:
    """The whole file. ``dockerfile`` is its path in ``context``, ``context`` seen from where bake runs; ``platforms``
    when the project names any: published images are built for them, all others for the builder's own.
    """
    lines = wrapped(
        f"Bake file of {recipe.project}, written by lamella eject.\n\n"
        f"  docker buildx bake --file {file}            the images for development\n"
        f"  docker buildx bake --file {file} prod       those that are published; --push sends them to the registry\n"
        f"  docker buildx bake --file {file} --print    what would be built"
    )
    version = _version(recipe)
    if version:
        lines += [
            "",
            *block_lines("variable", "VERSION", {"default": version}, "Part of tags; VERSION=2.0.0 overrides it."),
        ]
    for name, members in _groups(recipe).items():
        lines += ["", *block_lines("group", name, {"targets": [*members]})]
    common: dict[str, Value] = {"context": context, "dockerfile": dockerfile}
    given = [secret_source(name, secrets, context) for name in recipe.secrets]
    if given:
        common["secret"] = [*given]
    lines += ["", *block_lines("target", _COMMON, common)]
    for target in recipe.targets:
        attributes: dict[str, Value] = {"inherits": [_COMMON], "target": target.stage}
        if platforms and target.profile != "dev":  # development is on the builder's own
            attributes["platforms"] = [*target.platforms]
        attributes["tags"] = [_tag(target, reference, version) for reference in target.references]
        cell = ", ".join(f"{axis} {value}" for axis, value in target.axes.items())
        lines += ["", *block_lines("target", target_name(target), attributes, f"image {target.image.name}: {cell}")]
    return "\n".join(lines) + "\n"


def _version(recipe: Recipe) -> str:
    """The version as tags have it; empty where no tag holds it."""
    version = (recipe.version or "").replace("+", "-")
    tags = ((target, reference) for target in recipe.targets for reference in target.references)
    return version if any(isinstance(_tag(target, text, version), Template) for target, text in tags) else ""


def _groups(recipe: Recipe) -> dict[str, list[str]]:
    """One group per profile, ``default`` (development where there is such a profile) and ``all`` over them."""
    names = {target_name(target) for target in recipe.targets}
    profiles: dict[str, list[str]] = {}
    for target in recipe.targets:
        profiles.setdefault(target.profile, []).append(target_name(target))
    if names & {*profiles, "all"}:  # an image of such a name wins
        return {"default": profiles.get("dev") or sorted(names)}
    default = "dev" if "dev" in profiles else next(iter(profiles))
    return {"default": [default], "all": [*profiles], **profiles}


def secret_source(name: str, secrets: FrozenMap[str, SecretSpec], context: str) -> str:
    """``--secret`` of buildx for a secret, from where the project says; a file is seen from the context's user."""
    spec = secrets.get(name)
    if spec is not None and spec.file:
        return f"id={name},src={posixpath.normpath(posixpath.join(context, spec.file))}"
    return f"id={name},env={spec.env}" if spec is not None and spec.env else f"id={name}"


def _tag(target: Target, reference: str, version: str) -> str | Template:
    """A reference with the version as a variable, where it stands for itself in the tag."""
    name, colon, tag = reference.rpartition(":")
    if not version or "version" not in target.image.variables:
        return reference
    parts = re.split(rf"(?<![\w.]){re.escape(version)}(?![\w.]|-rc|\+)", tag)
    return Template((f"{name}{colon}{parts[0]}", *parts[1:]), "VERSION") if len(parts) > 1 else reference
