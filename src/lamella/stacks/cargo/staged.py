"""What a step sees of the project's own manifests and lock.

Inheritance is resolved, members and lock are cut to what the selection needs, dev dependencies are gone where
they have no say, keys are sorted, comments gone: so an edit that cannot matter changes no file of a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lamella.graph.op import InlineFile
from lamella.stacks.cargo.document import DEPENDENCY_TABLES
from lamella.stacks.cargo.lockfile import LockedPackage, Lockfile, render_lockfile
from lamella.stacks.cargo.matching import locked_dependency, locked_package
from lamella.stacks.cargo.package import Package
from lamella.stacks.cargo.rootparts import ROOT_TABLES, patched_directories, root_tables, used_patches, used_profiles
from lamella.stacks.cargo.tomltext import toml_text
from lamella.stacks.cargo.workspace import Workspace
from lamella.values import dataclass, replace

__all__ = ["Loaded", "load_packages", "own_entries", "pruned_lock", "staged_manifests", "staged_package"]

_NO_CODE = ("keywords", "categories", "documentation", "publish", "include", "exclude")
"""Fields of ``[package]`` that neither Cargo's build nor a ``CARGO_PKG_*`` variable shows to the code."""

_NOT_BUILT = ("test", "bench", "example", "badges")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A selection's packages: ``packages`` are all that Cargo loads from paths, ``kept`` the directories of
    those that count as third-party. ``dev`` is the directory whose dev dependencies have a say (resolver 1),
    else None.
    """

    workspace: Workspace
    packages: tuple[Package, ...]
    profile: str
    kept: frozenset[str]
    dev: str | None

    @property
    def kept_packages(self) -> tuple[Package, ...]:
        """The kept ones as packages."""
        return tuple(package for package in self.packages if package.directory in self.kept)


def load_packages(workspace: Workspace, directory: str, profile: str, overrides: Iterable[str] = ()) -> Loaded:
    """Everything Cargo loads from paths to build the package in ``directory``. Raises ConfigError.

    ``overrides`` are the directories of Cargo's ``paths`` setting. Under resolver 1 dev dependencies of the
    selected package share features with the rest even when no test is built.
    """
    dev = directory if workspace.resolver == 1 else None
    own = {package.directory: package for package in workspace.closure(directory, with_dev=dev is not None)}
    kept = _kept(workspace, own.values(), overrides)
    own.update({path: workspace.package(path) for path in kept})
    return Loaded(workspace, tuple(own[path] for path in sorted(own)), profile, kept, dev)


def _kept(workspace: Workspace, packages: Iterable[Package], overrides: Iterable[str]) -> frozenset[str]:
    """Directories of path packages that third-party ones can reach: used patches, ``paths`` overrides, and what
    those depend on by path.
    """
    lock, own = workspace.lock, tuple(packages)
    entries = lock.reachable(entry for package in own if (entry := locked_package(lock, package)) is not None)
    asked = {lock.resolve(text).name for entry in entries if entry.source for text in entry.dependencies}
    asked |= {dependency.package for package in own for dependency in package.dependencies if dependency.path is None}
    candidates = sorted({*overrides, *patched_directories(workspace.root)})
    todo = [d for d in candidates if (name := workspace.package(d).name) in asked and lock.own(name)]
    kept: set[str] = set()
    while todo:
        directory = todo.pop()
        if directory not in kept:
            kept.add(directory)
            inner = workspace.package(directory).dependencies
            todo += [d.path for d in inner if d.path is not None and d.kind != "dev"]
    return frozenset(kept)


def own_entries(loaded: Loaded) -> tuple[tuple[Package, LockedPackage], ...]:
    """The path packages with their entries in the lock."""
    lock = loaded.workspace.lock
    found = ((package, locked_package(lock, package)) for package in loaded.packages)
    return tuple((package, entry) for package, entry in found if entry is not None)


def pruned_lock(loaded: Loaded, roots: Iterable[LockedPackage]) -> tuple[LockedPackage, ...]:
    """What is reachable from ``roots`` when own packages lose the dev dependencies that their manifests lose.

    Reachable is all that the lock alone can tell: which optional dependencies of third-party packages drop out
    when nobody asks for a feature any more, only Cargo knows, with the registry's index. So Cargo gets this
    lock and leaves out the rest, and the step checks that it added nothing.
    """
    lock = loaded.workspace.lock
    shorter = {entry: _without_dev(loaded, package, entry) for package, entry in own_entries(loaded)}
    cut = Lockfile(lock.version, tuple(shorter.get(entry, entry) for entry in lock.packages), lock.path)
    return cut.reachable([shorter.get(entry, entry) for entry in roots])


def _without_dev(loaded: Loaded, package: Package, entry: LockedPackage) -> LockedPackage:
    lock = loaded.workspace.lock
    counts = [d for d in package.dependencies if d.kind != "dev" or package.directory == loaded.dev]
    found = {locked_dependency(lock, package, dependency) for dependency in counts}
    return replace(entry, dependencies=tuple(text for text in entry.dependencies if lock.resolve(text) in found))


def staged_manifests(loaded: Loaded) -> tuple[InlineFile, ...]:
    """The manifests and the lock that the final step sees, by path."""
    workspace, root = loaded.workspace, loaded.workspace.root
    locked = pruned_lock(loaded, [entry for _, entry in own_entries(loaded)])
    directories = [package.directory for package in loaded.packages]
    tables = root_tables(root, workspace.resolver, filter(workspace.is_member, directories), directories)
    tables["profile"] = used_profiles(root, loaded.profile)
    tables["patch"] = used_patches(root, locked)
    if metadata := (root.workspace or {}).get("metadata"):
        tables["workspace"]["metadata"] = metadata
    texts = {package.document.path: staged_package(loaded, package) for package in loaded.packages}
    own = texts.get(root.path, {})
    texts[root.path] = {**own, **{key: value for key, value in tables.items() if value}}
    files = [InlineFile(path, toml_text(raw).encode()) for path, raw in texts.items()]
    files.append(InlineFile(workspace.lock_path, render_lockfile(locked, workspace.lock.version)))
    return tuple(sorted(files, key=lambda file: file.path))


def staged_package(loaded: Loaded, package: Package) -> dict[str, Any]:
    """A package's manifest for building: no tests, benches, examples, and no dev dependencies unless they have
    a say.
    """
    raw = {key: value for key, value in package.raw.items() if key not in (*ROOT_TABLES, *_NOT_BUILT)}
    name = "package" if "package" in raw else "project"
    table = {key: value for key, value in raw[name].items() if key not in _NO_CODE}
    raw[name] = {**table, "autotests": False, "autobenches": False, "autoexamples": False}
    if "workspace" in package.raw and package.directory != loaded.workspace.directory:
        raw["workspace"] = {}  # a workspace of its own stays one, or Cargo looks for its root further up
    if package.directory == loaded.dev:
        return raw
    raw = _without_dev_tables(raw)
    if "target" in raw:
        raw["target"] = {condition: _without_dev_tables(tables) for condition, tables in raw["target"].items()}
    if "features" in raw:
        raw["features"] = _without_dev_features(package)
    return raw


def _without_dev_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tables.items() if DEPENDENCY_TABLES.get(key) != "dev"}


def _without_dev_features(package: Package) -> dict[str, list[str]]:
    """Features without ``name/feature`` of dependencies that are dev ones only, which Cargo would no longer
    know.
    """
    gone = {d.key for d in package.dependencies if d.kind == "dev"}
    gone -= {d.key for d in package.dependencies if d.kind != "dev"}
    return {
        name: [value for value in values if "/" not in value or value.split("/", 1)[0].removesuffix("?") not in gone]
        for name, values in package.features.items()
    }
