"""What layers need of their base, checked before an hour is spent (DESIGN 7b.3 last part). Pure."""

from __future__ import annotations

from collections.abc import Callable

from lamella.errors import Problem
from lamella.graph.facts import BaseFacts
from lamella.planning.lowering import ImagePlan
from lamella.project.spec import ImageSpec
from lamella.stacks.base import Requirement

__all__ = ["check_requirements", "user_problem", "version_tuple"]


def version_tuple(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``2.36`` is (2, 36)."""
    out = []
    for piece in text.split("."):
        if not piece.isdigit():
            break
        out.append(int(piece))
    return tuple(out)


def check_requirements(
    plan: ImagePlan, base: BaseFacts, facts_of: Callable[[str], BaseFacts | None]
) -> tuple[Problem, ...]:
    """Findings for one image; ``facts_of`` gives the facts of a toolchain's vertex, None while unknown."""
    place = plan.image.position
    unknown = user_problem(plan.image, base)
    problems = [unknown] if unknown is not None else []
    for requirement in plan.requirements:
        message, hint = _check(requirement, base, facts_of)
        if message:
            text = f"image {plan.image.name!r}: {message}"
            problems.append(Problem(place.file, place.line, place.column, text, hint))
    return tuple(problems)


def user_problem(image: ImageSpec, base: BaseFacts) -> Problem | None:
    """A named ``user`` must be in the base or in ``users``, else it must be a number (DESIGN 7b.4)."""
    if image.user is None or base.owner_ids(image.user) is not None:
        return None
    place, known = image.position, ", ".join(user.name for user in base.users) or "none"
    text = f"image {image.name!r}: user {image.user!r} is not in the base"
    hint = f"the base's users are {known}; add it to a base layer's 'users', or write a number"
    return Problem(place.file, place.line, place.column, text, hint)


def _check(need: Requirement, base: BaseFacts, facts_of: Callable[[str], BaseFacts | None]) -> tuple[str, str]:
    match need.kind:
        case "glibc":
            return _check_glibc(need, base, facts_of)
        case "interpreter":
            return _check_interpreter(need, base)
        case "tool":
            found = need.value in base.tools
            return ("", "") if found else (f"{need.why} needs {need.value!r} in the base", f"add {need.value} to it")
        case _:
            return f"{need.why} has a requirement of unknown kind {need.kind!r}", ""


def _check_glibc(need: Requirement, base: BaseFacts, facts_of: Callable[[str], BaseFacts | None]) -> tuple[str, str]:
    toolchain = facts_of(need.rootfs) if need.rootfs else None
    wanted = need.value or (toolchain.libc_version if toolchain else "")
    if toolchain is not None and toolchain.libc and base.libc and toolchain.libc != base.libc:
        return f"{need.why} is linked against {toolchain.libc}, the base has {base.libc}", "use a base of the same libc"
    if not wanted:
        return "", ""
    if not base.libc:
        return (
            f"{need.why} is linked dynamically against glibc {wanted}, the base has no C library",
            "use a base with glibc, or a statically linked target",
        )
    if version_tuple(base.libc_version) < version_tuple(wanted):
        return (
            f"{need.why} is linked against glibc {wanted}, the base has {base.libc_version}",
            "build on a toolchain that is as old as the base, or take a newer base",
        )
    return "", ""


def _check_interpreter(need: Requirement, base: BaseFacts) -> tuple[str, str]:
    """``value`` is ``python 3.11 /usr/bin/python3.11``."""
    language, version, path = (*need.value.split(), "", "")[:3]
    for found in base.interpreters:
        if found.language == language and found.version == version and path in ("", found.path):
            return "", ""
    known = ", ".join(f"{found.version} at {found.path}" for found in base.interpreters if found.language == language)
    return (
        f"{need.why} needs {language} {version} at {path or 'any path'}; the base has {known or 'none'}",
        f"add {language} {version} to the base, or write the version it has",
    )
