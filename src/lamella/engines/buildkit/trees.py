"""Whole trees and what changed between them: a builder gives back root file systems, an image needs layers. Pure.

A tree is a mapping from path to entry, without whiteouts. The difference of two is what an overlay mount would have
caught: changed paths, whiteouts, and the directories above both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lamella.errors import HostileInputError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.values import replace

__all__ = ["Tree", "check_tree", "difference", "merged", "without_stubs"]

Tree = Mapping[str, Entry]
"""Entries by path."""

_MOUNTED = ("dev", "proc", "sys")
"""Directories that hold mounts while a step runs; what lies below them is never a change of the step."""


def merged(layers: Iterable[FileSet]) -> dict[str, Entry]:
    """The tree that a chain of layers makes, lowest first (image spec, layer.md, "Applying Changesets")."""
    tree: dict[str, Entry] = {}
    for layer in layers:
        _drop_hidden(tree, layer)
        for entry in layer:
            if entry.type is EntryType.OPAQUE:
                tree[entry.path] = replace(entry, type=EntryType.DIRECTORY)
            elif entry.type is not EntryType.WHITEOUT:
                tree[entry.path] = entry
    return tree


def _drop_hidden(tree: dict[str, Entry], layer: FileSet) -> None:
    """Takes out what a layer removes, hides or replaces by something that is no directory."""
    gone = {entry.path for entry in layer if entry.type is EntryType.WHITEOUT}
    emptied = {
        entry.path
        for entry in layer
        if entry.type is not EntryType.DIRECTORY and entry.path in tree and tree[entry.path].type is EntryType.DIRECTORY
    }
    if not gone and not emptied:
        return
    hidden = gone | emptied
    for path in [path for path in tree if path in gone or any(above in hidden for above in _parents(path))]:
        del tree[path]


def _parents(path: str) -> Iterable[str]:
    """The directories above a path, nearest first."""
    while (cut := path.rfind("/")) > 0:
        path = path[:cut]
        yield path


def check_tree(tree: Tree) -> None:
    """Raises HostileInputError for an entry below something that is no directory."""
    for path in tree:
        above = path.rpartition("/")[0]
        if above and (above not in tree or tree[above].type is not EntryType.DIRECTORY):
            raise HostileInputError(f"the builder's archive has {path[:80]!r} below something that is no directory")


def without_stubs(tree: Tree, below: Tree, stubs: Iterable[str]) -> dict[str, Entry]:
    """``tree`` without what was made only as a place for mounts: empty, named in ``stubs``, not there ``below``."""
    left = dict(tree)
    held: dict[str, int] = {}
    for path in left:
        above = path.rpartition("/")[0]
        held[above] = held.get(above, 0) + 1
    for place in sorted({path for stub in stubs for path in _with_parents(stub.strip("/"))}, key=len, reverse=True):
        entry = left.get(place)
        if entry is None or place in below or held.get(place):
            continue
        if entry.type is EntryType.DIRECTORY or (entry.type is EntryType.FILE and not entry.size):
            del left[place]
            held[place.rpartition("/")[0]] -= 1
    return left


def _with_parents(path: str) -> tuple[str, ...]:
    return (path, *_parents(path)) if path else ()


def difference(below: Tree, tree: Tree) -> FileSet:
    """What turns ``below`` into ``tree``, as a layer with every parent directory of what it holds."""
    wanted = {path: entry for path, entry in tree.items() if below.get(path) != entry and not _is_mounted(path)}
    for path in below:
        if path not in tree and not _is_mounted(path):
            above = path.rpartition("/")[0]
            is_topmost = not above or (above in tree and tree[above].type is EntryType.DIRECTORY)
            if is_topmost:
                wanted[path] = Entry(path, EntryType.WHITEOUT, 0)
    for path in list(wanted):
        for above in _parents(path):
            if above in wanted:
                break
            wanted[above] = tree[above]
    return FileSet.of(wanted.values())


def _is_mounted(path: str) -> bool:
    return path.partition("/")[0] in _MOUNTED and "/" in path
