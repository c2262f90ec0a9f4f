"""What a Python layer asks for, before any lock is read: requirement files, or a project with extras and groups."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from packaging.utils import canonicalize_name

from lamella.project.spec import LayerSpec, PythonSpec
from lamella.stacks.base import LowerContext, layer_error
from lamella.stacks.python.pyproject import Pyproject, read_pyproject
from lamella.stacks.python.requirements import RequirementLine, Requirements, read_requirements
from lamella.values import dataclass

__all__ = ["Wishes", "read_wishes"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a layer asks for before any lock is read: requirements, the project, and folders that are packages.

    ``packages`` are the projects to build and install, the layer's own first; ``commits`` are packages of other
    repositories, pinned by commit.
    """

    requirements: Requirements
    project: Pyproject | None = None
    packages: tuple[Pyproject, ...] = ()
    commits: tuple[RequirementLine, ...] = ()


def read_wishes(context: LowerContext, spec: PythonSpec) -> Wishes:
    """Requirement files with all they include, or the project with its groups and extras."""
    layer = context.layer
    if spec.project is not None:
        project = read_pyproject(context.tree, spec.project)
        if project is None:
            raise layer_error(layer, f"{posixpath.join(spec.project, 'pyproject.toml')} is not there")
        _check_names(layer, project, spec)
        lines = _project_lines(project, spec)
        return Wishes(lines, project, (project,) if project.is_package else (), _commits(layer, lines))
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
    return Wishes(merged, None, tuple(packages), _commits(context.layer, merged))


def _commits(layer: LayerSpec, wanted: Requirements) -> tuple[RequirementLine, ...]:
    """Requirements of version control; what is not pinned by commit would change without notice."""
    found = tuple(line for line in wanted.lines if re.search(r" @ (git|hg|bzr|svn)\+", line.text))
    for line in found:
        if not re.search(r"@[0-9a-f]{40,64}(#|$)", line.requirement.url or ""):
            raise layer_error(
                layer,
                f"{line.file}:{line.line}: {line.text} names a branch or tag, which moves",
                hint="name the commit, with all 40 digits",
            )
    return found
