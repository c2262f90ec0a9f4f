"""The embedded engine: walks a Definition, reuses records, makes the rest on this machine."""

from __future__ import annotations

from collections.abc import Callable

from lamella.canonical import FrozenMap
from lamella.engines.base import EngineUse, SolveOutcome, SolveRequest
from lamella.engines.schedule import Schedule, run_schedule
from lamella.engines.solving import EngineParts, ResultChangedError, Solving
from lamella.errors import IntegrityError, LamellaError
from lamella.graph.events import EventSink

__all__ = ["LocalEngine"]

_TRIES = 3
"""Walks of one solve: another one is needed when a vertex whose bytes were gone came out differently."""


class LocalEngine:
    """``Engine`` on this machine, without a daemon.

    ``check`` raises SandboxError before a step of a platform that cannot run here; ``why`` is said of a choice nobody
    made.
    """

    name = "local"

    def __init__(self, parts: EngineParts, check: Callable[[str], None] = lambda platform: None, why: str = "") -> None:
        self._parts = parts
        self._check = check
        self._use = EngineUse(self.name, why=why)

    def solve(self, request: SolveRequest, sink: EventSink) -> SolveOutcome:
        """See :class:`lamella.engines.base.Engine`."""
        with self._parts.store.lease("build"):
            solving = Solving(self._parts, request, sink, self._start)
            for _ in range(_TRIES):
                try:
                    return _walk(solving)
                except ResultChangedError:
                    solving.start_again()
        raise IntegrityError(
            "steps whose results were cleared give other results each time they run",
            hint="look for steps that read the clock or the network; run again with --no-cache",
        )

    def _start(self, platform: str) -> EngineUse:
        self._check(platform)
        return self._use

    def close(self) -> None:
        """Ends the sandbox helper."""
        self._parts.close()


def _walk(solving: Solving) -> SolveOutcome:
    """Does all vertices and raises the first failure, unless ``keep_going`` asks for a list."""
    request = solving.request
    definition, keep_going = request.definition, request.options.keep_going
    keys = definition.needed(request.targets)
    inputs = {key: tuple(edge.vertex for edge in definition[key].inputs) for key in keys}
    workers = solving.jobs + 2  # file vertices go on beside the steps
    schedule = run_schedule(inputs, solving.vertex, workers=workers, keep_going=keep_going)
    _raise_first(schedule, keep_going=keep_going)
    failed = {key: str(error) for key, error in schedule.errors.items()}
    failed |= {key: f"stands on {definition[cause].info.name}" for key, cause in schedule.skipped.items()}
    return solving.outcome(FrozenMap(failed))


def _raise_first(schedule: Schedule, *, keep_going: bool) -> None:
    for error in schedule.errors.values():
        if not keep_going or not isinstance(error, LamellaError):
            raise error
