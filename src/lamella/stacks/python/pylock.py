"""Reads pylock.toml (PyPA specification, "pylock.toml", version 1.0)."""

from __future__ import annotations

import posixpath
from typing import Any

from packaging.utils import canonicalize_name

from lamella.sources.wheel_tags import Target
from lamella.stacks.python.resolved import LockedPackage, artifact

__all__ = ["select_pylock"]


def select_pylock(
    data: dict[str, Any],
    directory: str,
    target: Target,
    *,
    extras: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    exclude: frozenset[str] = frozenset(),
) -> tuple[LockedPackage, ...]:
    """The packages whose markers hold for the target; raises ValueError for what the file does not offer.

    ``directory`` is the file's folder in the tree. Two entries of one name for one target are an error, as the
    specification demands.
    """
    if str(data.get("lock-version", "")).split(".")[0] != "1":
        raise ValueError(f"lock-version {data.get('lock-version')!r} is not known; this reader knows 1.0")
    for kind, asked, key in (("extra", extras, "extras"), ("group", groups, "dependency-groups")):
        offered = {canonicalize_name(name) for name in data.get(key, ())}
        missing = [name for name in asked if name not in offered]
        if missing:
            raise ValueError(f"the lock was made without {kind} {missing[0]!r}")
    # A file that names default groups means them when nobody asks for others.
    chosen = groups or tuple(data.get("default-groups", ()))
    found: dict[str, LockedPackage] = {}
    for entry in data.get("packages", ()):
        name = canonicalize_name(entry["name"])
        if name in exclude or not target.matches(entry.get("marker", ""), extras, groups=chosen):
            continue
        if name in found:
            raise ValueError(f"{name} is locked twice for Python {target.python} on {target.platform}")
        found[name] = _package(name, entry, directory)
    return tuple(found.values())


def _package(name: str, entry: dict[str, Any], directory: str) -> LockedPackage:
    version = str(entry.get("version", ""))
    if "directory" in entry:
        folder = posixpath.normpath(posixpath.join(directory, entry["directory"]["path"]))
        return LockedPackage(name, version, folder=folder)
    if "vcs" in entry:
        vcs = entry["vcs"]
        sub = f"#subdirectory={vcs['subdirectory']}" if vcs.get("subdirectory") else ""
        return LockedPackage(name, version, direct=f"{name} @ {vcs['type']}+{vcs['url']}@{vcs['commit-id']}{sub}")
    if "archive" in entry:
        source = artifact(entry["archive"])
        if source.filename.endswith(".whl"):
            return LockedPackage(name, version, (source,))
        return LockedPackage(name, version, sdist=source)
    sdist = artifact(entry["sdist"]) if entry.get("sdist") else None
    return LockedPackage(name, version, tuple(artifact(item) for item in entry.get("wheels", ())), sdist)
