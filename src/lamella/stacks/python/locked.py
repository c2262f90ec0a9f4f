"""Which wheels a layer installs: from uv.lock, pylock.toml, or the sets that ``lamella lock`` resolved.

The lock is law. A lock that does not fit what it locks is an error that names the command to repair it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.op import Wheel
from lamella.project.spec import LayerSpec, PythonSpec
from lamella.sources.wheel_request import NamedIndex, ResolveRequest
from lamella.stacks.base import LowerContext, layer_error
from lamella.stacks.python.interpreter import find_interpreter
from lamella.stacks.python.pylock import select_pylock
from lamella.stacks.python.pyproject import Pyproject, read_pyproject, read_toml_table
from lamella.stacks.python.requirements import RequirementLine, Requirements, read_requirements
from lamella.stacks.python.resolved import Artifact, LockedPackage, Selection, SourceBuild, choose
from lamella.stacks.python.stale import check_coverage, check_uv_metadata, holds
from lamella.stacks.python.target import Target
from lamella.stacks.python.uvlock import UvLock, Wanted, read_uv_lock

__all__ = ["UnlockedSetError", "Wishes", "locked_selection", "read_wishes", "request_of", "resolve_request"]

LAMELLA_LOCK = "lamella.lock"


class UnlockedSetError(ConfigError):
    """A layer's set is not in ``lamella.lock``; ``request`` is what the resolver must be asked."""

    def __init__(self, error: ConfigError, request: ResolveRequest) -> None:
        super().__init__(error.message, hint=error.hint, details=error.details, problems=error.problems)
        self.request = request


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a layer asks for before any lock is read: requirements, the project, and folders that are packages.

    ``packages`` are the projects to build and install, the layer's own first.
    """

    requirements: Requirements
    project: Pyproject | None = None
    packages: tuple[Pyproject, ...] = ()


def read_wishes(context: LowerContext, spec: PythonSpec) -> Wishes:
    """Requirement files with all they include, or the project with its groups and extras."""
    layer = context.layer
    if spec.project is not None:
        project = read_pyproject(context.tree, spec.project)
        if project is None:
            raise layer_error(layer, f"{posixpath.join(spec.project, 'pyproject.toml')} is not there")
        _check_names(layer, project, spec)
        return Wishes(_project_lines(project, spec), project, (project,) if project.is_package else ())
    if not spec.requirements:
        raise layer_error(layer, "it names neither 'requirements' nor a 'project'")
    found = read_requirements(context.tree, spec.requirements)
    return _with_folders(context, found)


def _check_names(layer: LayerSpec, project: Pyproject, spec: PythonSpec) -> None:
    for kind, asked, known in (("extra", spec.extras, project.extras), ("group", spec.groups, project.groups)):
        for name in asked:
            if canonicalize_name(name) not in known:
                has = ", ".join(sorted(known)) or "none"
                raise layer_error(layer, f"{project.path} has no {kind} {name!r}", hint=f"it has: {has}")


def _project_lines(project: Pyproject, spec: PythonSpec) -> Requirements:
    lines = list(project.dependencies)
    for name in spec.extras:
        lines += _without_self(project, project.extras[canonicalize_name(name)], spec)
    for name in spec.groups:
        lines += _without_self(project, project.groups[canonicalize_name(name)], spec)
    return Requirements(tuple(dict.fromkeys(lines)), files=(project.path,))


def _without_self(project: Pyproject, lines: Iterable[RequirementLine], spec: PythonSpec) -> list[RequirementLine]:
    """``name[extra]`` of the project itself stands for that extra's requirements."""
    out: list[RequirementLine] = []
    for line in lines:
        if line.name == project.name:
            for extra in sorted(line.requirement.extras):
                out += _without_self(project, project.extras.get(canonicalize_name(extra), ()), spec)
        else:
            out.append(line)
    return out


def _with_folders(context: LowerContext, found: Requirements) -> Wishes:
    """Folders in requirement files are packages to build; what they need is required as well."""
    packages: list[Pyproject] = []
    extra: list[RequirementLine] = []
    for line in found.locals:
        project = read_pyproject(context.tree, line.local)
        if project is None:
            raise layer_error(context.layer, f"{line.file}:{line.line}: folder {line.local!r} has no pyproject.toml")
        if "dependencies" in project.dynamic:
            raise layer_error(
                context.layer,
                f"{project.path}: its dependencies are dynamic, only its build backend knows them",
                hint="write them under [project] dependencies, or lock the project with uv",
            )
        packages.append(project)
        extra += _project_lines(project, PythonSpec(extras=line.extras)).lines
    lines = tuple(dict.fromkeys((*(line for line in found.lines if not line.local), *extra)))
    merged = Requirements(lines, found.constraints, found.index, found.extra_indexes, found.options, found.files)
    return Wishes(merged, None, tuple(packages))


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
    return _from_lamella_lock(context, request, wishes).without(exclude), request.digest


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
    for candidate in _upwards(folder):
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


