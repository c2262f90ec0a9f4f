"""From input results to resolved keys: the one place where both planner and engines compute them.

A vertex's key can be computed as soon as the results of all its inputs are known. Vertices that stand for
themselves (sources, inline files, scratch, the host) have their result at once and no record.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from lamella.canonical import digest_bytes, digest_value
from lamella.errors import InternalError
from lamella.graph.definition import Definition
from lamella.graph.facts import EMPTY_FACTS, BaseFacts
from lamella.graph.fileset import Entry, EntryType, FileSet, merkle_digest
from lamella.graph.keys import KeyParts, key_parts
from lamella.graph.op import HostOp, InlineOp, ScratchOp, SourceOp
from lamella.graph.protocols import Host, Lookup, Tree
from lamella.graph.record import Result
from lamella.graph.vertex import AllPaths, FactsOf, Input, Paths, RootfsOf, Vertex

__all__ = ["Resolver", "inline_fileset"]


@lru_cache(maxsize=256)
def inline_fileset(op: InlineOp) -> FileSet:
    """The file set of inline files. Directories that are not named have no entries."""
    entries = []
    for file in op.files:
        if file.directory:
            entries.append(Entry(file.path, EntryType.DIRECTORY, file.mode | 0o111))
        elif file.link:
            entries.append(Entry(file.path, EntryType.SYMLINK, 0o777, link=file.link))
        else:
            entries.append(
                Entry(file.path, EntryType.FILE, file.mode, size=len(file.data), digest=digest_bytes(file.data))
            )
    return FileSet.of(entries)


class Resolver:
    """Computes keys over one Definition. It remembers facts and file sets it had to load; not thread-safe
    beyond what dict assignment gives (a value computed twice is the same value).
    """

    def __init__(self, definition: Definition, tree: Tree, host: Host, lookup: Lookup) -> None:
        self._definition = definition
        self._tree = tree
        self._host = host
        self._lookup = lookup
        self._facts: dict[str, BaseFacts] = {}
        self._selections: dict[tuple[str, object], str] = {}
        self._sources: dict[str, SourceOp] = {}
        self._inline: dict[str, FileSet] = {}

    def immediate(self, key: str) -> Result | None:
        """The result of a vertex that needs neither record nor work; None for all others."""
        vertex = self._definition[key]
        match vertex.op:
            case SourceOp():
                digest = self._source_digest(vertex.op)
                self._sources[digest] = vertex.op
                return Result("", tree=digest)
            case InlineOp():
                fileset = inline_fileset(vertex.op)
                digest = fileset.digest
                self._inline[digest] = fileset
                return Result("", tree=digest)
            case ScratchOp():
                return Result("", identity=digest_value("scratch"))
            case HostOp():
                return Result("", identity=vertex.op.identity)
            case _:
                return None

    def _source_digest(self, op: SourceOp) -> str:
        digest = self._tree.digest(op.patterns, context=op.context)
        return digest_value({"tree": digest, "strip": op.strip}) if op.strip else digest

    def parts(self, key: str, results: Mapping[str, Result]) -> KeyParts | None:
        """The parts of a vertex's resolved key; None while an input's result is not known."""
        vertex = self._definition[key]
        digests = []
        for edge in vertex.inputs:
            result = results.get(edge.vertex)
            digest = self._digest(edge, result) if result is not None else None
            if digest is None:
                return None
            digests.append(digest)
        return key_parts(vertex, tuple(digests))

    def _digest(self, edge: Input, result: Result) -> str | None:
        match edge.selection:
            case AllPaths():
                return result.tree or _missing(self._definition[edge.vertex], "product")
            case Paths():
                return self._selected(result.tree, edge.selection)
            case RootfsOf():
                return result.identity or _missing(self._definition[edge.vertex], "root file system")
            case FactsOf():
                return self._facts_digest(edge, result)

    def _selected(self, tree: str, selection: Paths) -> str | None:
        memo = (tree, selection)
        if memo not in self._selections:
            fileset = self._lookup.fileset(tree)
            if fileset is None:
                return None
            self._selections[memo] = fileset.select(selection.patterns).digest
        return self._selections[memo]

    def _facts_digest(self, edge: Input, result: Result) -> str | None:
        facts = self.facts_of(edge.vertex, result)
        if facts is None:
            return None
        memo = (facts_memo(edge.vertex, result), edge.selection)
        if memo not in self._selections and isinstance(edge.selection, FactsOf):
            self._selections[memo] = digest_value(facts.subset(edge.selection.paths, edge.selection.names))
        return self._selections[memo]

    def facts_of(self, key: str, result: Result) -> BaseFacts | None:
        """The base facts of a root file system's vertex; None when they are not stored any more."""
        op = self._definition[key].op
        if isinstance(op, ScratchOp):
            return EMPTY_FACTS
        if isinstance(op, HostOp):
            return self._host.facts()
        if result.facts not in self._facts:
            facts = self._lookup.facts(result.facts) if result.facts else None
            if facts is None:
                return None
            self._facts[result.facts] = facts
        return self._facts[result.facts]

    def learn_facts(self, digest: str, facts: BaseFacts) -> None:
        """Facts that have just been stored, so that nobody has to read them again."""
        self._facts[digest] = facts

    def source_fileset(self, op: SourceOp) -> FileSet:
        """The files of a source vertex as a step or placement sees them."""
        fileset = self._tree.fileset(op.patterns, context=op.context)
        return fileset.below(op.strip) if op.strip else fileset

    def current_source(self, digest: str) -> FileSet | None:
        """The file set of a source or of inline files of this Definition by digest; None for every other digest."""
        op = self._sources.get(digest)
        return self.source_fileset(op) if op is not None else self._inline.get(digest)

    def check_source(self, fileset: FileSet, op: SourceOp, digest: str) -> bool:
        """Whether a file set is still the one that a key was made of."""
        if not op.strip:
            return merkle_digest(fileset) == digest
        return self._source_digest(op) == digest


def facts_memo(key: str, result: Result) -> str:
    """What names the facts of a result: their digest, or the vertex where they are not stored."""
    return result.facts or key


def _missing(vertex: Vertex, what: str) -> str:
    raise InternalError(f"vertex {vertex.info.name!r} has no {what}")
