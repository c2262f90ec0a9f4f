"""Removal of whole trees by handles (RELIABILITY.md X3): no link followed, no mount crossed, any depth.

Clean-up has been a weapon elsewhere: a path that became a link, or a mount that nobody had taken down
(CVE-2024-23652, containerd issue 1785). So a directory is entered only when it is on its parent's mount.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat

from lamella.host.portable import chmod_at
from lamella.host.resolve import HAS_NAMES, O_PATH

__all__ = ["mount_id", "remove_at"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDLES = 64
"""Directories open at once; what lies deeper is moved up first."""


def remove_at(parent: int, name: str) -> None:
    """Remove ``name`` in the directory ``parent`` and all below it.

    Raises OSError: FileNotFoundError, EXDEV where a mount is found, or what unlink(2) and rmdir(2) say.
    """
    if _unlink(parent, name):
        return
    mount = mount_id(parent)
    top = _open_below(parent, name, mount)
    stack = [(top, name, os.listdir(top))]
    try:
        while stack:
            directory, own_name, names = stack[-1]
            if not names:
                above = stack[-2][0] if len(stack) > 1 else parent
                os.rmdir(own_name, dir_fd=above)
                os.close(stack.pop()[0])
                continue
            entry = names.pop()
            if _unlink(directory, entry):
                continue
            if len(stack) >= _HANDLES:
                # Too deep for one handle per level: bring the subtree to the top and meet it there.
                fresh = f".lamella-removed-{secrets.token_hex(8)}"
                os.close(_open_below(directory, entry, mount))
                os.rename(entry, fresh, src_dir_fd=directory, dst_dir_fd=top)
                stack[0][2].append(fresh)
                continue
            below = _open_below(directory, entry, mount)
            stack.append((below, entry, os.listdir(below)))
    finally:
        for directory, _, _ in stack:
            os.close(directory)


def _unlink(directory: int, name: str) -> bool:
    """Remove a name that is no directory; false when it is one."""
    if stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
        return False
    try:
        os.unlink(name, dir_fd=directory)
    except PermissionError:
        _make_writable(directory)
        os.unlink(name, dir_fd=directory)
    return True


def _open_below(directory: int, name: str, mount: int) -> int:
    """A handle of a subdirectory on the mount with that id, made readable when its mode forbids it."""
    try:
        handle = os.open(name, _DIRECTORY, dir_fd=directory)
    except PermissionError:
        _allow_opening(directory, name)
        handle = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        if mount_id(handle) != mount:
            raise OSError(errno.EXDEV, "a mount is inside the tree that is to be removed", name)
        _make_writable(handle)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _allow_opening(directory: int, name: str) -> None:
    """Give the owner all rights on a subdirectory by a handle that needs none, so that a link is never followed."""
    if not HAS_NAMES:
        chmod_at(directory, name, 0o700)
        return
    named = os.open(name, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.chmod(f"/proc/self/fd/{named}", 0o700)
    finally:
        os.close(named)


def _make_writable(handle: int) -> None:
    """Give the owner all rights on a directory when it lacks some; not ours to change is left to the next call."""
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    if mode & 0o700 != 0o700:
        try:
            os.fchmod(handle, mode | 0o700)
        except PermissionError:
            return


def mount_id(handle: int) -> int:
    """The id of the mount that a handle is on (proc(5), ``fdinfo``); the device number where there is no procfs.

    A bind mount of the same file system has the same device number, so that alone would not do.
    """
    try:
        info = os.open(f"/proc/self/fdinfo/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.fstat(handle).st_dev
    try:
        found = re.search(rb"^mnt_id:\s*(\d+)$", os.read(info, 4096), re.MULTILINE)
    finally:
        os.close(info)
    return int(found[1]) if found else os.fstat(handle).st_dev
