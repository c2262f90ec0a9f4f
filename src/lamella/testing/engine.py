"""A store and an engine in memory: results are functions of keys, nothing runs. For tests of keys and plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lamella.canonical import EMPTY_MAP, FrozenMap, digest_bytes, digest_value
from lamella.engines.base import SolveOutcome, SolveRequest, VertexOutcome
from lamella.errors import StepError
from lamella.graph.events import EventSink
from lamella.graph.facts import BaseFacts, Interpreter, User
from lamella.graph.facts_format import facts_to_bytes
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.keys import KeyParts, rootfs_identity
from lamella.graph.protocols import Host, HostTools, Tree
from lamella.graph.record import LayerResult, Record, Result
from lamella.graph.vertex import Vertex
from lamella.planning.walk import Resolver
from lamella.values import dataclass, field

__all__ = ["FACTS", "FakeEngine", "FakeHost", "MemoryLookup"]

FACTS = BaseFacts(
    platform="linux/amd64",
    users=(User("root", 0, 0, "/root"), User("app", 10001, 10001, "/")),
    libc="glibc",
    libc_version="2.36",
    interpreters=(Interpreter("python", "/usr/bin/python3.11", "3.11", "cpython-311"),),
    tools=("bash", "python3", "sh"),
)
"""What every fake base is."""


@dataclass
class MemoryLookup:
    """Records, file sets and facts in dicts; a ``Lookup`` and a ``BlobSink``."""

    records: dict[str, Record] = field(default_factory=dict)
    filesets: dict[str, FileSet] = field(default_factory=dict)
    known_facts: dict[str, BaseFacts] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def prefetch(self, keys: tuple[str, ...], worth: Callable[[str], bool]) -> None:
        """See ``lamella.graph.protocols.Lookup``."""

    def record(self, key: str) -> Record | None:
        """See ``lamella.graph.protocols.Lookup``."""
        return self.records.get(key)

    def latest(self, project: str, name: str) -> Record | None:
        """The record of the name that was put last."""
        found = (r for r in reversed(self.records.values()) if (r.project, r.name) == (project, name))
        return next(found, None)

    def fileset(self, digest: str) -> FileSet | None:
        """See ``lamella.graph.protocols.Lookup``."""
        return self.filesets.get(digest)

    def facts(self, digest: str) -> BaseFacts | None:
        """See ``lamella.graph.protocols.Lookup``."""
        return self.known_facts.get(digest)

    def put_bytes(self, data: bytes) -> str:
        """Stores bytes and returns their digest."""
        digest = digest_bytes(data)
        self.blobs[digest] = data
        return digest


@dataclass(frozen=True, slots=True)
class FakeHost:
    """A host of one platform; ``identity`` stands for its tools' versions."""

    name: str = "linux/amd64"
    identity: str = "tools 1"

    def platform(self) -> str:
        """See ``lamella.graph.protocols.Host``."""
        return self.name

    def tools(self) -> HostTools:
        """Tools that exist only in the key."""
        return HostTools(digest_value(self.identity), env=FrozenMap({"PATH": "/usr/bin"}))

    def facts(self) -> BaseFacts:
        """The same facts as every fake base."""
        return FACTS


class FakeEngine:
    """``Engine`` that records a result for each missing vertex without doing anything.

    ``packages`` stands for what the archive holds now: another value gives the same step another package set.
    ``same_product`` names vertices whose product does not depend on their key (early cut-off). ``broken`` names
    vertices that fail.
    """

    name = "fake"

    def __init__(
        self,
        tree: Tree,
        host: Host,
        lookup: MemoryLookup,
        *,
        packages: str = "1",
        same_product: Mapping[str, str] = EMPTY_MAP,
        broken: frozenset[str] = frozenset(),
        now: int = 0,
    ) -> None:
        self._tree, self._host, self._lookup = tree, host, lookup
        self._packages, self._same, self._broken, self._now = packages, same_product, broken, now

    def solve(self, request: SolveRequest, sink: EventSink) -> SolveOutcome:
        """See ``lamella.engines.base.Engine``."""
        resolver = Resolver(request.definition, self._tree, self._host, self._lookup)
        results: dict[str, Result] = {}
        outcomes: dict[str, VertexOutcome] = {}
        for key in request.definition.needed(request.targets):
            now = resolver.immediate(key)
            if now is not None:
                results[key], outcomes[key] = now, VertexOutcome(now, "source")
                continue
            parts = resolver.parts(key, results)
            if parts is None:
                raise AssertionError(f"an input of {request.definition[key].info.name} has no result")
            record = None if key in request.options.force else self._lookup.record(parts.key)
            outcome = "reused" if record else "built"
            record = record or self._make(request, request.definition[key], parts, resolver, results)
            results[key], outcomes[key] = record.result, VertexOutcome(record.result, outcome, 0.0, record)
        return SolveOutcome(FrozenMap(outcomes))

    def close(self) -> None:
        """Nothing to end."""

    def _make(
        self,
        request: SolveRequest,
        vertex: Vertex,
        parts: KeyParts,
        resolver: Resolver,
        results: Mapping[str, Result],
    ) -> Record:
        name, key = vertex.info.name, parts.key
        if name in self._broken:
            raise StepError(f"{name} failed")
        content = self._same.get(name, key)
        product = FileSet.of([Entry("out", EntryType.FILE, 0o644, size=1, digest=digest_value(content))])
        self._lookup.filesets[product.digest] = product
        packages = digest_value({"packages": self._packages})
        facts = self._lookup.put_bytes(facts_to_bytes(FACTS))
        self._lookup.known_facts[facts] = FACTS
        result = Result(
            key,
            tree=product.digest,
            identity=rootfs_identity(key, packages),
            packages=packages,
            facts=facts,
            layers=(LayerResult(digest_value({"layer": content}), 1024, 1),),
        )
        filesets = {}
        for edge in vertex.inputs:
            source = resolver.current_source(results[edge.vertex].tree)
            if source is not None:
                self._lookup.filesets[source.digest] = source
                filesets[results[edge.vertex].tree] = source.digest
        record = Record(key, name, request.project, parts, result, "1.000", self._now, filesets=FrozenMap(filesets))
        self._lookup.records.pop(key, None)
        self._lookup.records[key] = record
        return record
