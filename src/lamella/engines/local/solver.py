"""The embedded engine: walks a Definition, reuses records, makes the rest, writes records (DESIGN 3 and 3b)."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from lamella.canonical import FrozenMap
from lamella.engines.base import SolveOutcome, SolveRequest, VertexOutcome
from lamella.engines.schedule import Schedule, run_schedule
from lamella.engines.work import Made, Maker, Work
from lamella.errors import InternalError, LamellaError, RegistryError
from lamella.graph.events import EventSink, Message, VertexFinished, VertexStarted
from lamella.graph.op import ExecOp
from lamella.graph.protocols import Clock, Host, Tree
from lamella.graph.record import LayerResult, Record, Result
from lamella.graph.vertex import Vertex, executes
from lamella.planning.walk import Resolver
from lamella.store.store import Store

__all__ = ["EngineParts", "LocalEngine"]


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What the engine works with. ``makers`` choose by vertex; ``export`` writes a root file system's own layers."""

    store: Store
    tree: Tree
    host: Host
    clock: Clock
    maker_of: Callable[[Vertex], Maker]
    export: Callable[[Work, Result], tuple[LayerResult, ...]]
    close: Callable[[], None] = lambda: None


class LocalEngine:
    """``Engine`` on this machine, without a daemon."""

    name = "local"

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts

    def solve(self, request: SolveRequest, sink: EventSink) -> SolveOutcome:
        """See :class:`lamella.engines.base.Engine`."""
        with self._parts.store.lease("build") as lease:
            run = _Solve(self._parts, request, sink, lease)
            return run.execute()

    def close(self) -> None:
        """Ends the sandbox helper."""
        self._parts.close()


class _Solve:
    """One solve."""

    def __init__(self, parts: EngineParts, request: SolveRequest, sink: EventSink, lease: object) -> None:
        self._parts = parts
        self._request = request
        self._sink = sink
        self._resolver = Resolver(request.definition, parts.tree, parts.host, parts.store.lookup)
        self._results: dict[str, Result] = {}
        self._outcomes: dict[str, VertexOutcome] = {}
        jobs = request.options.jobs or os.cpu_count() or 1
        self._steps = threading.BoundedSemaphore(jobs)
        self._workers = jobs + 2  # file vertices go on beside the steps
        self._lease = lease

    def execute(self) -> SolveOutcome:
        """Solves and raises the first failure, unless ``keep_going`` asks for a list."""
        definition = self._request.definition
        keys = definition.needed(self._request.targets)
        inputs = {key: tuple(edge.vertex for edge in definition[key].inputs) for key in keys}
        schedule = run_schedule(
            inputs, self._vertex, workers=self._workers, keep_going=self._request.options.keep_going
        )
        self._raise_first(schedule)
        failed = {key: str(error) for key, error in schedule.errors.items()}
        failed |= {key: f"stands on {definition[cause].info.name}" for key, cause in schedule.skipped.items()}
        return SolveOutcome(FrozenMap(self._outcomes), FrozenMap(failed))

    def _raise_first(self, schedule: Schedule) -> None:
        for error in schedule.errors.values():
            if not self._request.options.keep_going or not isinstance(error, LamellaError):
                raise error

    def _vertex(self, key: str) -> None:
        vertex = self._request.definition[key]
        now = self._resolver.immediate(key)
        if now is not None:
            self._results[key] = now
            self._outcomes[key] = VertexOutcome(now, "source")
            return
        parts = self._resolver.parts(key, self._results)
        if parts is None:
            raise InternalError(f"an input of {vertex.info.name!r} has a result whose file set or facts are gone")
        forced = key in self._request.options.force
        work = Work(key, vertex, parts, self._results, self._request, self._resolver, self._sink.emit, forced)
        record = None if forced else self._find(work)
        outcome = self._reuse(work, record) if record is not None else self._make_once(work)
        self._outcomes[key] = outcome
        self._results[key] = outcome.result

    def _find(self, work: Work) -> Record | None:
        return self._parts.store.lookup.record(work.resolved)

    def _reuse(self, work: Work, record: Record) -> VertexOutcome:
        result = self._exported(work, record)
        clock, info = self._parts.clock, work.vertex.info
        self._sink.emit(VertexFinished(work.key, info.name, clock.monotonic(), "reused", key=work.resolved))
        return VertexOutcome(result, "reused", 0.0, record)

    def _make_once(self, work: Work) -> VertexOutcome:
        """Makes a vertex under its key's lock; who waited for another process takes that one's record."""
        with self._parts.store.key_lock(work.resolved):
            record = None if work.forced else self._find(work)
            if record is not None:
                return self._reuse(work, record)
            if not executes(work.vertex):
                return self._make(work)
            with self._steps:
                return self._make(work)

    def _make(self, work: Work) -> VertexOutcome:
        clock, info = self._parts.clock, work.vertex.info
        self._refuse(work)
        start = clock.monotonic()
        self._sink.emit(VertexStarted(work.key, info.name, start))
        try:
            made = self._parts.maker_of(work.vertex).make(work)
        except BaseException as error:
            text = error.message if isinstance(error, LamellaError) else type(error).__name__
            now = clock.monotonic()
            self._sink.emit(
                VertexFinished(work.key, info.name, now, "failed", now - start, error=text, key=work.resolved)
            )
            raise
        for warning in made.warnings:
            self._sink.emit(Message(clock.monotonic(), "warning", f"{info.name}: {warning}"))
        seconds = clock.monotonic() - start
        record = self._record(work, made, seconds)
        self._parts.store.records.put(record)
        result = self._exported(work, record)
        self._sink.emit(
            VertexFinished(work.key, info.name, clock.monotonic(), "built", seconds, made.size, work.resolved)
        )
        return VertexOutcome(result, "built", seconds, record)

    def _refuse(self, work: Work) -> None:
        """``--offline`` and ``missing = fail`` say no before anything starts."""
        info, op = work.vertex.info, work.vertex.op
        if info.missing == "fail":
            raise RegistryError(f'{info.name} is not there and missing = "fail" forbids to build it', hint=info.advice)
        wants = isinstance(op, ExecOp) and (
            op.network != "none" or any(c.network and not c.unless for c in op.commands)
        )
        if self._request.options.offline and wants:
            raise RegistryError(
                f"{info.name} needs the network, and --offline forbids it", hint="run without --offline"
            )

    def _record(self, work: Work, made: Made, seconds: float) -> Record:
        return Record(
            key=work.resolved,
            name=work.vertex.info.name,
            project=self._request.project,
            parts=work.parts,
            result=made.result,
            seconds=f"{seconds:.3f}",
            created=self._parts.clock.now(),
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
        if work.key not in self._request.exports or record.result.layers:
            return record.result
        layers = self._parts.export(work, record.result)
        if not layers:
            return record.result
        result = replace(record.result, layers=layers)
        self._parts.store.records.put(replace(record, result=result))
        return result
