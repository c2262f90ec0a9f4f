"""The BuildKit engine: walks a Definition, reuses records, sends what executes to a builder (DESIGN 3 and 4).

One bake call runs a maximal phase: every step whose inputs are known or made by another step of the same call. File
vertices, bases and bootstraps are made on this machine, as by the embedded engine.
"""

from __future__ import annotations

import secrets
import threading
from functools import partial
from typing import Protocol

from lamella.canonical import FrozenMap
from lamella.engines.base import SolveOutcome, SolveRequest
from lamella.engines.buildkit.together import side_by_side
from lamella.engines.buildkit.work import stands_alone
from lamella.engines.schedule import Schedule, run_schedule
from lamella.engines.solving import EngineParts, ResultChangedError, Solving
from lamella.engines.work import Work
from lamella.errors import IntegrityError, LamellaError
from lamella.graph.events import EventSink
from lamella.graph.op import BootstrapOp, ExecOp, ImageOp

__all__ = ["BuildkitEngine", "PhaseRunner"]

_TRIES = 3
"""Walks of one solve: another one is needed when a vertex whose bytes were gone came out differently."""


class PhaseRunner(Protocol):
    """Runs steps on a builder."""

    def check(self, platform: str) -> None:
        """Raises what :meth:`run` would when there is no builder for steps of a platform."""

    def run(
        self, solving: Solving, wanted: tuple[str, ...], nonce: str, cancelled: threading.Event
    ) -> dict[str, LamellaError]:
        """Runs as many of the steps, inputs first, as one call can, and notes how they ended; errors by key.

        All are for one platform; other threads run those of others. At least one of them is done or has an error
        afterwards, unless it was cancelled. Raises what is no step's fault, and ResultChangedError.
        """


class BuildkitEngine:
    """``Engine`` on a BuildKit builder."""

    name = "buildkit"

    def __init__(self, parts: EngineParts, phases: PhaseRunner) -> None:
        self._parts = parts
        self._phases = phases

    def solve(self, request: SolveRequest, sink: EventSink) -> SolveOutcome:
        """See :class:`lamella.engines.base.Engine`."""
        with self._parts.store.lease("build"):
            solving = Solving(self._parts, request, sink)
            for _ in range(_TRIES):
                try:
                    return _Walk(solving, self._phases).run()
                except ResultChangedError:
                    solving.start_again()
        raise IntegrityError(
            "steps whose results were cleared give other results each time they run",
            hint="look for steps that read the clock or the network; run again with --no-cache",
        )

    def close(self) -> None:
        """Ends helpers of this machine; builders belong to somebody else."""
        self._parts.close()


class _Walk:
    """One walk: looks for what can be done, has the steps among it run, and looks again."""

    def __init__(self, solving: Solving, phases: PhaseRunner) -> None:
        self._solving = solving
        self._phases = phases
        self._keep_going = solving.request.options.keep_going
        self._needed = solving.request.definition.needed(solving.request.targets)
        self._nonce = secrets.token_hex(8)
        self._pending: dict[str, None] = {}
        self._failed: dict[str, str] = {}

    def run(self) -> SolveOutcome:
        self._look()
        while self._pending:
            for key, error in self._run_steps().items():
                if not self._keep_going:
                    raise error
                self._failed[key] = str(error)
            self._look()
        return self._solving.outcome(FrozenMap(self._failed))

    def _run_steps(self) -> dict[str, LamellaError]:
        """One call for the steps of each platform, all at the same time: each has a node of its own."""
        definition = self._solving.request.definition
        wanted: dict[str, tuple[str, ...]] = {}
        for key in self._needed:
            if key in self._pending:
                platform = definition[key].execution
                wanted[platform] = (*wanted.get(platform, ()), key)
        calls = [partial(self._phases.run, self._solving, keys, self._nonce) for keys in wanted.values()]
        errors: dict[str, LamellaError] = {}
        for found in side_by_side(calls, keep_going=self._keep_going):
            errors |= found
        return errors

    def _look(self) -> None:
        """Does everything that needs no builder, and finds the steps that do."""
        self._pending = {}
        self._skip()
        left = [key for key in self._needed if key not in self._solving.results and key not in self._failed]
        definition = self._solving.request.definition
        inputs = {key: tuple(e.vertex for e in definition[key].inputs if e.vertex in left) for key in left}
        schedule = run_schedule(inputs, self._visit, workers=self._solving.jobs + 2, keep_going=self._keep_going)
        self._take_errors(schedule)

    def _skip(self) -> None:
        """What stands on a failed vertex has failed too."""
        definition = self._solving.request.definition
        for key in self._needed:
            cause = next((e.vertex for e in definition[key].inputs if e.vertex in self._failed), "")
            if cause and key not in self._solving.results:
                self._failed.setdefault(key, f"stands on {definition[cause].info.name}")

    def _take_errors(self, schedule: Schedule) -> None:
        for key, error in schedule.errors.items():
            if not self._keep_going or not isinstance(error, LamellaError):
                raise error
            self._failed[key] = str(error)
        definition = self._solving.request.definition
        for key, cause in schedule.skipped.items():
            self._failed[key] = f"stands on {definition[cause].info.name}"

    def _visit(self, key: str) -> None:
        """Does a vertex, or notes that it needs a builder; what stands on an unknown result waits for the next look."""
        solving = self._solving
        vertex = solving.request.definition[key]
        unknown = [edge.vertex for edge in vertex.inputs if edge.vertex not in solving.results]
        if unknown:
            joins = isinstance(vertex.op, ExecOp) and all(one in self._pending for one in unknown)
            if joins and stands_alone(solving, key):
                self._pending[key] = None
            return
        if solving.is_immediate(key):
            return
        work = solving.work(key)
        outcome = solving.reused(work)
        if outcome is None:
            steps = self._steps_first(work)
            if steps:
                self._pending |= dict.fromkeys(steps)
                return
            if isinstance(vertex.op, (ImageOp, BootstrapOp)):
                self._check_builder()  # before minutes are spent on a base for steps that nobody runs
            outcome = solving.make_once(work)
        solving.done(key, outcome)

    def _check_builder(self) -> None:
        definition, results = self._solving.request.definition, self._solving.results
        steps = (key for key in self._needed if isinstance(definition[key].op, ExecOp) and key not in results)
        for platform in {definition[key].execution for key in steps}:
            self._phases.check(platform)

    def _steps_first(self, work: Work) -> tuple[str, ...]:
        """The steps that a builder must run before a vertex can be made: itself, or those whose bytes are gone."""
        if isinstance(work.vertex.op, ExecOp):
            return (work.key,)
        definition = self._solving.request.definition
        return tuple(key for key in self._solving.absent(work) if isinstance(definition[key].op, ExecOp))
