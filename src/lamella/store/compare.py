"""A snapshot's files against its manifest: what somebody changed after it was committed (RELIABILITY row 21)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

from lamella.graph.explain import FileChange
from lamella.graph.fileset import Entry, EntryType
from lamella.host.rooted import Found, Rooted
from lamella.store.snapshots import Snapshot

__all__ = ["compare_snapshot"]

_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CAPABILITY = "security.capability"

_TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFIFO: EntryType.FIFO,
    stat.S_IFCHR: EntryType.CHAR_DEVICE,
    stat.S_IFBLK: EntryType.BLOCK_DEVICE,
}


def compare_snapshot(snapshot: Snapshot) -> tuple[FileChange, ...]:
    """Paths that are not as the manifest has them; ``what`` is added, removed, type, content, link, mode, owner,
    attributes or unreadable.

    A product (its id is its manifest's digest) was recorded with owners and modes normalised, so of its modes only
    the executable bit counts. Owners count only for root: elsewhere they are seen through an id mapping.
    Of bytes without a tree the files are compared by their digests. Raises IntegrityError when the manifest itself is
    damaged.
    """
    if not snapshot.is_tree:
        return _compare_contents(snapshot)
    wanted = {entry.path: entry for entry in snapshot.fileset()}
    exact = snapshot.manifest != snapshot.id
    changes = []
    with Rooted(snapshot.path, links=False) as rooted:
        for item in rooted.walk():
            entry = wanted.pop(item.path, None)
            what = _difference(item, entry, exact) if entry is not None else _addition(item)
            if what:
                changes.append(FileChange(item.path, what))
    changes += [FileChange(path, "removed") for path in wanted]
    return tuple(sorted(changes, key=lambda change: change.path))


def _compare_contents(snapshot: Snapshot) -> tuple[FileChange, ...]:
    """Files of the manifest whose bytes, at ``<two digits>/<sha256>``, are gone or others."""
    broken: set[str] = set()
    there: set[str] = set()
    with Rooted(snapshot.path, links=False) as rooted:
        for item in rooted.walk():
            if stat.S_ISREG(item.stat.st_mode) and "/" in item.path:
                digest = f"sha256:{item.name}"
                there.add(digest)
                if _digest(item) != digest:
                    broken.add(digest)
    files = [entry for entry in snapshot.fileset() if entry.type is EntryType.FILE]
    changes = [FileChange(entry.path, "content") for entry in files if entry.digest in broken]
    return (*changes, *(FileChange(entry.path, "removed") for entry in files if entry.digest not in there))


def _addition(item: Found) -> str:
    """Sockets are no part of a file set, nor whiteouts over nothing."""
    return "" if stat.S_ISSOCK(item.stat.st_mode) or _is_whiteout(item) else "added"


def _is_whiteout(item: Found) -> bool:
    return stat.S_ISCHR(item.stat.st_mode) and item.stat.st_rdev == os.makedev(0, 0)


def _difference(item: Found, entry: Entry, exact: bool) -> str:
    if _type(item, entry) is not entry.type:
        return "type"
    if entry.type is EntryType.WHITEOUT:
        return ""
    if entry.type is EntryType.SYMLINK:
        return "" if os.readlink(item.name, dir_fd=item.parent) == entry.link else "link"
    status = item.stat
    if entry.device is not None and (os.major(status.st_rdev), os.minor(status.st_rdev)) != entry.device:
        return "attributes"
    if not _same_mode(status.st_mode, entry, exact):
        return "mode"
    if exact and os.geteuid() == 0 and (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        return "owner"
    return _content(item, entry, exact) if entry.type is EntryType.FILE else ""


def _type(item: Found, entry: Entry) -> EntryType | None:
    if _is_whiteout(item):
        return EntryType.WHITEOUT
    if entry.type is EntryType.OPAQUE and item.is_directory:
        return EntryType.OPAQUE
    return _TYPES.get(stat.S_IFMT(item.stat.st_mode))


def _same_mode(mode: int, entry: Entry, exact: bool) -> bool:
    if exact:
        return stat.S_IMODE(mode) == entry.mode
    return entry.type is not EntryType.FILE or bool(mode & 0o100) == bool(entry.mode & 0o100)


def _content(item: Found, entry: Entry, exact: bool) -> str:
    if item.stat.st_size != entry.size:
        return "content"
    try:
        handle = os.open(item.name, _READ, dir_fd=item.parent)
    except PermissionError:
        return "unreadable"
    try:
        if _digest_of(handle) != entry.digest:
            return "content"
        wanted = entry.xattrs.get(_CAPABILITY, "")
        return "attributes" if exact and os.geteuid() == 0 and _capability(handle) != wanted else ""
    finally:
        os.close(handle)


def _digest(item: Found) -> str:
    handle = os.open(item.name, _READ, dir_fd=item.parent)
    try:
        return _digest_of(handle)
    finally:
        os.close(handle)


def _digest_of(handle: int) -> str:
    digest = hashlib.sha256()
    while part := os.read(handle, _CHUNK):
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def _capability(handle: int) -> str:
    if not hasattr(os, "getxattr"):  # Linux has it, and file capabilities
        return ""
    try:
        return os.getxattr(handle, _CAPABILITY).hex()
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return ""
        raise
