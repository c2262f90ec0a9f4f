"""Which interpreter a layer is for: from the project file, the project, or the lock's facts of its bases.

Never from the machine that runs, and never from what a base turns out to hold: that is only checked.
"""

from __future__ import annotations

import posixpath
import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from lamella.project.spec import PythonSpec
from lamella.sources.wheel_tags import DEFAULT_GLIBC, MUSL, Target
from lamella.stacks.base import LowerContext, layer_error
from lamella.stacks.python.pyproject import Pyproject
from lamella.stacks.toolchain import DEFAULT_SUITE
from lamella.values import dataclass

__all__ = ["Binding", "find_interpreter", "missing_in_base"]

_OF_THE_LAYER = "the layer's 'python'"
"""Why a version is taken, where the layer itself says it."""

DEBIAN_PYTHON = {"debian/bullseye": "3.9", "debian/bookworm": "3.11", "debian/trixie": "3.13"}
"""The Python of each Debian release: what ``apt = ["python3"]`` gives a bootstrapped base."""

SUITE_GLIBC = {
    "debian/bullseye": (2, 31),
    "debian/bookworm": (2, 36),
    "debian/trixie": (2, 41),
    "ubuntu/jammy": (2, 35),
    "ubuntu/noble": (2, 39),
}
_FAMILY_GLIBC = {"ubuntu": (2, 35), "rhel": (2, 34), "fedora": (2, 34), "suse": (2, 31)}
"""The oldest glibc of a family that is still in use: the lock knows a base's family, not its release."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A target and the absolute ``path`` of its interpreter in the image; ``why`` says where the version is from."""

    target: Target
    path: str
    why: str


def find_interpreter(context: LowerContext, spec: PythonSpec, project: Pyproject | None) -> Binding:
    """The layer's interpreter; raises ConfigError where the project's ``requires-python`` rules it out."""
    known = [found for base in context.bases or (DEFAULT_SUITE,) for found in _interpreters(context, base)]
    version, why = _version(context, spec, project, known)
    minor = ".".join(version.split(".")[:2])
    full = version if version.count(".") == 2 else ""
    libc, libc_version = _libc(context)
    target = Target(minor, context.platform, full, libc, libc_version)
    binding = Binding(target, _path(context, minor, known), why)
    _check_requires(context, project, binding)
    return binding


def _interpreters(context: LowerContext, base: str) -> list[tuple[str, str]]:
    """Version and path of each Python that the lock knows in a base."""
    pin = context.lock.bases.get(base)
    if pin is None:
        python = DEBIAN_PYTHON.get(base.partition("@")[0])
        return [(python, f"/usr/bin/python{python}")] if python else []
    return [
        (item.version, item.path) for item in pin.interpreters.get(context.platform, ()) if item.language == "python"
    ]


def _path(context: LowerContext, minor: str, known: list[tuple[str, str]]) -> str:
    """Where the interpreter is; ``/usr/bin`` where packages of the base bring it and the lock cannot know."""
    paths = sorted({path for version, path in known if version == minor})
    if len(paths) > 1:
        raise layer_error(
            context.layer,
            f"its images stand on bases with Python {minor} at different places: {', '.join(paths)}",
            hint="give each of the images a layer of its own, or the same base",
        )
    return paths[0] if paths else f"/usr/bin/python{minor}"


def _libc(context: LowerContext) -> tuple[str, tuple[int, int]]:
    """The C library of the layer's bases and the newest version that all of them have."""
    versions = []
    for base in context.bases:
        pin = context.lock.bases.get(base)
        families = pin.os_family.split() if pin else []
        if "alpine" in families:
            return "musl", MUSL
        versions.append(SUITE_GLIBC.get(base.partition("@")[0]) or _family(families))
    return "glibc", min(versions, default=DEFAULT_GLIBC)


def _family(families: list[str]) -> tuple[int, int]:
    return next((_FAMILY_GLIBC[name] for name in families if name in _FAMILY_GLIBC), DEFAULT_GLIBC)


def missing_in_base(context: LowerContext, binding: Binding) -> str:
    """A note where a Debian from its archive has another Python than the one that packages are chosen for."""
    for base in context.bases:
        brought = DEBIAN_PYTHON.get(base.partition("@")[0], "")
        wanted = binding.target.python
        if brought and brought != wanted:
            return (
                f"layer {context.layer.name!r} is for Python {wanted}, as {binding.why} says, and {base} "
                f'has {brought}: write python = "{brought}" in the layer, or give the base the other one'
            )
    return ""


def _other_version(binding: Binding) -> str:
    if binding.why == _OF_THE_LAYER:
        return "write another version in the layer, or leave it out: then the base decides"
    return "write 'python' in the layer, or take another base"


def _version(
    context: LowerContext, spec: PythonSpec, project: Pyproject | None, known: list[tuple[str, str]]
) -> tuple[str, str]:
    """The version and where it was said, first answer wins."""
    if spec.python is not None and spec.python.count("."):
        return spec.python, _OF_THE_LAYER
    if context.above is not None:
        return str(context.above.details["python"]), f"layer {spec.above!r}"
    for folder in (project.folder, ".") if project else (".",):
        path = posixpath.normpath(posixpath.join(folder, ".python-version"))
        if context.tree.exists(path):
            match = re.match(
                r"(?:cpython-|python-)?(3\.\d+(?:\.\d+)?)", context.tree.read(path).decode("utf-8", "replace")
            )
            if match:
                return match[1], path
    if known:
        return known[0][0], f"base {(context.bases or (DEFAULT_SUITE,))[0]}"
    return DEBIAN_PYTHON[DEFAULT_SUITE], f"the default base, {DEFAULT_SUITE}"


def _check_requires(context: LowerContext, project: Pyproject | None, binding: Binding) -> None:
    if project is None or not project.requires_python:
        return
    try:
        allowed = SpecifierSet(project.requires_python)
    except InvalidSpecifier:
        raise layer_error(context.layer, f"{project.path}: requires-python is malformed") from None
    target = binding.target
    # Of a minor version alone the patch is unknown: any that the project allows will do.
    candidates = [target.full] if target.full else [f"{target.python}.{patch}" for patch in range(60)]
    if not any(allowed.contains(candidate, prereleases=True) for candidate in candidates):
        said = f"{binding.why} says {target.full or target.python}"
        raise layer_error(
            context.layer,
            f"{project.path} requires Python {project.requires_python}, {said}",
            hint=_other_version(binding),
        )
