"""Unpacks layer archives, with nothing written outside and nothing followed out.

Two ways into directories. ``OVERLAY`` makes an element of an overlay mount, each layer in its own directory: whiteouts
become 0/0 character devices, opaque directories carry the attribute that the mount will look for. ``MERGED`` applies a
layer on top of what is there and really deletes, for an image as a plain directory. :func:`keep_layer` makes no tree
and keeps the bytes alone; its file set is that of an overlay's element.

The rules are the image spec's (layer.md, "Applying Changesets"): whiteouts concern lower layers only, whatever the
order in the archive; parents that the archive does not mention are 0755 root. Paths are resolved inside the root as a
reader in a chroot would. Directories get owner, mode and time at the end, when nothing is written into them any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import HostileInputError, IntegrityError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Rooted
from lamella.layers.attributes import kept_attributes
from lamella.layers.budgets import DEFAULT_BUDGETS, Budgets
from lamella.layers.contents import ContentsTarget
from lamella.layers.decompress import HashingReader
from lamella.layers.failures import explained
from lamella.layers.policy import ROOT_POLICY, Devices, UnpackMode, UnpackPolicy
from lamella.layers.reader import LayerReader, Member, MemberKind
from lamella.layers.tar import OPAQUE_MARKER, WHITEOUT_PREFIX
from lamella.layers.targets import DirectoryTarget, Target
from lamella.layers.unpacked import Tree
from lamella.values import dataclass, replace

if TYPE_CHECKING:
    import os

__all__ = ["Unpacked", "keep_layer", "unpack_layer"]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was unpacked: the layer's own entries, its digest and size in bytes, and what was left out."""

    fileset: FileSet
    diff_id: str
    size: int
    warnings: tuple[str, ...] = ()


def unpack_layer(
    archive: BinaryIO,
    root: str | os.PathLike[str] | int,
    *,
    mode: UnpackMode,
    policy: UnpackPolicy,
    diff_id: str = "",
    budgets: Budgets = DEFAULT_BUDGETS,
) -> Unpacked:
    """Unpacks one uncompressed archive below ``root``, an existing directory (path or handle).

    The caller throws the directory away when this raises: HostileInputError (9) for what the archive holds,
    IntegrityError (3) when its bytes are not those of ``diff_id``, ResourceError (5) when the disk is full,
    SandboxError (8) when the caller may not set owners.
    """
    with Rooted(root) as rooted:
        return _unpack(archive, DirectoryTarget(rooted, policy), mode, policy, diff_id, budgets)


def keep_layer(archive: BinaryIO, folder: Path, *, diff_id: str = "", budgets: Budgets = DEFAULT_BUDGETS) -> Unpacked:
    """Keeps the bytes of one uncompressed archive's files below the empty ``folder`` (``layers.contents``).

    It takes no rights, and the file set is that of root's overlay element. Raises as :func:`unpack_layer` does.
    """
    return _unpack(archive, ContentsTarget(folder), UnpackMode.OVERLAY, ROOT_POLICY, diff_id, budgets)


def _unpack(
    archive: BinaryIO, target: Target, mode: UnpackMode, policy: UnpackPolicy, diff_id: str, budgets: Budgets
) -> Unpacked:
    stream = HashingReader(archive)
    unpacker = _Unpacker(target, LayerReader(stream, budgets), mode, policy)
    unpacker.run()
    if diff_id and stream.digest != diff_id:
        raise IntegrityError(f"layer has the diff_id {stream.digest}, its image promises {diff_id}")
    return Unpacked(unpacker.tree.fileset(), stream.digest, stream.size, (*unpacker.warnings, *target.warnings))


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """System call errors as errors of ours, by who must act."""
    try:
        yield
    except OSError as error:
        raise explained(f"{name[:80]!r} cannot be unpacked", error) from error


