"""Parent directories of a layer: owner and mode as the base has them, never through a symlink (DESIGN 7b.3)."""

from __future__ import annotations

import posixpath

from lamella.graph.facts import BaseFacts
from lamella.graph.fileset import Entry, EntryType, FileSet

__all__ = ["real_directory", "with_parents"]


def real_directory(facts: BaseFacts, path: str) -> str:
    """Where a directory named by ``path`` (absolute) really is in the base, links in all its parts resolved."""
    return posixpath.dirname(facts.real_path(posixpath.join(path, "x")))


def with_parents(fileset: FileSet, facts: BaseFacts) -> FileSet:
    """A file set with an entry for every parent directory that it lacks.

    A parent that the base has gets that owner and mode, so that unpacking the layer alone does not reset it; a new
    one is 0755 root.
    """
    known = {entry.path for entry in fileset}
    added: dict[str, Entry] = {}
    for entry in fileset:
        parent = posixpath.dirname(entry.path)
        while parent and parent not in known and parent not in added:
            fact = facts.directories.get(f"/{parent}")
            mode, uid, gid = (fact.mode, fact.uid, fact.gid) if fact else (0o755, 0, 0)
            added[parent] = Entry(parent, EntryType.DIRECTORY, mode, uid, gid)
            parent = posixpath.dirname(parent)
    return FileSet.of([*fileset, *added.values()])
