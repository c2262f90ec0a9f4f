"""What Linux does by handles that only name an object (O_PATH, procfs), by other means where there are none."""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["chmod_at", "climb"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LIMIT = 4096
"""Directories above each other."""


def chmod_at(directory: int, name: str, mode: int) -> None:
    """Permission bits of ``name`` itself in the directory of a handle; nothing is followed.

    fchmodat(2) does that on macOS and the BSDs. Elsewhere the object is opened, which takes the right to read it.
    """
    if stat.S_ISLNK(os.lstat(name, dir_fd=directory).st_mode):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), name)
    if os.chmod in os.supports_follow_symlinks and os.chmod in os.supports_dir_fd:
        os.chmod(name, mode, dir_fd=directory, follow_symlinks=False)
        return
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def climb(top: int, handle: int) -> str:
    """The path from one open directory down to another, found upwards by ``..`` and the identities of what is met.

    Raises OSError (EXDEV) when ``handle`` is not below ``top``.
    """
    names: list[str] = []
    goal, here = _identity(os.fstat(top)), os.dup(handle)
    try:
        while (own := _identity(os.fstat(here))) != goal:
            above = os.open("..", _DIRECTORY, dir_fd=here)
            os.close(here)
            here = above
            name = next((name for name in os.listdir(above) if _at(above, name) == own), None)
            if name is None or _identity(os.fstat(above)) == own or len(names) > _LIMIT:
                raise OSError(errno.EXDEV, "the directory is not below its root any more")
            names.append(name)
    finally:
        os.close(here)
    return "/".join(reversed(names))


def _at(directory: int, name: str) -> tuple[int, int]:
    return _identity(os.lstat(name, dir_fd=directory))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
