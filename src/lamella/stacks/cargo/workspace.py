"""A Cargo workspace in a tree: its root, its members, the packages a build needs, each manifest read at most once.

Rules from the Cargo book, "Workspaces", and Cargo's ``core/workspace.rs``: the root is the nearest manifest upwards
with ``[workspace]`` that does not exclude the package; path dependencies below the root are members too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from functools import cached_property

from lamella.errors import ConfigError
from lamella.graph.patterns import compile_patterns, literal_prefix
from lamella.graph.protocols import Tree
from lamella.stacks.cargo.document import MANIFEST, Document, inherited, parse_document
from lamella.stacks.cargo.lockfile import LOCK, Lockfile, parse_lockfile
from lamella.stacks.cargo.package import Dependency, Package, read_package
from lamella.stacks.cargo.places import ancestors, is_below, joined

__all__ = ["Workspace", "load_workspace"]


class _Manifests:
    """Manifests of a tree by directory."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._documents: dict[str, Document] = {}

    @cached_property
    def directories(self) -> frozenset[str]:
        """Every directory with a manifest."""
        return frozenset(posixpath.dirname(path) for path in self._tree.paths((f"**/{MANIFEST}",)))

    def document(self, directory: str) -> Document:
        if directory not in self._documents:
            path = posixpath.join(directory, MANIFEST)
            self._documents[directory] = parse_document(self._tree.read(path), path)
        return self._documents[directory]

    def root_of(self, directory: str) -> Document | None:
        """The workspace root that a package belongs to; None when it stands alone."""
        own = self.document(directory)
        if own.workspace is not None:
            return own
        pointer = own.table("package").get("workspace")
        if isinstance(pointer, str):
            target = joined(directory, pointer)
            return self.document(target) if target in self.directories else None
        for ancestor in ancestors(directory):
            if ancestor in self.directories:
                document = self.document(ancestor)
                if document.workspace is not None:
                    return None if _excludes(document, directory) else document
        return None


def _excludes(root: Document, directory: str) -> bool:
    """``exclude`` is by prefix; what ``members`` spells out wins over it."""
    workspace = root.workspace or {}
    excluded = any(is_below(directory, joined(root.directory, str(entry))) for entry in workspace.get("exclude", ()))
    named = any(is_below(directory, joined(root.directory, str(entry))) for entry in workspace.get("members", ()))
    return excluded and not named


def _globbed(directory: str, glob: str) -> bool:
    """Whether a glob of ``members`` takes a directory itself, not merely one above it."""
    return (
        bool(directory)
        and ("**" in glob or directory.count("/") == glob.count("/"))
        and directory.startswith(literal_prefix(glob))
        and compile_patterns((glob,))(directory)
    )


