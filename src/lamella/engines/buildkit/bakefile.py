"""The bake file of a phase: JSON by the names of bake's reference, with paths relative to where buildx runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lamella.engines.buildkit.dockerfile import Add, From, dockerfile_text
from lamella.engines.buildkit.levels import Level
from lamella.engines.buildkit.mounts import secret_id, secret_variable
from lamella.engines.buildkit.phase import LowerOptions, Target

__all__ = ["bake_file"]


def bake_file(
    dockerfile: str,
    stages: Mapping[str, str],
    targets: Iterable[Target],
    bases: Mapping[str, str],
    options: LowerOptions,
    *,
    level: Level,
    platform: str,
    network: str,
    secrets: Iterable[str],
) -> dict[str, Any]:
    """One bake target for each of ``targets``; ``stages`` maps their names to stages, ``network`` is their mode.

    ``bases`` are root file systems that the Dockerfile takes from targets of their own: name to tar in the context.
    """
    always: dict[str, Any] = {
        "platforms": [platform],
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
    }
    common = {"context": options.context, "dockerfile-inline": dockerfile, **always}
    if bases:
        common["contexts"] = {name: f"target:{name}" for name in sorted(bases)}
    if network != "default":
        common["network"] = network
    if options.no_cache:
        common["no-cache"] = True
    if options.proxies:
        common["args"] = dict(sorted(options.proxies.items()))
    wanted = [_secret(name, options.secret_files) for name in sorted(secrets)]
    if wanted:
        common["secret"] = wanted
    files = {target.name: f"{options.exports}/{target.file}" for target in targets}
    return {
        "group": {"default": {"targets": list(files)}},
        "target": {
            name: {**common, "target": stages[name], "output": [_csv("type=tar", f"dest={file}")]}
            for name, file in files.items()
        }
        | {name: {**_base(name, path, options.context, level), **always} for name, path in sorted(bases.items())},
    }


def _base(name: str, path: str, context: str, level: Level) -> dict[str, Any]:
    """A target that unpacks a base. Its context is the tar's own folder: it is sent once for all that stand on it, and
    never again while it stays, since a builder keeps one copy for each name of a folder.
    """
    folder, _, file = f"{context}/{path}".rpartition("/")
    add = dockerfile_text((From("scratch", name), Add(file, "/")), level)
    return {"context": folder, "dockerfile-inline": add, "output": ["type=cacheonly"]}


def _secret(name: str, files: Mapping[str, str]) -> str:
    place = f"src={files[name]}" if name in files else f"env={secret_variable(name)}"
    return _csv(f"id={secret_id(name)}", place)


def _csv(*fields: str) -> str:
    """Fields as Go's encoding/csv reads them, which is how buildx takes secrets and outputs."""
    return ",".join(
        '"' + field.replace('"', '""') + '"' if any(char in ',"\n' for char in field) else field for field in fields
    )