class _Unpacker:
    """Applies members one by one; ``tree`` knows what this layer has made so far."""

    def __init__(self, target: Target, reader: LayerReader, mode: UnpackMode, policy: UnpackPolicy) -> None:
        self._target = target
        self._reader = reader
        self._overlay = mode is UnpackMode.OVERLAY
        self._policy = policy
        self.tree = Tree(target)
        self.warnings: list[str] = []

    def run(self) -> None:
        """All members, then what directories shall be."""
        if self._overlay:
            # The element's own root is what the mount shows as /, whatever the staging directory was made with.
            self.tree.set_root(Entry("", EntryType.DIRECTORY, 0o755), 0)
        try:
            for member in self._reader:
                with _explained(member.name):
                    self._apply(member)
            for entry, mtime_ns in self.tree.directories():
                opaque = entry.type is EntryType.OPAQUE and self._overlay
                with _explained(entry.path or "/"):
                    # A parent that the archive does not mention has no time of its own; one constant keeps trees equal.
                    self._target.finish(entry, mtime_ns or 0, opaque=opaque)
        finally:
            self._target.close()

    def _apply(self, member: Member) -> None:
        parent, _, name = member.path.rpartition("/")
        if any(part.startswith(WHITEOUT_PREFIX) for part in parent.split("/")):
            raise HostileInputError(f"archive has {member.name[:80]!r} below a whiteout")
        if not member.path:
            self._root_entry(member)
        elif name.startswith(WHITEOUT_PREFIX):
            self._whiteout(member, self._parent(parent), name)
        else:
            self._object(member, self._parent(parent), name)

    # -- where things go -------------------------------------------------------------------------------------------

    def _parent(self, path: str) -> str:
        """The real path of a directory that members are about to enter, made with its parents when missing."""
        real = self.tree.real_directory(path)
        if real is not None:
            return real
        above, _, name = path.rpartition("/")
        real_above = self._parent(above)
        place = _join(real_above, name)
        is_there = self._target.is_directory(place) is not None
        if is_there and self.tree.is_whiteout(place):
            self._target.remove(place)
            self._make_directory(place, Entry(place, EntryType.OPAQUE, 0o755), None)
            return place
        if is_there:
            # A file, or a link that leads nowhere: what exists as a directory was found above.
            raise HostileInputError(f"archive has entries below {path[:80]!r}, which is no directory")
        self._make_directory(place, Entry(place, EntryType.DIRECTORY, 0o755), None)
        return place

    # -- removal ---------------------------------------------------------------------------------------------------

    def _whiteout(self, member: Member, parent: str, name: str) -> None:
        if member.kind is not MemberKind.FILE or member.size:
            raise HostileInputError(f"archive has the whiteout {member.name[:80]!r}, which is no empty file")
        if name == OPAQUE_MARKER:
            self._opaque(parent)
            return
        hidden = name[len(WHITEOUT_PREFIX) :]
        if hidden in ("", ".", "..") or hidden.startswith(WHITEOUT_PREFIX):
            raise HostileInputError(f"archive has the whiteout {member.name[:80]!r}, which removes nothing that can be")
        place = _join(parent, hidden)
        if not self._overlay:
            self._remove_lower(place)
        elif self.tree.get(place) is None:
            self._target.whiteout(place)
            self.tree.add(Entry(place, EntryType.WHITEOUT, 0))
        elif self.tree.is_directory(place):
            self.tree.make_opaque(place)

    def _opaque(self, parent: str) -> None:
        if not self._overlay:
            self._remove_lower(parent)
        elif not parent:
            raise HostileInputError("archive hides everything below it; no overlay mount can show that")
        else:
            self.tree.make_opaque(parent)

    def _remove_lower(self, place: str) -> None:
        """Deletes ``place``, or what is below it, but for what this layer itself has put there."""
        if self.tree.get(place) is None and not self.tree.has_below(place) and place:
            if self._target.is_directory(place) is not None:
                self.tree.forget_directories()
                self._target.remove(place)
            return
        if place and not self.tree.is_directory(place):
            return
        for name in self._target.names(place):
            self._remove_lower(_join(place, name))

    def _clear_place(self, place: str, kind: MemberKind) -> bool:
        """Makes room for a member; true when a directory is there and stays."""
        if self._overlay and self.tree.get(place) is None:
            # The element began empty, so there is only what the tree knows; should there be more, making fails.
            return False
        is_directory = self._target.is_directory(place)
        if is_directory is None:
            return False
        if is_directory and kind is MemberKind.DIRECTORY:
            return True
        self.tree.remove(place)
        self._target.remove(place)
        return False

    # -- making ----------------------------------------------------------------------------------------------------

    def _root_entry(self, member: Member) -> None:
        if member.kind is not MemberKind.DIRECTORY:
            raise HostileInputError(f"archive replaces its root by {member.name[:80]!r}, which is no directory")
        self.tree.set_root(Entry("", EntryType.DIRECTORY, member.mode, member.uid, member.gid), member.mtime_ns)

    def _object(self, member: Member, parent: str, name: str) -> None:
        place = _join(parent, name)
        if member.kind is MemberKind.HARD_LINK:
            self._hard_link(member, place)
            return
        if not self._wanted(member):
            return
        was_whiteout = self.tree.is_whiteout(place)
        stays = self._clear_place(place, member.kind)
        entry = Entry(place, _TYPES[member.kind], member.mode, member.uid, member.gid, xattrs=self._kept(member))
        if member.kind is MemberKind.DIRECTORY:
            if was_whiteout or self.tree.is_opaque(place):
                entry = replace(entry, type=EntryType.OPAQUE)
            self._make_directory(place, entry, member.mtime_ns, exists=stays)
        elif member.kind is MemberKind.FILE:
            digest = self._target.file(entry, member.mtime_ns, self._reader.chunks())
            self.tree.add(replace(entry, size=member.size, digest=digest))
        else:
            node = _node(entry, member)
            self._target.special(node, member.mtime_ns)
            self.tree.add(node)

    def _wanted(self, member: Member) -> bool:
        """Whether policy lets a device node in."""
        if member.kind not in (MemberKind.CHAR_DEVICE, MemberKind.BLOCK_DEVICE):
            return True
        if member.kind is MemberKind.CHAR_DEVICE and member.device == (0, 0):
            raise HostileInputError(
                f"archive has {member.name[:80]!r} as device 0/0, which overlay mounts take for removal"
            )
        if self._policy.devices is Devices.REFUSE:
            raise HostileInputError(f"archive has the device node {member.name[:80]!r}")
        if self._policy.devices is Devices.SKIP:
            self.warnings.append(f"device node {member.path} was left out")
            return False
        return True

    def _kept(self, member: Member) -> FrozenMap[str, str]:
        if not member.xattrs:
            return EMPTY_MAP
        kept, warnings = kept_attributes(member.path, member.xattrs, capabilities=self._policy.capabilities)
        self.warnings += warnings
        return kept

    def _make_directory(self, place: str, entry: Entry, mtime_ns: int | None, *, exists: bool = False) -> None:
        if not exists:
            self._target.directory(place)
        self.tree.add(entry, mtime_ns)

    def _hard_link(self, member: Member, place: str) -> None:
        """A second name for something that this layer brought; of a symlink it is the link itself."""
        above, _, name = member.link.rpartition("/")
        real_above = self.tree.real_directory(above)
        source = self.tree.get(_join(real_above, name)) if real_above is not None and name else None
        if source is None or source.type in (EntryType.DIRECTORY, EntryType.OPAQUE, EntryType.WHITEOUT):
            raise HostileInputError(
                f"archive has the hard link {member.name[:80]!r} to {member.link[:80]!r}, no file of this layer"
            )
        if source.path == place:
            return
        self._clear_place(place, member.kind)
        self._target.link(source.path, place)
        self.tree.add(replace(source, path=place))


_TYPES = {
    MemberKind.FILE: EntryType.FILE,
    MemberKind.SYMLINK: EntryType.SYMLINK,
    MemberKind.CHAR_DEVICE: EntryType.CHAR_DEVICE,
    MemberKind.BLOCK_DEVICE: EntryType.BLOCK_DEVICE,
    MemberKind.DIRECTORY: EntryType.DIRECTORY,
    MemberKind.FIFO: EntryType.FIFO,
}


def _node(entry: Entry, member: Member) -> Entry:
    """The entry of a symlink, FIFO or device node, none of which keeps extended attributes."""
    if member.kind is MemberKind.SYMLINK:
        return replace(entry, mode=0o777, link=member.link, xattrs=EMPTY_MAP)
    device = None if member.kind is MemberKind.FIFO else member.device
    return replace(entry, device=device, xattrs=EMPTY_MAP)


def _join(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name
