"""Directories of a project as relative paths: the project itself is the empty one, ``..`` leads out of it."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator

__all__ = ["ancestors", "is_below", "joined", "moved", "nested", "relative"]

_FAR_DOWN = "/1/2/3/4/5/6/7/8"
"""A made-up place of the project, so deep that paths which leave the project still have a spelling."""


def joined(directory: str, path: str) -> str:
    """``path`` as it is written in ``directory``, relative to the project."""
    found = posixpath.normpath(posixpath.join(directory, path))
    return "" if found == "." else found


def moved(path: str, origin: str, directory: str) -> str:
    """A path that is written relative to ``origin``, relative to ``directory``."""
    return posixpath.relpath(posixpath.join(_FAR_DOWN, origin, path), posixpath.join(_FAR_DOWN, directory))


def relative(path: str, directory: str) -> str:
    """A path of the project seen from ``directory``."""
    return moved(path, "", directory)


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or lies in it; the empty directory holds everything of the project."""
    return not directory or path == directory or path.startswith(f"{directory}/")


def ancestors(directory: str) -> Iterator[str]:
    """The directories above, nearest first, up to the project itself."""
    while directory:
        directory = posixpath.dirname(directory)
        yield directory


def nested(paths: Iterable[str], directories: Collection[str]) -> dict[str, list[str]]:
    """For each of ``directories`` those of ``paths`` that lie in it, itself left out, in the given order."""
    found: dict[str, list[str]] = {directory: [] for directory in directories}
    for path in paths:
        for above in ancestors(path):
            if above in found:
                found[above].append(path)
    return found
