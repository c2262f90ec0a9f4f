"""The one way to touch paths below a root that somebody else filled (RELIABILITY.md X1 and X3).

A :class:`Rooted` pins its root directory as a handle before anything else. Every path is relative to it and
resolved as if it were ``/`` (``lamella.host.resolve``), so no symlink, ``..`` or absolute name leads out. What
changes an object works on handles, never through a link in the last part.

Methods raise OSError as the system calls do, and HostileInputError where a name itself is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from lamella.errors import HostileInputError
from lamella.host.portable import chmod_at, climb
from lamella.host.resolve import HAS_NAMES, O_PATH, Resolver, best_resolver
from lamella.values import dataclass

__all__ = ["DEPTH_LIMIT", "Found", "Rooted"]

DEPTH_LIMIT = 256
"""Directories below each other that a walk follows; each costs one descriptor."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """One object of a walk: its path, the handle of its directory (valid until the next one), its lstat."""

    path: str
    name: str
    parent: int
    stat: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory (not a link to one)."""
        return stat.S_ISDIR(self.stat.st_mode)


class Rooted:
    """A pinned root directory. ``links=False`` refuses every symlink on the way to a path (ELOOP).

    ``resolver`` is for tests; both resolvers must give the same results.
    """

    __slots__ = ("_links", "_resolver", "fd")

    def __init__(
        self, root: str | os.PathLike[str] | int, *, links: bool = True, resolver: Resolver | None = None
    ) -> None:
        """``root`` is a path, which is followed (it is ours), or a directory handle, which is duplicated."""
        self.fd = os.dup(root) if isinstance(root, int) else os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._links = links
        self._resolver = resolver or best_resolver()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the root handle back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    # -- opening and looking ---------------------------------------------------------------------------------------

    def open(self, path: str, flags: int, mode: int = 0, *, follow: bool = False) -> int:
        """A descriptor of ``path``; the caller closes it. A symlink in the last part only with ``follow``."""
        return self._resolver(self.fd, path, flags, mode, follow=follow, links=self._links)

    @contextmanager
    def handle(self, path: str, flags: int = O_PATH, *, follow: bool = False) -> Iterator[int]:
        """:meth:`open` that closes at the end."""
        handle = self.open(path, flags, follow=follow)
        try:
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """(directory handle, last name) of ``path``: what the ``*at`` calls want.

        Raises HostileInputError when the last part is empty, ``.`` or ``..``.
        """
        directory, name = split_name(path)
        with self.handle(directory, _DIRECTORY & ~os.O_NOFOLLOW, follow=True) as handle:
            yield handle, name

    def lstat(self, path: str) -> os.stat_result:
        """Status of ``path`` itself."""
        if not HAS_NAMES and _ends_in_name(path):
            with self.parent(path) as (directory, name):
                return os.lstat(name, dir_fd=directory)
        with self.handle(path) as handle:
            return os.fstat(handle)

    def find(self, path: str) -> os.stat_result | None:
        """Status of ``path`` itself; None when nothing is there, or one above it is a link and none is followed."""
        try:
            return self.lstat(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR) or (error.errno == errno.ELOOP and not self._links):
                return None
            raise

    def stat(self, path: str) -> os.stat_result:
        """Status of what ``path`` leads to inside the root."""
        with self.handle(path, follow=True) as handle:
            return os.fstat(handle)

    def exists(self, path: str) -> bool:
        """Whether ``path`` itself is there, be it a dangling symlink."""
        try:
            self.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def readlink(self, path: str) -> str:
        """The target of a symlink, as stored."""
        if not HAS_NAMES and _ends_in_name(path):
            with self.parent(path) as (directory, name):
                return os.readlink(name, dir_fd=directory)
        with self.handle(path) as handle:
            return os.readlink("", dir_fd=handle)

    def real_path(self, handle: int) -> str:
        """Where an open object lies below the root, as a path without links; empty for the root itself.

        Raises OSError (EXDEV) when it lies outside, as after somebody moved it. Only Linux knows it of what is no
        directory.
        """
        if not HAS_NAMES:
            return climb(self.fd, handle)
        top, there = os.readlink(_proc(self.fd)).rstrip("/"), os.readlink(_proc(handle)).rstrip("/")
        if there != top and not there.startswith(f"{top}/"):
            raise OSError(errno.EXDEV, "the directory is not below its root any more", there)
        return there[len(top) + 1 :]

    def real_name(self, path: str) -> str:
        """Where what ``path`` leads to lies below the root, as :meth:`real_path` says it."""
        with self.handle(path, follow=True) as handle:
            return self.real_path(handle)

    def read_bytes(self, path: str, *, limit: int, follow: bool = True) -> bytes:
        """All bytes of a regular file; raises HostileInputError for another kind or more than ``limit`` bytes."""
        with self.handle(path, follow=follow) as named:
            _check_small_file(named, path, limit)
        with self.handle(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, follow=follow) as handle:
            _check_small_file(handle, path, limit)
            parts, left = [], limit + 1
            while left > 0 and (part := os.read(handle, min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        if left <= 0:
            raise HostileInputError(f"file {path!r} is larger than {limit} bytes")
        return b"".join(parts)

    def listdir(self, path: str = "", *, follow: bool = False) -> list[str]:
        """Sorted names in a directory; a symlink to one only with ``follow``."""
        flags = _DIRECTORY & ~os.O_NOFOLLOW if follow else _DIRECTORY
        with self.handle(path, flags, follow=follow) as handle:
            return sorted(os.listdir(handle))

    def statuses(self, path: str = "") -> list[tuple[str, os.stat_result]]:
        """Sorted names in a directory, or one that a symlink leads to, with the status of what each leads to inside
        the root. Those that lead nowhere are left out, and nothing comes of what is no directory.
        """
        found: list[tuple[str, os.stat_result]] = []
        with suppress(OSError), self.handle(path, _DIRECTORY & ~os.O_NOFOLLOW, follow=True) as handle:
            for name in _names(handle):
                with suppress(OSError):
                    status = os.lstat(name, dir_fd=handle)
                    is_link = stat.S_ISLNK(status.st_mode)
                    found.append((name, self.stat(f"{path}/{name}") if is_link else status))
        return found

    # -- making ----------------------------------------------------------------------------------------------------

    def create(self, path: str, mode: int = 0o600) -> int:
        """A write descriptor of a new regular file with exactly ``mode``; never an existing one (EEXIST)."""
        with self.parent(path) as (directory, name):
            handle = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
            )
        os.fchmod(handle, mode)
        return handle

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        """A new directory with exactly ``mode``, whatever the umask."""
        with self.parent(path) as (directory, name):
            os.mkdir(name, 0o700, dir_fd=directory)
            handle = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                os.fchmod(handle, mode)
            finally:
                os.close(handle)

    def mkdirs(self, path: str, mode: int = 0o755) -> tuple[str, ...]:
        """``path`` as a directory, with missing ones above it; returns what was made, topmost first.

        Links to directories on the way are followed inside the root. Raises HostileInputError when something on
        the way is not a directory, or a link that leads nowhere.
        """
        made: list[str] = []
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for count in range(len(parts), -1, -1):
            try:
                with self.handle("/".join(parts[:count]), O_PATH | os.O_DIRECTORY, follow=True):
                    break
            except FileNotFoundError:
                continue
            except OSError as error:
                raise HostileInputError(f"{'/'.join(parts[:count])!r} is not a directory inside the root") from error
        for stop in range(count + 1, len(parts) + 1):
            piece = "/".join(parts[:stop])
            try:
                self.mkdir(piece, mode)
            except FileExistsError as error:
                raise HostileInputError(f"{piece!r} is a link that leads nowhere inside the root") from error
            made.append(piece)
        return tuple(made)

    def symlink(self, target: str, path: str) -> None:
        """A new symlink; ``target`` is stored as it is."""
        with self.parent(path) as (directory, name):
            os.symlink(target, name, dir_fd=directory)

    def link(self, source: str, path: str) -> None:
        """A new hard link to ``source`` itself (a symlink is not followed)."""
        with self.parent(source) as (from_dir, from_name), self.parent(path) as (directory, name):
            os.link(from_name, name, src_dir_fd=from_dir, dst_dir_fd=directory, follow_symlinks=False)

    def mknod(self, path: str, mode: int, device: tuple[int, int] = (0, 0)) -> None:
        """A new device node or FIFO; ``mode`` holds type and permission bits."""
        make = os.mkfifo if stat.S_ISFIFO(mode) else os.mknod
        if make not in os.supports_dir_fd:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), path)
        with self.parent(path) as (directory, name):
            if stat.S_ISFIFO(mode):  # anybody may make one, but not everywhere with mknod(2)
                os.mkfifo(name, 0o600, dir_fd=directory)
            else:
                os.mknod(name, mode & ~0o7777 | 0o600, os.makedev(*device), dir_fd=directory)
        self.chmod(path, stat.S_IMODE(mode))

    # -- changing --------------------------------------------------------------------------------------------------

    def chmod(self, path: str, mode: int) -> None:
        """Permission bits of ``path`` itself; a symlink has none to change (EOPNOTSUPP or ENOTSUP)."""
        if not HAS_NAMES and _ends_in_name(path):
            with self.parent(path) as (directory, name):
                chmod_at(directory, name, mode)
            return
        with self.handle(path) as handle:
            os.chmod(_proc(handle), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Owner of ``path`` itself."""
        with self.parent(path) as (directory, name):
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)

    def utime(self, path: str, mtime_ns: int) -> None:
        """Access and modification time of ``path`` itself, nanoseconds since the epoch."""
        with self.parent(path) as (directory, name):
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)

    def set_xattr(self, path: str, name: str, value: bytes) -> None:
        """One extended attribute of ``path`` itself."""
        with self.handle(path) as handle:
            os.setxattr(_proc(handle), name, value)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """Extended attributes of a file or directory that the caller may see."""
        with self.handle(path) as handle:
            return {name: os.getxattr(_proc(handle), name) for name in sorted(os.listxattr(_proc(handle)))}

    def rename(self, source: str, path: str) -> None:
        """What is at ``source`` takes the place of what is at ``path``, as renameat(2) does."""
        with self.parent(source) as (from_dir, from_name), self.parent(path) as (directory, name):
            os.rename(from_name, name, src_dir_fd=from_dir, dst_dir_fd=directory)

    def unlink(self, path: str) -> None:
        """Remove one name that is no directory."""
        with self.parent(path) as (directory, name):
            os.unlink(name, dir_fd=directory)

    def remove_tree(self, path: str) -> None:
        """Remove ``path`` and all below it by handles, never across a mount (OSError EXDEV or EBUSY).

        Nothing is followed; depth does not matter. A missing ``path`` is FileNotFoundError.
        """
        from lamella.host.removal import remove_at

        with self.parent(path) as (directory, name):
            remove_at(directory, name)

    def clear(self) -> None:
        """Remove all that is below the root, as :meth:`remove_tree` does; the root stays."""
        from lamella.host.removal import remove_at

        for name in os.listdir(self.fd):
            remove_at(self.fd, name)

    # -- walking ---------------------------------------------------------------------------------------------------

    def walk(
        self, path: str = "", *, depth: int = DEPTH_LIMIT, enter: Callable[[Found], bool] | None = None
    ) -> Generator[Found, None, None]:
        """Everything below ``path``, parents before children, names of a directory in order; no link is followed.

        Directories that ``enter`` says no to are found, but not what is in them. Raises HostileInputError below
        ``depth`` directories.
        """
        top = self.open(path, _DIRECTORY)
        pending: list[tuple[int, str, Iterator[str]]] = [(top, f"{path.strip('/')}/" if path else "", _names(top))]
        try:
            while pending:
                directory, prefix, names = pending[-1]
                name = next(names, None)
                if name is None:
                    os.close(pending.pop()[0])
                    continue
                found = Found(prefix + name, name, directory, os.lstat(name, dir_fd=directory))
                yield found
                if not found.is_directory or (enter is not None and not enter(found)):
                    continue
                if len(pending) > depth:
                    raise HostileInputError(f"directory {found.path[:80]!r}... is deeper than {depth} directories")
                below = os.open(name, _DIRECTORY, dir_fd=directory)
                pending.append((below, f"{found.path}/", _names(below)))
        finally:
            for directory, _, _ in pending:
                os.close(directory)


def split_name(path: str) -> tuple[str, str]:
    """(directory, last name) of a path; raises HostileInputError when it ends in no plain name."""
    directory, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise HostileInputError(f"path {path[:80]!r} ends in no name")
    return directory, name


def _ends_in_name(path: str) -> bool:
    """Whether the last part names an object in its directory; else it is a directory however it is reached."""
    return path.rpartition("/")[2] not in ("", ".", "..")


def _names(directory: int) -> Iterator[str]:
    return iter(sorted(os.listdir(directory)))


def _check_small_file(handle: int, path: str, limit: int) -> None:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise HostileInputError(f"{path!r} is not a regular file")
    if status.st_size > limit:
        raise HostileInputError(f"file {path!r} is larger than {limit} bytes")


def _proc(handle: int) -> str:
    """A path of an open handle's own object: how O_PATH handles reach calls that want a name (proc(5))."""
    if not os.path.isdir("/proc/self/fd"):
        raise OSError(errno.ENOSYS, "procfs is not mounted", "/proc")
    return f"/proc/self/fd/{handle}"
