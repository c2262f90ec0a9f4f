"""Finds what a step wrote into its inputs: the upper directory of an input's overlay against what lies below."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from lamella.host.rooted import Found, Rooted
from lamella.layers.overlay import is_whiteout

__all__ = ["LARGEST_REPORT", "written_paths"]

LARGEST_REPORT = 1000
"""Paths reported at most; more say nothing more."""


def written_paths(upper: str, lower: str, is_allowed: Callable[[str], bool]) -> tuple[str, ...]:
    """Relative paths that were made, changed or removed, sorted; those that ``is_allowed`` names are left out.

    A file that was only touched, or copied up with the same bytes and mode, was not written.
    """
    found: list[str] = []
    with Rooted(upper, links=False) as above, Rooted(lower, links=False) as below:
        for item in above.walk():
            if len(found) >= LARGEST_REPORT:
                break
            if not is_allowed(item.path) and _is_written(item, below):
                found.append(item.path)
    return tuple(sorted(found))


def _is_written(item: Found, below: Rooted) -> bool:
    before = below.find(item.path)
    if before is None:
        return not item.is_directory and not is_whiteout(item.stat)
    if stat.S_IFMT(before.st_mode) != stat.S_IFMT(item.stat.st_mode):
        return True
    if item.is_directory:
        return False
    if stat.S_ISLNK(before.st_mode):
        return os.readlink(item.name, dir_fd=item.parent) != below.readlink(item.path)
    if not stat.S_ISREG(before.st_mode):
        return False
    same_shape = (before.st_mode, before.st_size) == (item.stat.st_mode, item.stat.st_size)
    return not same_shape or not _same_bytes(item, below)


def _same_bytes(item: Found, below: Rooted) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with below.handle(item.path, flags) as old:
        new = os.open(item.name, flags, dir_fd=item.parent)
        try:
            while (data := os.read(old, 1 << 20)) == os.read(new, 1 << 20):
                if not data:
                    return True
            return False
        finally:
            os.close(new)
