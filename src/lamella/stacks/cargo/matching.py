"""Manifests against the lock: which version a dependency has, and whether the lock is stale.

The lock is law (``--locked``): a dependency without an entry, or an entry without a dependency, is an error that
names the command which repairs it. Cargo locks every optional dependency and every platform of members, and the dev
dependencies of members only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lamella.errors import ConfigError, Problem
from lamella.stacks.cargo.lockfile import LockedPackage, Lockfile
from lamella.stacks.cargo.package import Dependency, Package
from lamella.stacks.cargo.semver import parse_requirement, parse_version
from lamella.stacks.cargo.workspace import Workspace

__all__ = ["check_lock", "locked_dependency", "locked_package"]


def locked_package(lock: Lockfile, package: Package) -> LockedPackage | None:
    """The lock's entry of a path package, None when it is missing or has another version."""
    return next((entry for entry in lock.own(package.name) if entry.version == package.version), None)


def locked_dependency(lock: Lockfile, package: Package, dependency: Dependency) -> LockedPackage | None:
    """The entry that one dependency of a path package is locked to; None when there is none that fits."""
    owner = locked_package(lock, package)
    if owner is None:
        return None
    found = [entry for entry in lock.dependencies(owner) if _fits(entry, dependency)]
    return max(found, key=lambda entry: parse_version(entry.version).sort_key(), default=None)


def _fits(entry: LockedPackage, dependency: Dependency) -> bool:
    """Name, and version where the manifest asks for one. A patch may give it any source."""
    if entry.name != dependency.package:
        return False
    if dependency.path is not None:
        return not entry.source
    if "git" in dependency.source and entry.source and not entry.source.startswith("git+"):
        return False
    try:
        return parse_requirement(dependency.requirement).matches(parse_version(entry.version))
    except ValueError:
        return True  # Cargo will say what is wrong with it


def check_lock(workspace: Workspace, packages: Iterable[Package]) -> None:
    """Raises ConfigError with every finding when the lock does not say what the manifests of ``packages`` ask
    for.
    """
    problems = tuple(problem for package in packages for problem in _findings(workspace, package))
    if problems:
        raise ConfigError.from_problems(problems)


def _findings(workspace: Workspace, package: Package) -> Iterator[Problem]:
    lock, repair = workspace.lock, f"run: cargo update --workspace --manifest-path {workspace.root.path}"
    owner = locked_package(lock, package)
    if owner is None:
        others = ", ".join(entry.version for entry in lock.own(package.name))
        says = f"which has version {others} of it" if others else "which does not know the package"
        text = f"{package.name} {package.version} is not in {lock.path}, {says}"
        yield _problem(package, ("package", "version" if others else "name"), text, repair)
        return
    locks_dev = workspace.is_member(package.directory)
    wanted: set[str] = set()
    for dependency in package.dependencies:
        if dependency.kind == "dev" and not locks_dev:
            continue
        wanted.add(dependency.package)
        must = not dependency.optional or locks_dev
        if must and locked_dependency(lock, package, dependency) is None:
            asked = f" {dependency.requirement}" if dependency.requirement and dependency.path is None else ""
            text = f"{package.name} depends on {dependency.package}{asked}, and {lock.path} has no such entry for it"
            yield _problem(package, dependency.where, text, repair)
    for entry in lock.dependencies(owner):
        if entry.name not in wanted and not entry.replace:
            text = f"{lock.path} says that {package.name} depends on {entry.name}, the manifest no longer does"
            yield _problem(package, ("package",), text, repair)


def _problem(package: Package, where: tuple[str, ...], text: str, repair: str) -> Problem:
    line, column = package.document.place(where)
    return Problem(package.document.path, line, column, f"the lock is stale: {text}", repair)
