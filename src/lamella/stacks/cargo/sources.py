"""Which files of the project a step sees, as globs in which later ones win.

A package is its whole directory: build scripts and macros may read any file of it. Left out are what Cargo
never compiles for a binary (Rust files of ``tests``, ``benches``, ``examples``), directories of other members
inside it, products of other layers, and files that only tools around the code read. What a package reads
outside its directory is declared by ``inputs``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from lamella.graph.protocols import Tree
from lamella.stacks.cargo.document import MANIFEST
from lamella.stacks.cargo.lockfile import LOCK
from lamella.stacks.cargo.package import Package
from lamella.stacks.cargo.places import nested
from lamella.stacks.cargo.staged import Loaded

__all__ = ["kept_patterns", "package_patterns", "with_linked"]

_DEV_FOLDERS = ("tests", "benches", "examples")

_AROUND = (
    ".git/**",
    ".github/**",
    ".gitlab/**",
    ".circleci/**",
    ".devcontainer/**",
    ".vscode/**",
    ".idea/**",
    ".gitignore",
    ".gitattributes",
    ".gitmodules",
    ".gitlab-ci.yml",
    ".dockerignore",
    ".editorconfig",
    ".pre-commit-config.yaml",
    "Dockerfile*",
    "lamella.toml",
    "lamella.lock",
    "target/**",
)
"""In the workspace's root: what tools around the code read, and Cargo's own output."""


def package_patterns(loaded: Loaded, *, products: Iterable[str] = ()) -> tuple[str, ...]:
    """The files of all packages of a selection, without manifests and lock, which are staged in another form.

    ``products`` are paths where products of other layers will stand; what is left over there on disk is no input.
    """
    workspace = loaded.workspace
    directories = dict.fromkeys(package.directory for package in loaded.packages)
    strangers = nested((member for member in _known_members(loaded) if member not in directories), directories)
    inner = nested(directories, directories)
    found: list[str] = []
    for package in sorted(loaded.packages, key=lambda package: (package.directory.count("/"), package.directory)):
        found += _package(package)
        if package.directory == workspace.directory:
            found += [f"!{posixpath.join(package.directory, name)}" for name in _AROUND]
        found += [f"!{directory}/**" for directory in strangers[package.directory]]
        found += [f"{directory}/**" for directory in inner[package.directory]]
    found += [f"!{package.document.path}" for package in loaded.packages]
    found += [f"!{workspace.lock_path}", f"!{workspace.root.path}"]
    found += [f"!{path.strip('/')}/**" for path in products]
    return tuple(dict.fromkeys(found)) if len(set(found)) == len(found) else _last_of_each(found)


def _last_of_each(patterns: list[str]) -> tuple[str, ...]:
    """Without earlier repetitions: the last one decides."""
    return tuple(reversed(dict.fromkeys(reversed(patterns))))


def _known_members(loaded: Loaded) -> tuple[str, ...]:
    """Members by ``members`` and its globs; only a package around others needs more, and finds their manifests."""
    workspace = loaded.workspace
    around = any(package.directory == workspace.directory for package in loaded.packages)
    return workspace.members if around else workspace.listed


def _package(package: Package) -> Iterator[str]:
    directory = package.directory
    yield posixpath.join(directory, "**")
    for folder in _DEV_FOLDERS:
        if not _has_target_in(package, folder):
            yield f"!{posixpath.join(directory, folder, '**/*.rs')}"


def _has_target_in(package: Package, folder: str) -> bool:
    """Whether a library, a binary or the build script lives in a folder that otherwise holds no build input."""
    library = package.raw.get("lib", {})
    table = package.raw.get("package", {})
    paths = [binary.path for binary in package.binaries]
    paths += [str(part) for part in (library.get("path"), table.get("build")) if isinstance(part, str)]
    return any(posixpath.normpath(path).split("/", 1)[0] == folder for path in paths)


def kept_patterns(loaded: Loaded) -> tuple[str, ...]:
    """The files of the packages that count as third-party, which the dependency step compiles as they are."""
    found: list[str] = []
    for package in loaded.kept_packages:
        found += [*_package(package), f"!{posixpath.join(package.directory, MANIFEST)}"]
        found.append(f"!{posixpath.join(package.directory, LOCK)}")
    return tuple(found)


def with_linked(tree: Tree, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns and what symbolic links among their files lead to inside the project.

    A crate's ``README.md`` or ``LICENSE`` is often a link to the one of the workspace; what it leads to is read by the
    compile, so it is an input like the link itself.
    """
    found, new = patterns, patterns
    while new:
        links = tree.links(new).items()
        targets = (posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) for path, target in links)
        inside = {path for path in targets if not path.startswith(("/", "..")) and tree.exists(path)}
        new = tuple(sorted(inside - set(found)))
        found = (*found, *new)
    return found
