"""A chain of layers without a mount: its merged file set, and the bytes of its files from wherever they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lamella.engines.buildkit.trees import merged
from lamella.errors import IntegrityError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.layers.content import directory_content
from lamella.layers.contents import kept_bytes, kept_root
from lamella.oci.digest import short_digest
from lamella.store.snapshots import Snapshot, contents_id
from lamella.store.store import Store

__all__ = ["MergedChain", "find_element"]


def find_element(store: Store, identity: str) -> Snapshot:
    """An element of a chain by its id: as a tree, or the bytes of its files. Raises IntegrityError when it is gone."""
    found = store.snapshots.find(identity) or store.snapshots.find(contents_id(identity))
    if found is None:
        raise IntegrityError(
            f"snapshot {short_digest(identity)} is not in the store any more",
            hint="run: lamella cache repair, then build again",
        )
    return found


class MergedChain:
    """A chain's elements, lowest first, as one tree."""

    def __init__(self, elements: Iterable[Snapshot]) -> None:
        self._elements = tuple(elements)
        filesets = [element.fileset() for element in self._elements]
        self.entries = merged(filesets)
        self._holders: dict[str, Snapshot] = {}
        for element, fileset in zip(self._elements, filesets, strict=True):
            self._holders |= {entry.path: element for entry in fileset if entry.type is EntryType.FILE}

    @property
    def fileset(self) -> FileSet:
        """All entries, without whiteouts."""
        return FileSet.of(self.entries.values())

    @property
    def root(self) -> Entry:
        """What the root directory is: that of the topmost element, as an overlay mount shows it."""
        if not self._elements:
            return Entry("", EntryType.DIRECTORY, 0o755)
        top = self._elements[-1]
        if not top.is_tree:
            return kept_root(top.path)
        status = top.path.stat()
        return Entry("", EntryType.DIRECTORY, status.st_mode & 0o7777, status.st_uid, status.st_gid)

    def content(self, entry: Entry) -> Iterable[bytes]:
        """The bytes of one file."""
        holder = self._holders[entry.path]
        return _from_tree(holder, entry) if holder.is_tree else kept_bytes(holder.path, entry)


def _from_tree(holder: Snapshot, entry: Entry) -> Iterator[bytes]:
    with directory_content(holder.path) as read:
        yield from read(entry)
