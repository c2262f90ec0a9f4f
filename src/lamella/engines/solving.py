"""What both engines do with one vertex: find its record, reuse it, or have it made and write a record (DESIGN 3, 3b).

Records are hints: what a record names may live in a cache repository, or be gone. Bytes are therefore brought here
when a vertex that must be made reads them, and what can be had nowhere any more is made again.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable

from lamella.canonical import FrozenMap
from lamella.engines.base import NO_RESTORER, EngineUse, Restorer, SolveOutcome, SolveRequest, VertexOutcome
from lamella.engines.inputs import absent_inputs
from lamella.engines.work import Made, Maker, Work
from lamella.errors import InternalError, LamellaError, RegistryError
from lamella.graph.events import EventSink, Message, VertexFinished, VertexStarted
from lamella.graph.op import ExecOp
from lamella.graph.protocols import Clock, Host, Lookup, Tree
from lamella.graph.record import LayerResult, Record, Result
from lamella.graph.vertex import Vertex, executes
from lamella.planning.walk import Resolver
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["EngineParts", "ResultChangedError", "Solving"]

_PATIENCE = 1.0
"""Seconds of waiting for another run that nobody needs to hear of."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine works with.

    ``lookup`` finds records (the store's own when None), ``restorer`` brings bytes that a cache repository has.
    ``maker_of`` chooses by vertex; ``export`` writes a root file system's own layers; ``unpack`` makes a layer of the
    store a snapshot and gives its id, empty where no tree can be made and only its files' bytes are kept.
    """

    store: Store
    tree: Tree
    host: Host
    clock: Clock
    maker_of: Callable[[Vertex], Maker]
    export: Callable[[Work, Result], tuple[LayerResult, ...]]
    unpack: Callable[[LayerResult], str]
    close: Callable[[], None] = lambda: None
    lookup: Lookup | None = None
    restorer: Restorer = NO_RESTORER


class ResultChangedError(Exception):
    """A vertex that had to be made again has another result, so keys that were computed from the old one are void."""


class Solving:
    """The state of one solve. Vertices are done inputs first; different ones may be done by several threads.

    ``local`` is called with the platform of a step before it runs on this machine: it may refuse, and gives what to
    say.
    """

    def __init__(
        self,
        parts: EngineParts,
        request: SolveRequest,
        sink: EventSink,
        local: Callable[[str], EngineUse | None] = lambda platform: None,
    ) -> None:
        self.parts = parts
        self.request = request
        self.sink = sink
        self.lookup = parts.lookup or parts.store.lookup
        self.resolver = Resolver(request.definition, parts.tree, parts.host, self.lookup)
        self.results: dict[str, Result] = {}
        self.outcomes: dict[str, VertexOutcome] = {}
        self.jobs = request.options.workers
        self._steps = threading.BoundedSemaphore(self.jobs)
        self._force = set(request.options.force)
        self._local = local
        self._engines: dict[EngineUse, None] = {}
        self._saying = threading.Lock()

    def outcome(self, failed: FrozenMap[str, str]) -> SolveOutcome:
        """What the engine returns."""
        return SolveOutcome(FrozenMap(self.outcomes), failed, next(iter(self._engines), None))

    def uses(self, engine: EngineUse) -> None:
        """Notes what runs the steps, and says it once."""
        with self._saying:
            if engine not in self._engines:
                self._engines[engine] = None
                self.sink.emit(Message(self.parts.clock.monotonic(), "info", str(engine)))

    def start_again(self) -> None:
        """Forgets keys and results; what was made has its records by now and is not forced a second time."""
        self._force -= {key for key, outcome in self.outcomes.items() if outcome.outcome == "built"}
        self.resolver = Resolver(self.request.definition, self.parts.tree, self.parts.host, self.lookup)
        self.results.clear()
        self.outcomes.clear()

    def is_immediate(self, key: str) -> bool:
        """Whether a vertex stands for itself; its result is then known."""
        now = self.resolver.immediate(key)
        if now is not None:
            self.done(key, VertexOutcome(now, "source"))
        return now is not None

    def done(self, key: str, outcome: VertexOutcome) -> None:
        """Notes how a vertex ended."""
        self.outcomes[key] = outcome
        self.results[key] = outcome.result

    def work(self, key: str) -> Work:
        """A vertex with its resolved key; all of its inputs are done."""
        vertex = self.request.definition[key]
        parts = self.resolver.parts(key, self.results)
        if parts is None:
            raise InternalError(f"an input of {vertex.info.name!r} has a result whose file set or facts are gone")
        return Work(key, vertex, parts, self.results, self.request, self.resolver, self.sink.emit, key in self._force)

    def reused(self, work: Work) -> VertexOutcome | None:
        """The outcome by a record; None when there is none or the vertex is to run again."""
        record = None if work.forced else self.lookup.record(work.resolved)
        if record is None or self._lacks_layer(work, record):
            return None
        origin = self.parts.restorer.origin(work.resolved)
        result = self._exported(work, record)
        kind = "restored" if origin else "reused"
        clock, info = self.parts.clock, work.vertex.info
        self.sink.emit(VertexFinished(work.key, info.name, clock.monotonic(), kind, key=work.resolved))
        return VertexOutcome(result, kind, 0.0, record)

    def _lacks_layer(self, work: Work, record: Record) -> bool:
        """Whether an image wants the layer of a step and the record has neither it nor what it is written from."""
        wanted = work.key in self.request.exports and executes(work.vertex)
        return wanted and not record.result.layers and not record.result.snapshot

    def vertex(self, key: str) -> None:
        """Does one vertex on this machine: at once, by its record, or by its maker."""
        if not self.is_immediate(key):
            work = self.work(key)
            self.done(key, self.reused(work) or self.make_once(work))

    def make_once(self, work: Work) -> VertexOutcome:
        """Makes a vertex under its key's lock; who waited for another process takes that one's record."""
        self.bring_inputs(work)
        with self.parts.store.key_lock(work.resolved, on_wait=self._waiting(work)):
            outcome = self.reused(work)
            if outcome is not None:
                return outcome
            if not executes(work.vertex):
                return self._make(work)
            with self._steps:
                return self._make(work)

    def _waiting(self, work: Work) -> Callable[[str, float], None]:
        """Says once that another run makes the vertex, when that takes longer than files do."""
        told = False

        def on_wait(_what: str, seconds: float) -> None:
            nonlocal told
            if seconds >= _PATIENCE and not told:
                told = True
                text = f"{work.vertex.info.name}: another run makes it; waiting for its result"
                self.sink.emit(Message(self.parts.clock.monotonic(), "info", text))

        return on_wait

    def bring_inputs(self, work: Work) -> None:
        """Has the bytes that a vertex reads in the store. Raises ResultChangedError."""
        for key in self.absent(work):
            self.make_again(key, work)

    def absent(self, work: Work) -> tuple[str, ...]:
        """Vertices whose bytes a vertex reads and that can be had nowhere, inputs first; the others are brought."""
        return absent_inputs(work, self.parts.store, self.parts.restorer, self.parts.unpack)

    def make_again(self, key: str, user: Work) -> None:
        """Makes a vertex whose record stands and whose bytes, which ``user`` reads, are gone. Raises
        ResultChangedError when it comes out differently.
        """
        work = replace(self.work(key), forced=True)
        before = self.results[key]
        self.bring_inputs(work)
        with self.parts.store.key_lock(work.resolved):
            if key not in self.absent(user):  # another thread was faster
                return
            outcome = self._make(work)
        self.done(key, outcome)
        if (outcome.result.tree, outcome.result.identity) != (before.tree, before.identity):
            raise ResultChangedError

    def _make(self, work: Work) -> VertexOutcome:
        clock, info = self.parts.clock, work.vertex.info
        self.refuse(work)
        if executes(work.vertex):
            here = self._local(work.vertex.execution)
            if here is not None:
                self.uses(here)
        start = clock.monotonic()
        self.sink.emit(VertexStarted(work.key, info.name, start))
        try:
            made = self.parts.maker_of(work.vertex).make(work)
        except BaseException as error:
            text = error.message if isinstance(error, LamellaError) else type(error).__name__
            now = clock.monotonic()
            self.sink.emit(
                VertexFinished(work.key, info.name, now, "failed", now - start, error=text, key=work.resolved)
            )
            raise
        return self.finish(work, made, clock.monotonic() - start)

    def finish(self, work: Work, made: Made, seconds: float) -> VertexOutcome:
        """Writes the record of a vertex that was made and says so."""
        clock, info = self.parts.clock, work.vertex.info
        for warning in made.warnings:
            self.sink.emit(Message(clock.monotonic(), "warning", f"{info.name}: {warning}"))
        record = self._record(work, made, seconds)
        self.parts.store.records.put(record)
        result = self._exported(work, record)
        self.sink.emit(
            VertexFinished(work.key, info.name, clock.monotonic(), "built", seconds, made.size, work.resolved)
        )
        return VertexOutcome(result, "built", seconds, record)

    def refuse(self, work: Work) -> None:
        """``--offline`` and ``missing = fail`` say no before anything starts."""
        info, op = work.vertex.info, work.vertex.op
        if info.missing == "fail":
            raise RegistryError(f'{info.name} is not there and missing = "fail" forbids to build it', hint=info.advice)
        wants = isinstance(op, ExecOp) and (
            op.network != "none" or any(c.network and not c.unless for c in op.commands)
        )
        if self.request.options.offline and wants:
            raise RegistryError(
                f"{info.name} needs the network, and --offline forbids it", hint="run without --offline"
            )

    def _record(self, work: Work, made: Made, seconds: float) -> Record:
        return Record(
            key=work.resolved,
            name=work.vertex.info.name,
            project=self.request.project,
            parts=work.parts,
            result=made.result,
            seconds=f"{seconds:.3f}",
            created=self.parts.clock.now(),
            hermetic=made.hermetic,
            local=made.local or work.vertex.info.local,
            evidence=made.evidence,
            wrote_sources=made.wrote_sources,
            log=made.log,
            machine=f"{platform.node()} {platform.machine()}",
            filesets=made.filesets,
        )

    def _exported(self, work: Work, record: Record) -> Result:
        """The result, with the layers of a root file system written when an image wants them."""
        if work.key not in self.request.exports or record.result.layers:
            return record.result
        layers = self.parts.export(work, record.result)
        if not layers:
            return record.result
        result = replace(record.result, layers=layers)
        self.parts.store.records.put(replace(record, result=result))
        return result
