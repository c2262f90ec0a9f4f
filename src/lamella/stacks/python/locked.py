"""Which wheels a layer installs: from uv.lock, pylock.toml, or the sets that ``lamella lock`` resolved.

The lock is law. A lock that does not fit what it locks is an error that names the command to repair it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from packaging.utils import canonicalize_name

from lamella.project.spec import PythonSpec
from lamella.sources.wheel_tags import Target
from lamella.stacks.base import LowerContext, layer_error
from lamella.stacks.python.pylock import select_pylock
from lamella.stacks.python.pyproject import Pyproject, read_pyproject, read_toml_table
from lamella.stacks.python.request import LAMELLA_LOCK, UnlockedSetError, answered, resolve_request
from lamella.stacks.python.resolved import LockedPackage, Selection, SourceBuild, choose
from lamella.stacks.python.stale import check_coverage, check_uv_metadata
from lamella.stacks.python.uvlock import UvLock, Wanted, read_uv_lock
from lamella.stacks.python.wishes import Wishes

__all__ = ["UnlockedSetError", "locked_selection", "upwards"]


def locked_selection(context: LowerContext, spec: PythonSpec, wishes: Wishes, target: Target) -> tuple[Selection, str]:
    """What the layer installs on the target, and the digest of the request that ``lamella.lock`` answered, else empty.

    Raises ConfigError for a missing, stale or malformed lock.
    """
    place = _lock_path(context, spec, wishes)
    exclude = frozenset(canonicalize_name(name) for name in spec.exclude)
    try:
        if posixpath.basename(place) == "uv.lock":
            return _from_uv_lock(context, spec, wishes, target, place), ""
        if posixpath.basename(place).startswith("pylock."):
            return _from_pylock(context, spec, wishes, target, place), ""
    except (KeyError, TypeError, ValueError) as error:
        text = f"missing key {error}" if isinstance(error, KeyError) else str(error)
        raise layer_error(context.layer, f"{place}: {text}", hint=_repair(place)) from error
    request = resolve_request(context, spec, wishes, target)
    return answered(context, request, wishes).without(exclude), request.digest


def _repair(place: str) -> str:
    folder = posixpath.dirname(place)
    inside = f" --directory {folder}" if folder else ""
    return (
        f"run: uv lock{inside}"
        if place.endswith("uv.lock")
        else "make the file again, with: uv export --format pylock.toml"
    )


def _lock_path(context: LowerContext, spec: PythonSpec, wishes: Wishes) -> str:
    """The file that locks the layer: what ``lock`` names, a project's own lock file, ``lamella.lock``."""
    if spec.lock != LAMELLA_LOCK:
        return posixpath.normpath(spec.lock)
    if wishes.project is None:
        return LAMELLA_LOCK
    folder = wishes.project.folder
    for candidate in upwards(folder):
        path = posixpath.normpath(posixpath.join(candidate, "uv.lock"))
        if context.tree.exists(path):
            return path
    own = posixpath.normpath(posixpath.join(folder, "pylock.toml"))
    if context.tree.exists(own):
        return own
    if context.tree.exists(posixpath.normpath(posixpath.join(folder, "poetry.lock"))):
        raise layer_error(
            context.layer,
            f"{folder}/poetry.lock cannot be read",
            hint="export it (poetry export > requirements.txt) and name that in 'requirements', or change to uv",
        )
    return LAMELLA_LOCK


def upwards(folder: str) -> Iterable[str]:
    """A folder and those above it up to the project's root."""
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return ["/".join(parts[:count]) or "." for count in range(len(parts), -1, -1)]


def _from_uv_lock(context: LowerContext, spec: PythonSpec, wishes: Wishes, target: Target, place: str) -> Selection:
    if wishes.project is None:
        raise ValueError("uv.lock locks a project; write 'project' instead of 'requirements'")
    if not context.tree.exists(place):
        raise ValueError("the file is not there")
    lock = read_uv_lock(read_toml_table(context.tree, place), posixpath.dirname(place))
    folder = posixpath.relpath(wishes.project.folder, lock.directory or ".")
    wanted = Wanted(
        folder,
        tuple(canonicalize_name(name) for name in spec.extras),
        tuple(canonicalize_name(name) for name in spec.groups),
        frozenset(canonicalize_name(name) for name in spec.exclude),
    )
    _check_fresh(lock, folder, wishes.project, target)
    found = lock.select(wanted, target)
    for package in found:
        member = read_pyproject(context.tree, package.folder) if package.folder else None
        if member is not None:
            _check_fresh(lock, posixpath.relpath(member.folder, lock.directory or "."), member, target)
    return _selected(context, found, wishes, target)


def _check_fresh(lock: UvLock, folder: str, project: Pyproject, target: Target) -> None:
    root = lock.root(folder)
    if root is None:
        raise ValueError(f"stale: {project.path} is not in the lock")
    check_uv_metadata(project, root.get("metadata", {}), target)


def _from_pylock(context: LowerContext, spec: PythonSpec, wishes: Wishes, target: Target, place: str) -> Selection:
    if not context.tree.exists(place):
        raise ValueError("the file is not there")
    found = select_pylock(
        read_toml_table(context.tree, place),
        posixpath.dirname(place),
        target,
        extras=tuple(canonicalize_name(name) for name in spec.extras),
        groups=spec.groups,
        exclude=frozenset(canonicalize_name(name) for name in spec.exclude),
    )
    own = {project.name for project in wishes.packages}
    found = tuple(package for package in found if package.name not in own)
    exclude = frozenset(canonicalize_name(name) for name in spec.exclude)
    check_coverage(wishes.requirements.without(exclude).lines, {item.name: item.version for item in found}, target)
    return _selected(context, found, wishes, target)


def _selected(context: LowerContext, packages: tuple[LockedPackage, ...], wishes: Wishes, target: Target) -> Selection:
    """The choice for the target, with the folders to build: the lock's own ones that are packages, and the project."""
    installable = []
    for package in packages:
        project = read_pyproject(context.tree, package.folder) if package.folder else None
        if project is None or project.is_package:
            installable.append(package)
    chosen = choose(tuple(installable), target)
    known = {build.folder for build in chosen.builds if build.folder}
    own = tuple(SourceBuild(p.name, "", folder=p.folder) for p in wishes.packages if p.folder not in known)
    builds = tuple(
        SourceBuild(b.name, "" if b.folder else b.version, b.folder, b.direct, b.sdist) for b in chosen.builds
    )
    return Selection(chosen.wheels, (*builds, *own), chosen.notes)
