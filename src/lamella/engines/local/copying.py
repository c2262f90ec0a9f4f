"""Copies between rooted directories, by handles: products out of a step, sources into its stage.

Never a hard link: a chmod or a touch inside a step would change the original (DESIGN 7b.2). Content is cloned where
the file system can (copy_file_range(2) does), modes become those of products, times follow from the content.
"""

from __future__ import annotations

import errno
import os
import stat

from lamella.errors import StepError
from lamella.graph.fileset import FileSet
from lamella.host.rooted import Rooted
from lamella.sources.staging import stable_time

__all__ = ["copy_bytes", "copy_product", "settle_times"]

_CHUNK = 1 << 24
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NO_RANGE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def copy_product(source: Rooted, path: str, out: Rooted, target: str, shown: str) -> None:
    """Copies a file or directory of a step to ``target`` (empty: the root of ``out``).

    ``path`` is followed when it is a link, inside the root; links below it stay links. Sockets are left out.
    Raises StepError when it is not there or of a kind that no product holds; ``shown`` is its name for people.
    """
    try:
        with source.handle(path, os.O_PATH, follow=True) as handle:
            mode = os.fstat(handle).st_mode
            if stat.S_ISDIR(mode):
                with Rooted(handle, links=False) as top:
                    _copy_tree(top, out, target, shown)
                return
        if not stat.S_ISREG(mode):
            raise StepError(f"output {shown} is neither a file nor a directory")
        _copy_file(source, path, out, _file_target(target, shown), follow=True)
    except FileNotFoundError as error:
        raise StepError(
            f"the step made no {shown}", hint="its commands ended well, but the output they promise is not there"
        ) from error


def _file_target(target: str, shown: str) -> str:
    return target or shown.rpartition("/")[2]


def _copy_tree(top: Rooted, out: Rooted, target: str, shown: str) -> None:
    if target:
        out.mkdirs(target)
    prefix = f"{target}/" if target else ""
    with _reopened(top) as source:
        for item in source.walk():
            path, mode = prefix + item.path, item.stat.st_mode
            if stat.S_ISDIR(mode):
                out.mkdirs(path)
            elif stat.S_ISREG(mode):
                _copy_file(source, item.path, out, path)
            elif stat.S_ISLNK(mode):
                _parents(out, path)
                out.symlink(os.readlink(item.name, dir_fd=item.parent), path)
            elif not stat.S_ISSOCK(mode):
                raise StepError(f"{shown}/{item.path} is a device or FIFO, which no product holds")


def _reopened(top: Rooted) -> Rooted:
    """The same directory by a handle that can be read; the given one may only name it."""
    return Rooted(f"/proc/self/fd/{top.fd}", links=False)


def _parents(out: Rooted, path: str) -> None:
    directory = path.rpartition("/")[0]
    if directory:
        out.mkdirs(directory)


def _copy_file(source: Rooted, path: str, out: Rooted, target: str, *, follow: bool = False) -> None:
    _parents(out, target)
    with source.handle(path, _READ & ~(os.O_NOFOLLOW if follow else 0), follow=follow) as reader:
        mode = 0o755 if os.fstat(reader).st_mode & 0o100 else 0o644
        writer = out.create(target, mode)
        try:
            copy_bytes(reader, writer)
        finally:
            os.close(writer)


def settle_times(root: str, fileset: FileSet) -> None:
    """Gives everything in a product a time that follows from its content, as stages of sources have it.

    A tool in a later step that trusts times then sees a change for what it is.
    """
    entries = {entry.path: entry for entry in fileset}
    with Rooted(root, links=False) as rooted:
        for item in reversed(list(rooted.walk())):
            entry = entries.get(item.path)
            moment = stable_time((entry.digest or entry.link) if entry else "")
            rooted.utime(item.path, moment)


def copy_bytes(reader: int, writer: int) -> int:
    """Copies the rest of an open file and returns the number of bytes."""
    total = 0
    try:
        while count := os.copy_file_range(reader, writer, _CHUNK):
            total += count
        if total:
            return total
    except OSError as error:
        if error.errno not in _NO_RANGE or total:
            raise
    while data := os.read(reader, 1 << 20):  # also for files of procfs, which have no size
        view = memoryview(data)
        while view:
            view = view[os.write(writer, view) :]
        total += len(data)
    return total
