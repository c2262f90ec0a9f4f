"""The packages of npm's, bun's and pnpm's locks that are not for development only."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lamella.values import dataclass

__all__ = ["LOCKS", "JsPackage"]

_ALGORITHMS = {"sha512": "sha-512", "sha384": "sha-384", "sha256": "sha-256", "sha1": "sha-1"}


@dataclass(frozen=True, slots=True)
class JsPackage:
    """One package; ``hashes`` as (algorithm, hex) of its archive."""

    name: str
    version: str
    hashes: tuple[tuple[str, str], ...] = ()


def _integrity(text: str) -> tuple[tuple[str, str], ...]:
    """Hashes of a subresource integrity value (W3C SRI): base64 behind the algorithm's name."""
    found = []
    for item in text.split():
        name, _, value = item.partition("-")
        try:
            found.append((_ALGORITHMS[name], base64.b64decode(value, validate=True).hex()))
        except (KeyError, binascii.Error, ValueError):
            continue
    return tuple(found)


def _npm(data: bytes) -> Iterator[JsPackage]:
    """``package-lock.json``, versions 2 and 3: entries by place below node_modules."""
    packages = json.loads(data).get("packages", {})
    for place, entry in packages.items():
        _, found, name = place.rpartition("node_modules/")
        if found and not entry.get("link") and not entry.get("dev") and entry.get("version"):
            yield JsPackage(entry.get("name") or name, entry["version"], _integrity(entry.get("integrity", "")))


def _bun(data: bytes) -> Iterator[JsPackage]:
    """``bun.lock`` as the skeleton has it, plain JSON: what production dependencies reach."""
    document = json.loads(data)
    packages: Mapping[str, list[Any]] = document.get("packages", {})
    pending = [
        ("", name)
        for workspace in document.get("workspaces", {}).values()
        for section in ("dependencies", "optionalDependencies")
        for name in workspace.get(section, {})
    ]
    seen: set[str] = set()
    while pending:
        parent, name = pending.pop()
        key = next((key for key in _bun_places(parent, name) if key in packages), "")
        if not key or key in seen:
            continue
        seen.add(key)
        entry = packages[key]
        named, _, version = str(entry[0]).rpartition("@")
        details = next((part for part in entry if isinstance(part, dict)), {})
        sections = ("dependencies", "optionalDependencies", "peerDependencies")
        pending += [(key, other) for section in sections for other in details.get(section, {})]
        if version and not version.startswith("workspace:"):
            last = entry[-1]
            yield JsPackage(named, version, _integrity(last) if isinstance(last, str) else ())


def _bun_places(parent: str, name: str) -> Iterator[str]:
    """Where bun looks a name up: below the parent first, then at the top."""
    if parent:
        yield f"{parent}/{name}"
    yield name


def _pnpm(data: bytes) -> Iterator[JsPackage]:
    """``pnpm-lock.yaml``: lockfile 9 by what production dependencies reach, 6 by its marks."""
    from ruamel.yaml import YAML

    document = YAML(typ="safe", pure=True).load(data.decode("utf-8", "replace")) or {}
    packages: Mapping[str, Any] = document.get("packages") or {}
    snapshots: Mapping[str, Any] | None = document.get("snapshots")
    if snapshots is None:
        wanted = {key for key, entry in packages.items() if not entry.get("dev")}
    else:
        wanted = _pnpm_reached(document.get("importers") or {}, snapshots)
    for key, entry in packages.items():
        if key in wanted:
            name, _, version = key.lstrip("/").partition("(")[0].rpartition("@")
            yield JsPackage(name, version, _integrity((entry.get("resolution") or {}).get("integrity", "")))


def _pnpm_reached(importers: Mapping[str, Any], snapshots: Mapping[str, Any]) -> set[str]:
    """Keys of ``packages`` (without peers in brackets) that are not for development only."""
    sections = ("dependencies", "optionalDependencies")
    pending = [
        (name, str(entry["version"]))
        for importer in importers.values()
        for section in sections
        for name, entry in (importer.get(section) or {}).items()
    ]
    seen: set[str] = set()
    while pending:
        name, version = pending.pop()
        key = f"{name}@{version}" if f"{name}@{version}" in snapshots else version
        if key not in snapshots or key in seen:
            continue
        seen.add(key)
        pending += [
            (other, str(number))
            for section in sections
            for other, number in ((snapshots[key] or {}).get(section) or {}).items()
        ]
    return {key.partition("(")[0] for key in seen}


LOCKS: Mapping[str, Callable[[bytes], Iterator[JsPackage]]] = {
    "package-lock.json": _npm,
    "npm-shrinkwrap.json": _npm,
    "bun.lock": _bun,
    "pnpm-lock.yaml": _pnpm,
}
"""Readers by file name. The locks come from a skeleton, where they were read and checked before."""