def _upwards(folder: str) -> Iterable[str]:
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


def request_of(context: LowerContext) -> ResolveRequest | None:
    """The resolver's question for a layer; None when a lock file of the project answers it, or nothing is asked."""
    spec = context.layer.spec
    if not isinstance(spec, PythonSpec):
        return None
    wishes = read_wishes(context, spec)
    name = posixpath.basename(_lock_path(context, spec, wishes))
    if name == "uv.lock" or name.startswith("pylock."):
        return None
    request = resolve_request(context, spec, wishes, find_interpreter(context, spec, wishes.project).target)
    return request if request.requirements else None


def resolve_request(context: LowerContext, spec: PythonSpec, wishes: Wishes, target: Target) -> ResolveRequest:
    """What the resolver is asked for a layer without a lock file of its own."""
    exclude = frozenset(canonicalize_name(name) for name in spec.exclude)
    wanted = wishes.requirements.without(exclude)
    lines = [line for line in wanted.lines if holds(line, target)]
    pins = _read_pins(context, spec)
    constraints = [line for line in (*wanted.constraints, *pins) if holds(line, target)]
    above = context.above.details.get("versions", FrozenMap()) if context.above is not None else FrozenMap()
    assert isinstance(above, FrozenMap)  # noqa: S101 - set by this adapter
    libc = "_".join(map(str, target.libc_version))
    hashed = (*lines, *pins)
    return ResolveRequest(
        requirements=tuple(sorted({line.text for line in lines})),
        constraints=tuple(sorted({line.text for line in constraints} | {f"{n}=={v}" for n, v in above.items() if v})),
        python=target.full or target.python,
        platform=target.platform,
        libc=f"{'musllinux' if target.libc == 'musl' else 'manylinux'}_{libc}",
        default_index=wanted.index,
        indexes=_indexes(spec, wanted),
        options=wanted.options,
        exclude=tuple(sorted(exclude)),
        hashes=tuple(sorted({(line.name, digest) for line in hashed for digest in line.hashes})),
        layer=context.layer.name,
    )


def _read_pins(context: LowerContext, spec: PythonSpec) -> tuple[RequirementLine, ...]:
    """A pinned requirement file that ``lock`` names decides versions; ``lamella.lock`` adds which wheels those are."""
    if spec.lock == LAMELLA_LOCK:
        return ()
    if not context.tree.exists(spec.lock):
        raise layer_error(
            context.layer,
            f"lock file {spec.lock!r} is not there",
            hint=f"make it: uv pip compile --generate-hashes {' '.join(spec.requirements)} -o {spec.lock}",
        )
    pins = read_requirements(context.tree, (spec.lock,))
    if not pins.is_pinned:
        loose = next((line for line in pins.lines if not line.hashes), None)
        raise layer_error(
            context.layer,
            f"{spec.lock} is no lock: {loose.text if loose else 'a line'} has no exact version with a hash",
            hint="make it with: uv pip compile --generate-hashes",
        )
    return pins.lines


def _indexes(spec: PythonSpec, wanted: Requirements) -> tuple[NamedIndex, ...]:
    bound = [
        NamedIndex(index.url, tuple(sorted(canonicalize_name(name) for name in index.packages)))
        for index in spec.indexes
    ]
    return (*bound, *(NamedIndex(url) for url in wanted.extra_indexes))


def _from_lamella_lock(context: LowerContext, request: ResolveRequest, wishes: Wishes) -> Selection:
    own = tuple(SourceBuild(project.name, "", folder=project.folder) for project in wishes.packages)
    if not request.requirements:
        return Selection((), own)
    found = context.lock.python_set(request.digest)
    if found is None:
        known = context.lock.python_sets_of(context.layer.name)
        what = "is stale: what the layer asks for has changed" if known else "does not hold its packages"
        error = layer_error(context.layer, f"lamella.lock {what}", hint="run: lamella lock")
        raise UnlockedSetError(error, request)
    wheels = tuple(item for item in found if item.filename.endswith(".whl"))
    sdists = tuple(_source(item) for item in found if not item.filename.endswith(".whl"))
    return Selection(wheels, (*sdists, *own))


def _source(item: Wheel) -> SourceBuild:
    archive = Artifact(item.filename, item.sha256, item.url, item.size)
    return SourceBuild(item.name, item.version, sdist=archive)
