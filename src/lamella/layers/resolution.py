"""Path resolution in a tree that is known by its entries alone (path_resolution(7)): no disk is asked."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable

from lamella.graph.fileset import Entry, EntryType
from lamella.host.resolve import LINK_LIMIT

__all__ = ["DIRECTORY_TYPES", "resolve"]

DIRECTORY_TYPES = (EntryType.DIRECTORY, EntryType.OPAQUE)
"""What has entries below it."""


def resolve(path: str, look: Callable[[str], Entry | None], *, follow: bool = True) -> str:
    """The real path of ``path`` below a root as if that were ``/``; empty for the root itself.

    ``look`` gives the entry of a path without links. The last part is followed only with ``follow``. Raises
    FileNotFoundError, NotADirectoryError, or OSError (ELOOP) as open(2) would.
    """
    parts = deque(_split(path))
    done: list[str] = []
    hops = 0
    while parts:
        part = parts.popleft()
        if part == "..":
            del done[-1:]
            continue
        entry = look("/".join([*done, part]))
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if entry.type is EntryType.SYMLINK and (parts or follow):
            hops += 1
            if hops > LINK_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if entry.link.startswith("/"):
                done.clear()
            parts.extendleft(reversed(_split(entry.link)))
            continue
        if parts and entry.type not in DIRECTORY_TYPES:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        done.append(part)
    return "/".join(done)


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
