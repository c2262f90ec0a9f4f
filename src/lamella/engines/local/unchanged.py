"""Takes out of an overlay's upper directory what is as it was: files that were only opened or touched, directories in
which something came and went. What is left is what a step changed, whoever looks: a builder's tree says the same.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from lamella.host.rooted import Rooted
from lamella.layers.capability import CAPABILITY
from lamella.layers.overlay import is_opaque

__all__ = ["drop_unchanged"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CHUNK = 1 << 20


def drop_unchanged(upper: str, below: str) -> None:
    """Removes objects of ``upper`` that equal those at the same path of the tree ``below`` in all but their times."""
    with Rooted(upper, links=False) as above, Rooted(below, links=False) as view:
        found = [(item.path, item.stat) for item in above.walk()]
        for path, status in reversed(found):  # children before their directories
            before = view.find(path)
            if before is not None and _same_kind(status, before) and _same(path, status, above, view):
                above.remove_tree(path)


def _same_kind(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


def _same(path: str, status: os.stat_result, above: Rooted, view: Rooted) -> bool:
    """Whether two objects of one kind, mode and owner hold the same."""
    if stat.S_ISDIR(status.st_mode):
        with above.handle(path, os.O_RDONLY | os.O_DIRECTORY) as handle:
            return not os.listdir(handle) and not is_opaque(handle)
    if stat.S_ISLNK(status.st_mode):
        return above.readlink(path) == view.readlink(path)
    if not stat.S_ISREG(status.st_mode):
        return False
    with above.handle(path, _READ) as new, view.handle(path, _READ) as old:
        if os.fstat(new).st_size != os.fstat(old).st_size or _capability(new) != _capability(old):
            return False
        while (data := os.read(new, _CHUNK)) == os.read(old, _CHUNK):
            if not data:
                return True
    return False


def _capability(handle: int) -> bytes:
    with suppress(OSError):
        return os.getxattr(handle, CAPABILITY)
    return b""
