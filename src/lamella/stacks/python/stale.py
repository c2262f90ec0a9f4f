"""Does a lock still fit what it locks? Compared for one target, so that markers that cannot hold do not count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from lamella.sources.wheel_tags import Target
from lamella.stacks.python.pyproject import Pyproject
from lamella.stacks.python.requirements import RequirementLine

__all__ = ["check_coverage", "check_uv_metadata", "holds"]

Meaning = tuple[str, frozenset[str], frozenset[str]]
"""Name, extras, specifiers of one requirement."""

_PLACES = frozenset({"editable", "virtual", "directory", "path", "url", "git"})


def holds(line: RequirementLine, target: Target) -> bool:
    """Whether a requirement's marker holds on the target."""
    marker = line.requirement.marker if line.text else None
    return marker is None or target.matches(str(marker))


def check_coverage(lines: Iterable[RequirementLine], versions: dict[str, str], target: Target) -> None:
    """Every requirement that holds on the target is met; raises ValueError naming the first that is not."""
    for line in lines:
        if not line.text or not holds(line, target):
            continue
        if line.name not in versions:
            raise ValueError(f"stale: {line.file} asks for {line.text!r}, the lock does not hold it")
        version = versions[line.name]
        if version and not _fits(line, version):
            raise ValueError(f"stale: {line.file} asks for {line.text!r}, the lock holds {version}")


def _fits(line: RequirementLine, version: str) -> bool:
    try:
        return line.requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def check_uv_metadata(project: Pyproject, metadata: dict[str, Any], target: Target) -> None:
    """The lock repeats each project's requirements; raises ValueError where file and lock differ on the target."""
    if "dependencies" in project.dynamic:
        return
    for what, lines, locked in _sections(project, metadata, target):
        declared = {_meaning(line) for line in lines if holds(line, target)}
        held = {_locked_meaning(item) for item in locked}
        placed = {str(canonicalize_name(item["name"])) for item in locked if _PLACES & item.keys()}
        differing = _without_specifiers(declared, placed) ^ _without_specifiers(held, placed)
        if differing:
            name = min(differing, key=lambda meaning: meaning[0])[0]
            raise ValueError(f"stale: {what} of {project.path} and the lock differ in {name!r}")


def _sections(
    project: Pyproject, metadata: dict[str, Any], target: Target
) -> Iterator[tuple[str, tuple[RequirementLine, ...], list[dict[str, Any]]]]:
    """Dependencies, each extra, each group: what the project declares and what the lock says it declared."""
    required = list(metadata.get("requires-dist", ()))
    base = [item for item in required if target.matches(item.get("marker", ""))]
    yield "dependencies", project.dependencies, base
    for name, lines in project.extras.items():
        with_extra = [item for item in required if target.matches(item.get("marker", ""), (name,))]
        yield f"extra {name!r}", lines, [item for item in with_extra if item not in base]
    for name, lines in project.groups.items():
        grouped = metadata.get("requires-dev", {}).get(name, ())
        yield f"group {name!r}", lines, [item for item in grouped if target.matches(item.get("marker", ""))]


def _without_specifiers(meanings: set[Meaning], names: set[str]) -> set[Meaning]:
    """A source (a folder, a commit) replaces the specifier in the lock."""
    return {(name, extras, frozenset() if name in names else specifiers) for name, extras, specifiers in meanings}


def _meaning(line: RequirementLine) -> Meaning:
    requirement = line.requirement
    extras = frozenset(str(canonicalize_name(extra)) for extra in requirement.extras)
    return line.name, extras, frozenset(str(specifier) for specifier in requirement.specifier)


def _locked_meaning(item: dict[str, Any]) -> Meaning:
    extras = frozenset(str(canonicalize_name(extra)) for extra in item.get("extras", ()))
    specifiers = frozenset(part.strip() for part in item.get("specifier", "").split(",") if part.strip())
    return canonicalize_name(item["name"]), extras, specifiers
