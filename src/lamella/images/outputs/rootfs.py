"""An image's merged root file system: its layers applied in order, as a directory or as one tar.

The layers are unpacked on top of each other, with whiteouts really deleting. Who is not root cannot give files away,
so owners are taken from the layers' own entries: the tar has them right whoever writes it, a directory only as root.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Rooted
from lamella.images.outputs.archive import open_layer
from lamella.images.stored import StoredImage
from lamella.layers.content import directory_content
from lamella.layers.policy import MERGED_POLICY, ROOT_POLICY, UnpackMode
from lamella.layers.snapshot import hard_links
from lamella.layers.tar import ByteSink, write_layer
from lamella.layers.unpack import unpack_layer
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["MergedRootfs", "merge_layers", "restore_modes", "write_rootfs_tar"]

_OPEN = 0o755
_DIRECTORIES = (EntryType.DIRECTORY, EntryType.OPAQUE)


@dataclass(frozen=True, slots=True)
class MergedRootfs:
    """What the layers make together, with the owners that the image shall see, and what had to be left out."""

    fileset: FileSet
    warnings: tuple[str, ...] = ()


def merge_layers(store: Store, image: StoredImage, root: Path, *, as_root: bool) -> MergedRootfs:
    """Applies an image's layers to the empty directory ``root``.

    Not ``as_root`` everything there belongs to the caller, device nodes and file capabilities are left out, and every
    directory stays open to the caller (see :func:`restore_modes`). Raises HostileInputError, IntegrityError,
    ResourceError as ``unpack_layer`` does.
    """
    entries: dict[str, Entry] = {}
    warnings: list[str] = []
    policy = ROOT_POLICY if as_root else MERGED_POLICY
    for layer in image.layers:
        with open_layer(store, layer) as archive:
            done = unpack_layer(archive, root, mode=UnpackMode.MERGED, policy=policy, diff_id=layer.diff_id)
        entries |= {entry.path: entry for entry in done.fileset}
        warnings += done.warnings
        if not as_root:
            _open_up(root, done.fileset)
    with Rooted(root, links=False) as rooted:
        there = [found.path for found in rooted.walk()]
    merged = FileSet.of(_plain(entries[path]) for path in there)
    return MergedRootfs(merged, tuple(dict.fromkeys(warnings)))


def _plain(entry: Entry) -> Entry:
    return replace(entry, type=EntryType.DIRECTORY) if entry.type is EntryType.OPAQUE else entry


def _open_up(root: Path, fileset: Iterable[Entry]) -> None:
    """Lets the caller into what root alone may enter or read, such as /root or a shadow file of mode 0."""
    with Rooted(root, links=False) as rooted:
        os.fchmod(rooted.fd, _OPEN)
        for entry in fileset:
            wanted = 0o700 if entry.type in _DIRECTORIES else 0o400 if entry.type is EntryType.FILE else 0
            if entry.mode & wanted != wanted and rooted.exists(entry.path):
                mode = stat.S_IMODE(rooted.lstat(entry.path).st_mode)
                rooted.chmod(entry.path, mode | wanted)


def restore_modes(root: Path, fileset: FileSet) -> None:
    """Gives everything the mode that the image says, innermost first, after :func:`merge_layers` as no root."""
    with Rooted(root, links=False) as rooted:
        for entry in reversed(fileset.entries):
            if entry.type is not EntryType.SYMLINK and stat.S_IMODE(rooted.lstat(entry.path).st_mode) != entry.mode:
                rooted.chmod(entry.path, entry.mode)


def write_rootfs_tar(merged: MergedRootfs, root: Path, out: ByteSink, *, mtime: int = 0) -> None:
    """The merged root file system as one tar, every member with the time ``mtime``."""
    with directory_content(root) as content:
        write_layer(merged.fileset, content, out, mtime=mtime, links=hard_links(root, merged.fileset))
