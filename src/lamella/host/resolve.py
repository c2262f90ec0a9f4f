"""Path resolution inside a pinned directory: ``openat2`` and a walk that does the same without it.

Both give a handle of the path below ``root`` as if ``root`` were ``/``: ``..`` stops there, absolute
symlinks start there, magic links of procfs are refused (openat2(2), RESOLVE_IN_ROOT and
RESOLVE_NO_MAGICLINKS). ``lamella.host.rooted`` is the module to use; this one only opens.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections import deque
from functools import cache
from typing import Protocol

__all__ = ["HAS_NAMES", "O_PATH", "Resolver", "best_resolver", "open_by_syscall", "open_by_walk"]

HAS_NAMES = hasattr(os, "O_PATH")
"""Whether a handle can only name an object, as on Linux; elsewhere an object is looked at by its directory."""

O_PATH: int = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)
"""A handle that only names an object; elsewhere a plain read handle that waits for nobody."""

LINK_LIMIT = 40
"""Symlinks followed in one resolution, as in path_resolution(7)."""

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_IN_ROOT = 0x02, 0x04, 0x10
_RETRIES = 64

_DIRECTORY_ENDS = ("/", "/.")
"""A path that ends so names a directory: a link in front of it is followed (path_resolution(7))."""


class Resolver(Protocol):
    """Opens ``path`` below the directory ``root`` and returns a new descriptor with close-on-exec.

    The last part is never followed unless ``follow``; with ``links`` false any symlink on the way ends in
    ELOOP. Raises OSError as open(2) does.
    """

    def __call__(self, root: int, path: str, flags: int, mode: int = 0, *, follow: bool, links: bool) -> int:
        """A new descriptor of ``path``."""


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _syscall() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    return function


def open_by_syscall(root: int, path: str, flags: int, mode: int = 0, *, follow: bool, links: bool) -> int:
    """:class:`Resolver` by openat2(2), Linux 5.6 and newer."""
    resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | (0 if links else _RESOLVE_NO_SYMLINKS)
    flags |= os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    how = _OpenHow(flags, mode if flags & os.O_CREAT else 0, resolve)
    name = os.fsencode(path) or b"."
    if b"\0" in name:
        raise ValueError("embedded null byte")
    for _ in range(_RETRIES):
        found = _syscall()(_SYS_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how))
        if found >= 0:
            return int(found)
        code = ctypes.get_errno()
        # EAGAIN: a rename ran beside a ".." in the path; the kernel asks to try again.
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code), path)


def open_by_walk(root: int, path: str, flags: int, mode: int = 0, *, follow: bool, links: bool) -> int:
    """:class:`Resolver` by one handle per part, none of them followed by the kernel."""
    walk = _Walk(root, path, links=links)
    try:
        return walk.open(flags | os.O_CLOEXEC, mode, follow=follow)
    finally:
        walk.close()


_ENTERED = O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Walk:
    """State of one walk: handles from the root down to where it stands, and the parts still to go."""

    def __init__(self, root: int, path: str, *, links: bool) -> None:
        if "\0" in path:
            raise ValueError("embedded null byte")
        self._path = path
        self._stack = [root]
        self._parts = deque(part for part in path.split("/") if part not in ("", "."))
        self._ends_in_directory = path.endswith(_DIRECTORY_ENDS)
        self._links = links
        self._hops = 0

    def close(self) -> None:
        """Close all handles but the root's, which is the caller's."""
        while len(self._stack) > 1:
            os.close(self._stack.pop())

    def open(self, flags: int, mode: int, *, follow: bool) -> int:
        while self._parts:
            name = self._parts.popleft()
            if name == "..":
                if len(self._stack) > 1:
                    os.close(self._stack.pop())
                continue
            last = not self._parts
            if last and not self._ends_in_directory and not (follow and self._is_link(name)):
                return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=self._stack[-1])
            self._enter(name)
        return os.open(".", flags & ~os.O_CREAT | os.O_NOFOLLOW, dir_fd=self._stack[-1])

    def _is_link(self, name: str) -> bool:
        try:
            return stat.S_ISLNK(os.lstat(name, dir_fd=self._stack[-1]).st_mode)
        except FileNotFoundError:
            return False

    def _enter(self, name: str) -> None:
        """Step into a directory, or put a symlink's parts in front of what is still to go."""
        above = self._stack[-1]
        if not stat.S_ISLNK(os.lstat(name, dir_fd=above).st_mode):
            # What became a link since is refused by these flags.
            self._stack.append(os.open(name, _ENTERED, dir_fd=above))
            return
        self._hops += 1
        if not self._links or self._hops > LINK_LIMIT:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
        target = os.readlink(name, dir_fd=above)
        if target.startswith("/"):
            self.close()
        if not self._parts:
            self._ends_in_directory = self._ends_in_directory or target.endswith(_DIRECTORY_ENDS)
        self._parts.extendleft(reversed([part for part in target.split("/") if part not in ("", ".")]))


@cache
def best_resolver() -> Resolver:
    """The system call where the kernel has it and lets us (a seccomp filter may not), else the walk."""
    if not sys.platform.startswith("linux"):
        return open_by_walk
    try:
        here = os.open(".", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return open_by_walk
    try:
        os.close(open_by_syscall(here, ".", O_PATH | os.O_DIRECTORY, follow=False, links=True))
    except (OSError, AttributeError):
        return open_by_walk
    finally:
        os.close(here)
    return open_by_syscall
