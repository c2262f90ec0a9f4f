"""Linux system calls that Python has no name for: namespaces and the mount API by handle.

Numbers are those of the generic table, which all architectures share from 424 on (linux/asm-generic/unistd.h).
Each function raises OSError as the call does, with what was tried as its file name.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

__all__ = [
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_REC",
    "attach",
    "clone_tree",
    "die_with_parent",
    "landlock",
    "mount",
    "prctl",
    "set_tree_attributes",
    "unmount",
    "unshare",
]

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 16384, 1 << 18
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 0x1, 0x2, 0x4

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_MOVE_FROM_EMPTY, _MOVE_TO_EMPTY = 0x4, 0x40
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


class _MountAttr(ctypes.Structure):
    """``struct mount_attr`` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def _syscall(number: int, what: str, *arguments: object) -> int:
    function = _libc().syscall
    function.restype = ctypes.c_long
    return _check(int(function(ctypes.c_long(number), *arguments)), what)


def unshare(flags: int) -> None:
    """New namespaces for this process, which must have one thread only (unshare(2))."""
    _check(_libc().unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mounts a file system, or changes a mount, as the call of that name in section 2 of the manual does."""
    parts = [os.fsencode(part) if part else None for part in (source, target, kind)]
    result = _libc().mount(*parts, ctypes.c_ulong(flags), os.fsencode(data) if data else None)
    _check(result, f"mount of {kind or 'flags'} on {target}")


def unmount(target: str, *, lazily: bool = False) -> None:
    """umount2(2). ``lazily`` takes a whole tree of mounts out of sight although somebody may still use it."""
    _check(_libc().umount2(os.fsencode(target), MNT_DETACH if lazily else 0), f"unmount of {target}")


def clone_tree(source: str | int) -> int:
    """A detached copy of the mounts at a path or handle and below, as a handle to be closed (open_tree(2))."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    if isinstance(source, int):
        return _syscall(_SYS_OPEN_TREE, "open_tree", source, b"", ctypes.c_uint(flags | _AT_EMPTY_PATH))
    return _syscall(_SYS_OPEN_TREE, f"open_tree of {source}", _AT_FDCWD, os.fsencode(source), ctypes.c_uint(flags))


def set_tree_attributes(tree: int, attributes: int) -> None:
    """Sets attributes on every mount of a detached tree (mount_setattr(2), Linux 5.12)."""
    attr = _MountAttr(attributes, 0, 0, 0)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE)
    size = ctypes.c_size_t(ctypes.sizeof(attr))
    _syscall(_SYS_MOUNT_SETATTR, "mount_setattr", tree, b"", flags, ctypes.byref(attr), size)


def attach(tree: int, target: int) -> None:
    """Puts a detached tree on what the handle ``target`` names, whatever its path is by now (move_mount(2))."""
    flags = ctypes.c_uint(_MOVE_FROM_EMPTY | _MOVE_TO_EMPTY)
    _syscall(_SYS_MOVE_MOUNT, "move_mount", tree, b"", target, b"", flags)


def die_with_parent() -> None:
    """The kernel kills this process when the thread that started it ends (prctl(2))."""
    prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def prctl(option: int, *arguments: int) -> None:
    """The call of that name in section 2 of the manual; missing arguments are 0."""
    filled = [*arguments, 0, 0, 0, 0][:4]
    _check(_libc().prctl(option, *map(ctypes.c_ulong, filled)), f"prctl {option}")


def landlock(number: int, *arguments: int) -> int:
    """One of the calls of that name in section 7 of the manual, by its number; integers and addresses."""
    return _syscall(number, "landlock", *map(ctypes.c_ulong, arguments))
