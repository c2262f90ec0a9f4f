"""Which interpreter a layer is for: from the project file, the project, or the lock's facts of its bases.

Never from the machine that runs, and never from what a base turns out to hold: that is only checked.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from lamella.project.spec import PythonSpec
from lamella.stacks.base import LowerContext, layer_error
from lamella.stacks.python.pyproject import Pyproject
from lamella.stacks.python.target import Target
from lamella.stacks.toolchain import DEFAULT_SUITE

__all__ = ["Binding", "find_interpreter"]

DEBIAN_PYTHON = {"debian/bullseye": "3.9", "debian/bookworm": "3.11", "debian/trixie": "3.13"}
"""The Python of each Debian release: what ``apt = ["python3"]`` gives a bootstrapped base."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A target and the absolute ``path`` of its interpreter in the image; ``why`` says where the version is from."""

    target: Target
    path: str
    why: str


def find_interpreter(context: LowerContext, spec: PythonSpec, project: Pyproject | None) -> Binding:
    """The layer's interpreter; raises ConfigError where the project's ``requires-python`` rules it out."""
    known = context.lock.interpreters("python", context.platform)
    version, why = _version(context, spec, project, tuple(item.version for item in known))
    minor = ".".join(version.split(".")[:2])
    path = next((item.path for item in known if ".".join(item.version.split(".")[:2]) == minor), "")
    full = version if version.count(".") == 2 else ""
    binding = Binding(Target(minor, context.platform, full), path or f"/usr/bin/python{minor}", why)
    _check_requires(context, project, binding)
    return binding


def _version(
    context: LowerContext, spec: PythonSpec, project: Pyproject | None, locked: tuple[str, ...]
) -> tuple[str, str]:
    """The version and where it was said, first answer wins."""
    if spec.python is not None and spec.python.count("."):
        return spec.python, "the layer's 'python'"
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
    if locked:
        return locked[0], "the base"
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
        raise layer_error(
            context.layer,
            f"{project.path} requires Python {project.requires_python}, {binding.why} says {target.full or target.python}",
            hint="write 'python' in the layer, or take another base",
        )
