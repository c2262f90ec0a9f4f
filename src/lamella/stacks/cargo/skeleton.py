"""The dependency skeleton: one made-up package that stands for all own packages of a selection.

It asks for exactly the third-party packages and features that the own packages ask for, for the target and for
the host apart, with the same resolver, profile, patches and lock. It holds no name, version or edge of an own
package, so a comment, a version bump, a rename or a new internal crate leaves it as it is, and Cargo compiles
the same units for it as for the real packages. Path packages that third-party ones can reach (``[patch]``) are
kept as they are.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from lamella.graph.op import InlineFile
from lamella.stacks.cargo.document import MANIFEST
from lamella.stacks.cargo.lockfile import LockedPackage, render_lockfile
from lamella.stacks.cargo.matching import locked_dependency
from lamella.stacks.cargo.package import Dependency
from lamella.stacks.cargo.places import relative
from lamella.stacks.cargo.requests import Request
from lamella.stacks.cargo.rootparts import root_tables, used_patches, used_profiles
from lamella.stacks.cargo.staged import Loaded, own_entries, pruned_lock, staged_package
from lamella.stacks.cargo.tomltext import toml_text
from lamella.values import dataclass

__all__ = ["DEPS_PACKAGE", "STUB_MARKER", "deps_skeleton"]

DEPS_PACKAGE = "lamella-deps"
"""Name of the made-up package and of its binary."""

STUB_MARKER = "lamella-stub-6f1c0a52d9e84b37"
"""Stands in every stub; the finished binary is searched for it."""

_STUB = f'#[used]\nstatic LAMELLA_STUB: &str = "{STUB_MARKER}";\n\nfn main() {{}}\n'.encode()
_MAIN, _BUILD = ".lamella/deps.rs", ".lamella/build.rs"
_SHARED = ".lamella/shared"

_Pair: TypeAlias = tuple[Request, LockedPackage]

_ROLE_TABLES = {"normal": "dependencies", "build": "build-dependencies", "dev": "dev-dependencies"}


def deps_skeleton(loaded: Loaded, requests: Iterable[Request]) -> tuple[InlineFile, ...]:
    """The files of the dependency step by path; empty when no third-party package is asked for."""
    workspace, root = loaded.workspace, loaded.workspace.root
    asked = _Asked(loaded, tuple(_locked(loaded, requests)))
    if not asked.all:
        return ()
    roots = [entry for _, entry in asked.all]
    roots += [entry for package, entry in own_entries(loaded) if package.directory in loaded.kept]
    locked = pruned_lock(loaded, roots)
    directories = [package.directory for package in loaded.kept_packages]
    profiles = used_profiles(root, loaded.profile, frozenset(entry.name for entry in locked))
    main, side = asked.split(lto=any(profile.get("lto") not in (None, False, "off") for profile in profiles.values()))
    tables = {
        **root_tables(root, workspace.resolver, filter(workspace.is_member, directories), directories),
        "profile": profiles,
        "patch": used_patches(root, locked),
        **asked.tables(main, workspace.directory),
    }
    has_host = any(request.role == "build" for request, _ in main)
    tables |= _made_up_package(has_host)
    texts = {MANIFEST: tables}
    if side:
        tables.setdefault("dependencies", {})[f"{DEPS_PACKAGE}-shared"] = {"path": _SHARED}
        texts[f"{_SHARED}/{MANIFEST}"] = _shared_library(
            asked.tables(side, posixpath.join(workspace.directory, _SHARED))
        )
    made = {posixpath.join(workspace.directory, path): toml_text(_filled(raw)).encode() for path, raw in texts.items()}
    made |= {
        package.document.path: toml_text(staged_package(loaded, package)).encode() for package in loaded.kept_packages
    }
    stubs = [_MAIN, *([_BUILD] if has_host else []), *([f"{_SHARED}/lib.rs"] if side else [])]
    made |= {posixpath.join(workspace.directory, path): _STUB for path in stubs}
    made[workspace.lock_path] = render_lockfile(locked, workspace.lock.version)
    return tuple(InlineFile(path, data) for path, data in sorted(made.items()))


def _filled(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value or not isinstance(value, dict) or key == "workspace"}


def _locked(loaded: Loaded, requests: Iterable[Request]) -> Iterator[_Pair]:
    for request in requests:
        entry = locked_dependency(loaded.workspace.lock, request.owner, request.dependency)
        if entry is not None:
            yield request, entry


_NOTHING_FOUND = {"edition": "2021", "autobins": False, "autoexamples": False, "autotests": False, "autobenches": False}


def _made_up_package(has_host: bool) -> dict[str, Any]:
    """A binary, so that link-time optimisation treats dependencies as it does for the real one."""
    package = {"name": DEPS_PACKAGE, "version": "0.0.0", "build": _BUILD if has_host else False, **_NOTHING_FOUND}
    return {"package": package, "bin": [{"name": DEPS_PACKAGE, "path": _MAIN}]}


def _shared_library(tables: dict[str, Any]) -> dict[str, Any]:
    """Stands for own libraries that are linked by themselves: what they need must hold object code besides
    bitcode.
    """
    package = {"name": f"{DEPS_PACKAGE}-shared", "version": "0.0.0", "build": False, **_NOTHING_FOUND}
    return {"package": package, "lib": {"path": "lib.rs", "crate-type": ["cdylib", "rlib"]}, **tables}


@dataclass(frozen=True, slots=True)
class _Asked:
    """Requests with what they are locked to."""

    loaded: Loaded
    all: tuple[_Pair, ...]

    def split(self, *, lto: bool) -> tuple[list[_Pair], list[_Pair]]:
        """What the binary asks for, and what libraries that are linked by themselves ask for where that matters."""
        side = [pair for pair in self.all if lto and pair[0].shared]
        return [pair for pair in self.all if pair not in side], side

    def tables(self, pairs: list[_Pair], origin: str) -> dict[str, Any]:
        """Dependency tables of a made-up package in ``origin``: an entry for each locked one per role and
        condition.
        """
        merged: dict[tuple[str, str], dict[LockedPackage, dict[str, Any]]] = {}
        for request, entry in pairs:
            table = merged.setdefault((request.condition, _ROLE_TABLES[request.role]), {})
            found = table.setdefault(entry, {**_source(request.dependency, entry, origin), "default-features": False})
            found["features"] = sorted({*found.get("features", ()), *request.features})
            found["default-features"] = found["default-features"] or request.default_features
        versions = Counter(name for name, _ in {(entry.name, entry) for _, entry in self.all})
        out: dict[str, Any] = {}
        for (condition, kind), table in merged.items():
            place = out.setdefault("target", {}).setdefault(condition, {}) if condition else out
            for entry, value in table.items():
                key, renamed = _key(entry, alone=versions[entry.name] == 1)
                place.setdefault(kind, {})[key] = {k: v for k, v in {**value, **renamed}.items() if v != []}
        return out


def _key(entry: LockedPackage, *, alone: bool) -> tuple[str, dict[str, str]]:
    """The name of an entry in its table: the package's own, or one with the version where several are asked for."""
    if alone:
        return entry.name, {}
    return f"{entry.name}-{re.sub('[^0-9A-Za-z]', '_', entry.version)}", {"package": entry.name}


def _source(dependency: Dependency, entry: LockedPackage, origin: str) -> dict[str, Any]:
    """Where it comes from: a kept path, git as the manifest says, or just the locked version."""
    if dependency.path is not None:
        return {"path": relative(dependency.path, origin)}
    if "git" in dependency.source:
        return dict(dependency.source)
    return {"version": f"={entry.version.split('+', 1)[0]}", **dependency.source}
