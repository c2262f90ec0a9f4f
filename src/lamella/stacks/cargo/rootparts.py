"""Tables that only a workspace's root manifest has, cut to what acts on some packages (Cargo book, "Profiles",
"Overriding Dependencies", "Workspaces").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lamella.stacks.cargo.document import Document
from lamella.stacks.cargo.lockfile import LockedPackage
from lamella.stacks.cargo.places import is_below, joined, relative

__all__ = ["ROOT_TABLES", "patched_directories", "root_tables", "used_patches", "used_profiles"]

ROOT_TABLES = ("workspace", "profile", "patch", "replace")


def patched_directories(root: Document) -> Iterator[str]:
    """Directories of path packages in ``[patch]`` and ``[replace]``."""
    for table in (*root.table("patch").values(), root.table("replace")):
        for value in table.values() if isinstance(table, dict) else ():
            if isinstance(value, dict) and isinstance(value.get("path"), str):
                yield joined(root.directory, value["path"])


def root_tables(root: Document, resolver: int, members: Iterable[str], packages: Iterable[str]) -> dict[str, Any]:
    """``[workspace]`` with just ``members``, the excludes that keep one of ``packages`` out, the resolver
    written down; ``[replace]`` and ``cargo-features`` as they are. All directories are relative to the project.
    """
    directories = tuple(packages)
    written = [str(entry) for entry in (root.workspace or {}).get("exclude", ())]
    exclude = sorted(e for e in written if any(is_below(d, joined(root.directory, e)) for d in directories))
    workspace: dict[str, Any] = {"resolver": str(resolver)}
    if exclude:
        workspace["exclude"] = exclude
    if inner := [relative(member, root.directory) for member in sorted(members) if member != root.directory]:
        workspace["members"] = inner
    return {"workspace": workspace, **{k: root.raw[k] for k in ("replace", "cargo-features") if k in root.raw}}


def used_profiles(root: Document, profile: str, names: frozenset[str] | None = None) -> dict[str, Any]:
    """The profile's table and those it inherits from. With ``names``, settings of other packages are left out."""
    table, found = root.table("profile"), {}
    name: Any = profile
    while isinstance(name, str) and isinstance(table.get(name), dict) and name not in found:
        found[name] = table[name] if names is None else _only(table[name], names)
        name = table[name].get("inherits")
    return found


def _only(table: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    packages = table.get("package")
    rest = {key: value for key, value in table.items() if key != "package"}
    if not isinstance(packages, dict):
        return rest
    kept = {spec: value for spec, value in packages.items() if spec == "*" or _spec_name(spec) in names}
    return {**rest, "package": kept} if kept else rest


def _spec_name(spec: str) -> str:
    """The name in a package id specification: ``name``, ``name@1.0`` or a URL with a fragment."""
    return re.split(r"[@:]", spec.rsplit("#", 1)[-1].rsplit("/", 1)[-1])[0]


def used_patches(root: Document, locked: Iterable[LockedPackage]) -> dict[str, Any]:
    """Patches that ``locked`` uses; Cargo would fetch or read the others too, for nothing."""
    entries = tuple(locked)
    names = {entry.name for entry in entries}
    own = {entry.name for entry in entries if not entry.source}
    out: dict[str, Any] = {}
    for registry, patches in root.table("patch").items():
        used = {k: v for k, v in patches.items() if _patched_name(k, v) in (own if _has_path(v) else names)}
        if used:
            out[registry] = used
    return out


def _patched_name(key: str, value: Any) -> str:
    return str(value.get("package", key)) if isinstance(value, dict) else key


def _has_path(value: Any) -> bool:
    return isinstance(value, dict) and "path" in value
