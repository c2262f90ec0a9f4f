"""The bake file of a phase: JSON by the names of bake's reference, with paths relative to where buildx runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lamella.engines.buildkit.mounts import secret_id, secret_variable
from lamella.engines.buildkit.phase import LowerOptions, Target

__all__ = ["bake_file"]


def bake_file(
    dockerfile: str,
    stages: Mapping[str, str],
    targets: Iterable[Target],
    options: LowerOptions,
    *,
    platform: str,
    network: str,
    secrets: Iterable[str],
) -> dict[str, Any]:
    """One bake target for each of ``targets``; ``stages`` maps their names to stages, ``network`` is their mode."""
    common: dict[str, Any] = {
        "context": options.context,
        "dockerfile-inline": dockerfile,
        "platforms": [platform],
        "attest": ["type=provenance,disabled=true", "type=sbom,disabled=true"],
    }
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
        },
    }


def _secret(name: str, files: Mapping[str, str]) -> str:
    place = f"src={files[name]}" if name in files else f"env={secret_variable(name)}"
    return _csv(f"id={secret_id(name)}", place)


def _csv(*fields: str) -> str:
    """Fields as Go's encoding/csv reads them, which is how buildx takes secrets and outputs."""
    return ",".join(
        '"' + field.replace('"', '""') + '"' if any(char in ',"\n' for char in field) else field for field in fields
    )
