"""Reads uv.lock (uv's documentation, "Lockfile"; versions 1): which packages one target installs.

uv has resolved already; what is left is a walk over locked edges whose markers hold for the target.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from packaging.utils import canonicalize_name

from lamella.sources.wheel_tags import Target
from lamella.stacks.python.resolved import Artifact, LockedPackage, artifact
from lamella.values import dataclass

__all__ = ["UvLock", "Wanted", "read_uv_lock"]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of a lock a layer asks for: extras and groups of the project in ``folder`` (relative to the lock)."""

    folder: str = "."
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UvLock:
    """A read lock. ``data`` is the TOML document, ``directory`` the lock's folder in the tree."""

    data: dict[str, Any]
    directory: str

    @property
    def packages(self) -> list[dict[str, Any]]:
        """All package tables."""
        return list(self.data.get("package", []))

    def root(self, folder: str) -> dict[str, Any] | None:
        """The package of a project folder (relative to the lock), None when the lock does not know it."""
        wanted = posixpath.normpath(folder or ".")
        return next((package for package in self.packages if _folder_of(package) == wanted), None)

    def select(self, wanted: Wanted, target: Target) -> tuple[LockedPackage, ...]:
        """Every package of the wanted closure except the root itself; raises ValueError for what is not there."""
        root = self.root(wanted.folder)
        if root is None:
            raise ValueError(f"the lock has no project in folder {wanted.folder!r}")
        walk = _Walk(self, target, wanted)
        walk.run(root)
        found = (package for package in self.packages if _identity(package) in walk.reached and package is not root)
        return tuple(self._locked(package) for package in found)

    def _locked(self, package: dict[str, Any]) -> LockedPackage:
        name, version, source = package["name"], str(package.get("version", "")), package.get("source", {})
        folder = _folder_of(package)
        if folder is not None:
            return LockedPackage(name, version, folder=posixpath.normpath(posixpath.join(self.directory, folder)))
        if "git" in source:
            return LockedPackage(name, version, direct=_git_url(name, source["git"]))
        for key in ("path", "url"):
            if key in source and key == "path":
                raise ValueError(f"{name} comes from the file {source[key]}; put it on an index or name its folder")
        wheels = tuple(artifact(item) for item in package.get("wheels", ()))
        return LockedPackage(name, version, wheels, _sdist(package))


@dataclass(frozen=True, slots=True)
class _Edge:
    """A locked dependency: target name, what narrows it, extras it switches on."""

    name: str
    version: str
    source: tuple[tuple[str, str], ...]
    extras: tuple[str, ...]
    marker: str


class _Walk:
    """Reached (package, extra) pairs; what an extra switches on may make further markers hold, so it runs to rest."""

    def __init__(self, lock: UvLock, target: Target, wanted: Wanted) -> None:
        self.target = target
        self.wanted = wanted
        self.reached: set[tuple[Any, ...]] = set()
        self.active: set[str] = set()
        self._by_name: dict[str, list[dict[str, Any]]] = {}
        for package in lock.packages:
            self._by_name.setdefault(package["name"], []).append(package)

    def run(self, root: dict[str, Any]) -> None:
        """Walks from the root until nothing new is switched on."""
        self._switch_on(root["name"], self.wanted.extras, self.wanted.groups)
        before = -1
        while before != len(self.active):
            before = len(self.active)
            self.reached = set()
            self._visit(root)

    def _visit(self, root: dict[str, Any]) -> None:
        todo = [(root, extra) for extra in ("", *self.wanted.extras)]
        for group in self.wanted.groups:
            todo += self._follow(root.get("dev-dependencies", {}).get(group, ()))
        seen: set[tuple[tuple[Any, ...], str]] = set()
        while todo:
            package, extra = todo.pop()
            identity = _identity(package)
            if (identity, extra) in seen:
                continue
            seen.add((identity, extra))
            self.reached.add(identity)
            optional = package.get("optional-dependencies", {})
            todo += self._follow(optional.get(extra, ()) if extra else package.get("dependencies", ()))

    def _follow(self, table: Any) -> list[tuple[dict[str, Any], str]]:
        """The packages, with extras, that edges of a table lead to on the target."""
        found: list[tuple[dict[str, Any], str]] = []
        for edge in _edges(table):
            if edge.name in self.wanted.exclude or not self.target.matches(edge.marker, self.active):
                continue
            package = self._find(edge)
            self._switch_on(edge.name, edge.extras, ())
            found += [(package, extra) for extra in ("", *edge.extras)]
        return found

    def _switch_on(self, name: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> None:
        """Conflicting extras and groups stand in uv's markers as ``extra-LENGTH-PACKAGE-EXTRA``."""
        self.active |= {f"extra-{len(name)}-{name}-{extra}" for extra in extras}
        self.active |= {f"group-{len(name)}-{name}-{group}" for group in groups}

    def _find(self, edge: _Edge) -> dict[str, Any]:
        candidates = [
            package
            for package in self._by_name.get(edge.name, [])
            if edge.version in ("", str(package.get("version", "")))
            and (not edge.source or edge.source == _source(package))
        ]
        if len(candidates) > 1:
            candidates = [package for package in candidates if self._in_fork(package)] or candidates
        if not candidates:
            raise ValueError(f"the lock names {edge.name} {edge.version} but does not hold it")
        return candidates[0]

    def _in_fork(self, package: dict[str, Any]) -> bool:
        markers = package.get("resolution-markers", ())
        return not markers or any(self.target.matches(marker, self.active) for marker in markers)


def read_uv_lock(data: dict[str, Any], directory: str) -> UvLock:
    """A lock from its TOML document; raises ValueError for a version this reader does not know."""
    if data.get("version") != VERSION:
        raise ValueError(f"uv.lock has version {data.get('version')!r}, this reader knows {VERSION}")
    return UvLock(data, directory)


def _edges(table: Any) -> Iterator[_Edge]:
    for item in table:
        extras = tuple(canonicalize_name(extra) for extra in item.get("extra", item.get("extras", ())))
        source = tuple(sorted((key, str(value)) for key, value in item.get("source", {}).items()))
        yield _Edge(item["name"], str(item.get("version", "")), source, extras, item.get("marker", ""))


def _source(package: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, str(value)) for key, value in package.get("source", {}).items()))


def _identity(package: dict[str, Any]) -> tuple[Any, ...]:
    return package["name"], str(package.get("version", "")), _source(package)


def _folder_of(package: dict[str, Any]) -> str | None:
    """The project folder of a local package."""
    source = package.get("source", {})
    for key in ("editable", "virtual", "directory"):
        if key in source:
            return posixpath.normpath(str(source[key]))
    return None


def _git_url(name: str, text: str) -> str:
    """``https://host/repo?subdirectory=x&rev=v1#COMMIT`` as a PEP 508 requirement pinned to the commit."""
    address, _, commit = text.partition("#")
    base, _, query = address.partition("?")
    sub = re.search(r"(?:^|&)subdirectory=([^&]+)", query)
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        raise ValueError(f"{name} comes from {base} without a commit")
    return f"{name} @ git+{base}@{commit}" + (f"#subdirectory={sub[1]}" if sub else "")


def _sdist(package: dict[str, Any]) -> Artifact | None:
    data = package.get("sdist")
    return artifact(data) if data and data.get("url") else None
