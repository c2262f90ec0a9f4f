"""A chain of layers without a mount: its merged file set, and the bytes of its files from wherever they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lamella.engines.buildkit.trees import merged
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.layers.content import Content, directory_content
from lamella.layers.contents import kept_bytes, kept_root
from lamella.layers.view import TreeView
from lamella.store.snapshots import Snapshot, contents_id, missing_snapshot
from lamella.store.store import Store
from lamella.values import dataclass

__all__ = ["Element", "MergedChain", "element_of", "find_element", "kept_element"]


@dataclass(frozen=True, slots=True)
class Element:
    """One layer of a chain: its file set, the bytes of its files, and what its root directory is."""

    fileset: FileSet
    content: Content
    root: Entry


def find_element(store: Store, identity: str) -> Snapshot:
    """An element of a chain by its id: as a tree, or the bytes of its files. Raises IntegrityError when it is gone."""
    found = store.snapshots.find(identity) or store.snapshots.find(contents_id(identity))
    if found is None:
        raise missing_snapshot(identity)
    return found


def element_of(snapshot: Snapshot) -> Element:
    """A snapshot of the store as an element."""
    if not snapshot.is_tree:
        return kept_element(snapshot.fileset(), snapshot.path)
    status = snapshot.path.stat()
    root = Entry("", EntryType.DIRECTORY, status.st_mode & 0o7777, status.st_uid, status.st_gid)
    return Element(snapshot.fileset(), lambda entry: _from_tree(snapshot.path, entry), root)


def kept_element(fileset: FileSet, folder: Path) -> Element:
    """A layer whose bytes ``layers.unpack.keep_layer`` has put into a folder."""
    return Element(fileset, lambda entry: kept_bytes(folder, entry), kept_root(folder))


def _from_tree(root: Path, entry: Entry) -> Iterator[bytes]:
    with directory_content(root) as read:
        yield from read(entry)


class MergedChain:
    """A chain's elements, lowest first, as one tree."""

    def __init__(self, elements: Iterable[Element]) -> None:
        self._elements = tuple(elements)
        self.entries = merged(element.fileset for element in self._elements)
        self._holders: dict[str, Element] = {}
        for element in self._elements:
            self._holders |= {entry.path: element for entry in element.fileset if entry.type is EntryType.FILE}

    @property
    def fileset(self) -> FileSet:
        """All entries, without whiteouts."""
        return FileSet.of(self.entries.values())

    def content(self, entry: Entry) -> Iterable[bytes]:
        """The bytes of one file."""
        return self._holders[entry.path].content(entry)

    def view(self) -> TreeView:
        """The chain to be looked at. Its root directory is the topmost element's, as an overlay mount shows it."""
        root = self._elements[-1].root if self._elements else Entry("", EntryType.DIRECTORY, 0o755)
        return TreeView(self.entries, self.content, root)