class Workspace:
    """The workspace around one directory of the project."""

    def __init__(self, tree: Tree, root: Document, manifests: _Manifests) -> None:
        self.tree = tree
        self.root = root
        self._manifests = manifests
        self._packages: dict[str, Package] = {}

    @property
    def directory(self) -> str:
        """The root's directory relative to the project."""
        return self.root.directory

    @property
    def lock_path(self) -> str:
        """Where the lock file stands."""
        return posixpath.join(self.directory, LOCK)

    @cached_property
    def lock(self) -> Lockfile:
        """The lock; raises ConfigError when it is not there or not readable."""
        if not self.tree.exists(self.lock_path):
            raise self.root.error(
                (),
                f"there is no {self.lock_path}: a build needs the versions that the lock names",
                f"run: cargo generate-lockfile --manifest-path {self.root.path}, and see that no ignore file names it",
            )
        return parse_lockfile(self.tree.read(self.lock_path), self.lock_path)

    @property
    def resolver(self) -> int:
        """Version of the feature resolver: as written, else by the root package's edition, else 1."""
        for table in ("workspace", "package"):
            written = self.root.table(table).get("resolver")
            if written is not None:
                return int(written) if str(written) in ("1", "2", "3") else 3
        if "package" not in self.root.raw:
            return 1
        edition = self.package(self.directory).edition
        return {"2015": 1, "2018": 1, "2021": 2}.get(edition, 3)

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """Directories that ``members`` names, and the root package's; path dependencies are not looked for."""
        found = {self.directory} if "package" in self.root.raw else set()
        entries = [joined(self.directory, str(entry)) for entry in (self.root.workspace or {}).get("members", ())]
        plain = {entry for entry in entries if not any(char in entry for char in "*?[")}
        found |= {entry for entry in plain if entry in self._manifests.directories}
        globs = tuple(entry for entry in entries if entry not in plain)
        found |= {
            directory
            for directory in self._manifests.directories
            if any(_globbed(directory, glob) for glob in globs) and not _excludes(self.root, directory)
        }
        self._check_named(plain)
        return tuple(sorted(found))

    def _check_named(self, plain: Iterable[str]) -> None:
        missing = sorted(set(plain) - self._manifests.directories)
        if missing:
            raise self.root.error(
                ("workspace", "members"),
                f"member {missing[0]!r} has no {MANIFEST} in the project",
                "it does not exist, lies outside the project's folder, or an ignore file leaves it out",
            )

    @cached_property
    def members(self) -> tuple[str, ...]:
        """All members' directories, with those that come in as path dependencies below the root."""
        found, todo = set(self.listed), list(self.listed)
        while todo:
            for dependency in self.package(todo.pop()).dependencies:
                directory = dependency.path
                if directory is not None and directory not in found and self.is_member(directory):
                    found.add(directory)
                    todo.append(directory)
        return tuple(sorted(found))

    def mentioning(self, name: str) -> tuple[str, ...]:
        """Listed members whose manifest holds ``name`` as a string."""
        needles = (f'"{name}"'.encode(), f"'{name}'".encode())
        manifests = ((member, self.tree.read(posixpath.join(member, MANIFEST))) for member in self.listed)
        return tuple(member for member, data in manifests if any(needle in data for needle in needles))

    def is_member(self, directory: str) -> bool:
        """Whether a path package counts as member: listed, or below the root and not excluded."""
        if directory in self.listed:
            return True
        inside = is_below(directory, self.directory) and directory in self._manifests.directories
        return inside and not _excludes(self.root, directory)

    def package(self, directory: str, *, wanted_by: tuple[Package, Dependency] | None = None) -> Package:
        """The package of a directory; ``wanted_by`` names who depends on it, for the error."""
        if directory not in self._packages:
            if directory not in self._manifests.directories:
                raise _not_there(directory, wanted_by)
            document = self._manifests.document(directory)
            raw = inherited(document, self._manifests.root_of(directory))
            self._packages[directory] = read_package(document, raw, self._target_files(directory))
        return self._packages[directory]

    def _target_files(self, directory: str) -> frozenset[str]:
        names = ("build.rs", "src/lib.rs", "src/main.rs", "src/bin/*.rs", "src/bin/*/main.rs")
        found = self.tree.paths(tuple(posixpath.join(directory, name) for name in names))
        return frozenset(path[len(directory) + 1 if directory else 0 :] for path in found)

    def closure(self, directory: str, *, with_dev: bool = False) -> tuple[Package, ...]:
        """The packages that Cargo loads from paths to build one: it and its path dependencies of every target
        and kind but dev. ``with_dev`` follows the dev dependencies of the first one too. Optional ones are
        loaded as well.
        """
        found: dict[str, Package] = {}
        todo: list[tuple[str, tuple[Package, Dependency] | None]] = [(directory, None)]
        while todo:
            path, wanted_by = todo.pop()
            if path in found:
                continue
            package = found[path] = self.package(path, wanted_by=wanted_by)
            follows_dev = with_dev and path == directory
            counts = (d for d in package.dependencies if d.kind != "dev" or follows_dev)
            todo += [(d.path, (package, d)) for d in counts if d.path is not None]
        return tuple(found[path] for path in sorted(found))


def _not_there(directory: str, wanted_by: tuple[Package, Dependency] | None) -> ConfigError:
    what = f"{posixpath.join(directory, MANIFEST)} is not in the project"
    hint = "it does not exist, or an ignore file leaves it out; a submodule may not be checked out"
    if directory.startswith(".."):
        hint = "put lamella.toml into a folder that holds all path dependencies"
    if wanted_by is None:
        return ConfigError(what, hint=hint)
    package, dependency = wanted_by
    return package.document.error(dependency.where, f"path dependency {dependency.key}: {what}", hint)


def load_workspace(tree: Tree, directory: str) -> Workspace:
    """The workspace that holds the package in ``directory``, or whose root is there; raises ConfigError."""
    manifests = _Manifests(tree)
    if directory not in manifests.directories:
        raise ConfigError(
            f"{posixpath.join(directory, MANIFEST)} is not in the project",
            hint="set cargo.dir to the folder of the workspace; see that no ignore file names its manifest",
        )
    root = manifests.root_of(directory) or manifests.document(directory)
    return Workspace(tree, root, manifests)
