"""Where the objects of a layer go when it is unpacked: a directory, by handles below its root."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Protocol

from lamella.errors import SandboxError
from lamella.graph.fileset import Entry, EntryType
from lamella.host.rooted import Rooted
from lamella.layers.policy import UnpackPolicy

__all__ = ["DirectoryTarget", "Target"]


class Target(Protocol):
    """Takes objects. A ``place`` is a real path below the root: no part of it is a link. Methods raise OSError."""

    warnings: list[str]

    def close(self) -> None:
        """Gives handles back; others are opened when they are needed."""

    def real_directory(self, path: str) -> str:
        """Where a directory really is, links followed inside the root; an error when it is not there as one."""

    def is_directory(self, place: str) -> bool | None:
        """Whether a directory is there; None when nothing is."""

    def names(self, place: str) -> list[str]:
        """What a directory holds."""

    def below(self, place: str) -> Iterator[str]:
        """Places of everything below a directory."""

    def remove(self, place: str) -> None:
        """Removes what is there, with all below it."""

    def directory(self, place: str) -> None:
        """Makes a directory, which :meth:`finish` gives its attributes."""

    def whiteout(self, place: str) -> None:
        """Notes that lower layers' object there is hidden."""

    def file(self, entry: Entry, mtime_ns: int, chunks: Iterable[bytes]) -> str:
        """Makes a regular file; its digest."""

    def special(self, entry: Entry, mtime_ns: int) -> None:
        """Makes a symlink, FIFO or device node."""

    def link(self, source: str, place: str) -> None:
        """Makes a second name of an object that is there."""

    def finish(self, entry: Entry, mtime_ns: int, *, opaque: bool) -> None:
        """Gives a directory its attributes when nothing is written into it any more. ``opaque`` ones are marked."""


class DirectoryTarget:
    """:class:`Target` on the disk, as a policy lets it."""

    def __init__(self, root: Rooted, policy: UnpackPolicy) -> None:
        self.warnings: list[str] = []
        self._root = root
        self._policy = policy
        self._handle = -1
        self._handle_path = ""

    def close(self) -> None:
        """See :class:`Target`."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def real_directory(self, path: str) -> str:
        """See :class:`Target`. The directory stays open, since files are about to be made in it."""
        handle = self._root.open(path, os.O_RDONLY | os.O_DIRECTORY, follow=True)
        self.close()
        self._handle = handle
        self._handle_path = self._root.real_path(handle)
        return self._handle_path

    def is_directory(self, place: str) -> bool | None:
        """See :class:`Target`."""
        try:
            return stat.S_ISDIR(self._root.lstat(place).st_mode)
        except FileNotFoundError:
            return None

    def names(self, place: str) -> list[str]:
        """See :class:`Target`."""
        return self._root.listdir(place)

    def below(self, place: str) -> Iterator[str]:
        """See :class:`Target`."""
        return (found.path for found in self._root.walk(place))

    def remove(self, place: str) -> None:
        """See :class:`Target`."""
        self.close()
        self._root.remove_tree(place)

    def directory(self, place: str) -> None:
        """See :class:`Target`."""
        self._root.mkdir(place, 0o700)

    def whiteout(self, place: str) -> None:
        """See :class:`Target`. A character device 0/0, which an overlay mount takes for removal."""
        self._root.mknod(place, stat.S_IFCHR, (0, 0))

    def file(self, entry: Entry, mtime_ns: int, chunks: Iterable[bytes]) -> str:
        """See :class:`Target`. One handle; the owner comes before the mode, which chown(2) would strip of setuid."""
        digest = hashlib.sha256()
        parent, _, name = entry.path.rpartition("/")
        handle = os.open(name, _NEW_FILE, 0o600, dir_fd=self._opened(parent))
        try:
            for chunk in chunks:
                digest.update(chunk)
                _write_all(handle, chunk)
            self._own(handle, entry)
            # Without the image's owners setuid would lend the caller's rights to everybody.
            os.fchmod(handle, entry.mode if self._policy.owners else entry.mode & ~_SET_ID)
            self._set_attributes(handle, entry)
            os.utime(handle, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(handle)
        return f"sha256:{digest.hexdigest()}"

    def special(self, entry: Entry, mtime_ns: int) -> None:
        """See :class:`Target`."""
        if entry.type is EntryType.SYMLINK:
            self._root.symlink(entry.link, entry.path)
        else:
            self._root.mknod(entry.path, _NODE_BITS[entry.type] | entry.mode, entry.device or (0, 0))
        self._own(entry.path, entry)
        if entry.type is not EntryType.SYMLINK:
            self._root.chmod(entry.path, entry.mode if self._policy.owners else entry.mode & ~_SET_ID)
        self._root.utime(entry.path, mtime_ns)

    def link(self, source: str, place: str) -> None:
        """See :class:`Target`."""
        self._root.link(source, place)

    def finish(self, entry: Entry, mtime_ns: int, *, opaque: bool) -> None:
        """See :class:`Target`."""
        with self._root.handle(entry.path, os.O_RDONLY | os.O_DIRECTORY) as handle:
            if opaque:
                os.setxattr(handle, self._policy.overlay.opaque, b"y")
            self._own(handle, entry)
            self._set_attributes(handle, entry)
            # An ordinary user must be able to write into it with the next layer, and to remove it.
            os.fchmod(handle, entry.mode if self._policy.owners else entry.mode & ~_SET_ID | 0o700)
            os.utime(handle, ns=(mtime_ns, mtime_ns))

    def _opened(self, place: str) -> int:
        """The handle of a directory by its real path; valid until the next directory is entered."""
        if self._handle < 0 or self._handle_path != place:
            handle = self._root.open(place, os.O_RDONLY | os.O_DIRECTORY)
            self.close()
            self._handle, self._handle_path = handle, place
        return self._handle

    def _own(self, what: int | str, entry: Entry) -> None:
        """Sets the owner of a handle or a path, where the policy says so."""
        if not self._policy.owners:
            return
        try:
            if isinstance(what, int):
                os.fchown(what, entry.uid, entry.gid)
            else:
                self._root.chown(what, entry.uid, entry.gid)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise SandboxError(
                f"{entry.path[:80]!r} belongs to {entry.uid}:{entry.gid}, which has no id in this user namespace",
                hint="a larger range in /etc/subuid and /etc/subgid is needed; lamella doctor says how",
            ) from error

    def _set_attributes(self, handle: int, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if not hasattr(os, "setxattr"):
                self.warnings.append(f"attribute {name} of {entry.path} cannot be stored by this system")
                continue
            try:
                os.setxattr(handle, name, bytes.fromhex(value))
            except OSError as error:
                if error.errno != errno.ENOTSUP:
                    raise
                self.warnings.append(f"attribute {name} of {entry.path} cannot be stored on this file system")


_SET_ID = 0o6000
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_NODE_BITS = {
    EntryType.CHAR_DEVICE: stat.S_IFCHR,
    EntryType.BLOCK_DEVICE: stat.S_IFBLK,
    EntryType.FIFO: stat.S_IFIFO,
}


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
