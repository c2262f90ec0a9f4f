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
from collections.abc import Iterable
from typing import Any

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

__all__ = ["DEPS_PACKAGE", "STUB_MARKER", "deps_skeleton"]

DEPS_PACKAGE = "lamella-deps"
"""Name of the made-up package and of its binary."""

STUB_MARKER = "lamella-stub-6f1c0a52d9e84b37"
"""Stands in every stub; the finished binary is searched for it."""

_STUB = f'#[used]\nstatic LAMELLA_STUB: &str = "{STUB_MARKER}";\n\nfn main() {{}}\n'.encode()
_MAIN, _BUILD = ".lamella/deps.rs", ".lamella/build.rs"

_ROLE_TABLES = {"normal": "dependencies", "build": "build-dependencies", "dev": "dev-dependencies"}


def deps_skeleton(loaded: Loaded, requests: Iterable[Request]) -> tuple[InlineFile, ...]:
    """The files of the dependency step by path; empty when no third-party package is asked for."""
    workspace, root = loaded.workspace, loaded.workspace.root
    asked = [(request, entry) for request in requests if (entry := _locked(loaded, request)) is not None]
    if not asked:
        return ()
    kept = loaded.kept_packages
    locked = pruned_lock(
        loaded, [e for _, e in asked] + [e for p, e in own_entries(loaded) if p.directory in loaded.kept]
    )
    directories = [package.directory for package in kept]
    tables = {
        **root_tables(root, workspace.resolver, filter(workspace.is_member, directories), directories),
        "profile": used_profiles(root, loaded.profile, frozenset(entry.name for entry in locked)),
        "patch": used_patches(root, locked),
        **_request_tables(loaded, asked),
    }
    has_host = any(request.role == "build" for request, _ in asked)
    tables |= _made_up_package(has_host)
    texts = {posixpath.join(workspace.directory, MANIFEST): tables}
    texts |= {package.document.path: staged_package(loaded, package) for package in kept}
    files = [InlineFile(path, toml_text(_filled(raw)).encode()) for path, raw in texts.items()]
    files.append(InlineFile(workspace.lock_path, render_lockfile(locked, workspace.lock.version)))
    stubs = (_MAIN, _BUILD) if has_host else (_MAIN,)
    files += [InlineFile(posixpath.join(workspace.directory, path), _STUB) for path in stubs]
    return tuple(sorted(files, key=lambda file: file.path))


def _filled(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value or not isinstance(value, dict) or key == "workspace"}


def _locked(loaded: Loaded, request: Request) -> LockedPackage | None:
    return locked_dependency(loaded.workspace.lock, request.owner, request.dependency)


def _made_up_package(has_host: bool) -> dict[str, Any]:
    """A binary, so that link-time optimisation treats dependencies as it does for the real one."""
    package = {"name": DEPS_PACKAGE, "version": "0.0.0", "edition": "2021", "build": _BUILD if has_host else False}
    for kind in ("bins", "examples", "tests", "benches"):
        package[f"auto{kind}"] = False
    return {"package": package, "bin": [{"name": DEPS_PACKAGE, "path": _MAIN}]}


def _request_tables(loaded: Loaded, asked: list[tuple[Request, LockedPackage]]) -> dict[str, Any]:
    """Dependency tables of the made-up package: one entry for each locked package per role and condition."""
    merged: dict[tuple[str, str], dict[LockedPackage, dict[str, Any]]] = {}
    versions: dict[str, set[LockedPackage]] = {}
    for request, entry in asked:
        versions.setdefault(entry.name, set()).add(entry)
        table = merged.setdefault((request.condition, _ROLE_TABLES[request.role]), {})
        found = table.setdefault(entry, {**_source(loaded, request.dependency, entry), "default-features": False})
        found["features"] = sorted({*found.get("features", ()), *request.features})
        found["default-features"] = found["default-features"] or request.default_features
    out: dict[str, Any] = {}
    for (condition, kind), table in merged.items():
        place = out.setdefault("target", {}).setdefault(condition, {}) if condition else out
        for entry, value in table.items():
            key, renamed = _key(entry, alone=len(versions[entry.name]) == 1)
            place.setdefault(kind, {})[key] = {k: v for k, v in {**value, **renamed}.items() if v != []}
    return out


def _key(entry: LockedPackage, *, alone: bool) -> tuple[str, dict[str, str]]:
    """The name of an entry in its table: the package's own, or one with the version where several are asked for."""
    if alone:
        return entry.name, {}
    return f"{entry.name}-{re.sub('[^0-9A-Za-z]', '_', entry.version)}", {"package": entry.name}


def _source(loaded: Loaded, dependency: Dependency, entry: LockedPackage) -> dict[str, Any]:
    """Where it comes from: a kept path, git as the manifest says, or just the locked version."""
    if dependency.path is not None:
        return {"path": relative(dependency.path, loaded.workspace.directory)}
    if "git" in dependency.source:
        return dict(dependency.source)
    return {"version": f"={entry.version.split('+', 1)[0]}", **dependency.source}
