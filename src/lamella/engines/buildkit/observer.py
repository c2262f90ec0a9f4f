"""Watches one bake call: events for people, a log per step, and in the end what failed and why."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from lamella.engines.buildkit.bake import Baked
from lamella.engines.buildkit.phase import Lowered
from lamella.engines.buildkit.progress import RawJsonParser, StepEnd
from lamella.engines.local.masking import Masker
from lamella.engines.local.steplog import StepLog
from lamella.engines.solving import Solving
from lamella.errors import AuthError, InternalError, LamellaError, RegistryError, ResourceError, StepError
from lamella.graph.events import Event, VertexFinished, VertexLog
from lamella.graph.op import ExecOp
from lamella.process import paste

__all__ = ["Observer"]

_LONGEST_SHOWN = 300
_SAID = 20
_FULL = ("no space left on device", "cannot allocate memory", "disk quota exceeded")
_DENIED = ("401 unauthorized", "403 forbidden", "insufficient_scope", "authorization failed", "pull access denied")


class Observer:
    """Takes the progress of one call; the logs of its steps are open until the block ends."""

    def __init__(self, solving: Solving) -> None:
        self._solving = solving
        self._definition = solving.request.definition
        self._stack = ExitStack()
        self._logs: dict[str, StepLog] = {}
        self._parser: RawJsonParser | None = None
        self._masker = Masker(value for _, value in sorted(solving.request.secrets.items()))
        self._steps: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def expect(self, lowered: Lowered) -> None:
        """Says which stages the stream will name."""
        names = {key: self._definition[key].info.name for key in lowered.stages.values()}
        clock = self._solving.parts.clock.monotonic
        self._parser = RawJsonParser(lowered.stages, names, clock, self._masker)
        self._steps = tuple(key for name, key in lowered.stages.items() if name.startswith("step-"))

    def take(self, line: bytes) -> bool:
        """One line of the stream; false when it is no progress."""
        events = self._stream.feed(line)
        for event in events or ():
            self._emit(event)
        return events is not None

    def end(self) -> None:
        """The stream is over."""
        for event in self._stream.finish():
            self._emit(event)

    @property
    def _stream(self) -> RawJsonParser:
        if self._parser is None:
            raise InternalError("progress came before the phase was known")
        return self._parser

    def _emit(self, event: Event) -> None:
        if isinstance(event, VertexLog):
            self._log(event.vertex).line(event.stream, event.data)
        else:
            self._solving.sink.emit(event)

    def _log(self, key: str) -> StepLog:
        """The log of a step, which hands lines on to the sink."""
        if key not in self._logs:
            name, sink, clock = self._definition[key].info.name, self._solving.sink, self._solving.parts.clock

            def on_line(stream: int, line: str) -> None:
                sink.emit(VertexLog(key, name, clock.monotonic(), stream, line))

            self._logs[key] = self._stack.enter_context(StepLog(self._solving.parts.store, name, key, on_line))
        return self._logs[key]

    # -- steps -------------------------------------------------------------------------------------------------------

    @property
    def failed(self) -> str:
        """The step that failed first, or nothing."""
        return next(iter(self._stream.failed()), "")

    @property
    def completed(self) -> frozenset[str]:
        """Steps that ended well."""
        ends = {key: self._stream.step(key) for key in self._steps}
        return frozenset(key for key, end in ends.items() if _ended_well(end))

    def seconds(self, key: str) -> float:
        """How long a step ran; 0 when the builder had its result."""
        return self._stream.step(key).seconds

    def keep_log(self, key: str) -> str:
        """The output of a step that ended well, as a blob; empty when the builder had its result."""
        return self._logs[key].keep() if key in self._logs else ""

    def failure(self, key: str) -> LamellaError:
        """What a failed step is told as, with its own last lines, its key and where its log is."""
        vertex, end = self._definition[key], self._stream.step(key)
        name, op = vertex.info.name, vertex.op
        parts = self._solving.resolver.parts(key, self._solving.results)
        resolved = parts.key if parts is not None else key
        error = _step_error(name, op, end) if isinstance(op, ExecOp) else StepError(f"{name} failed: {end.error}")
        explained = self._log(key).explain(error, resolved)
        now = self._solving.parts.clock.monotonic()
        self._solving.sink.emit(
            VertexFinished(key, name, now, "failed", end.seconds, error=error.message, key=resolved)
        )
        return explained

    def builder_failure(self, builder: str, baked: Baked) -> LamellaError:
        """What a call is told as that ended without a failed step: the builder's own words, secrets masked."""
        said = tuple(self._masker(line.encode()).decode("utf-8", "replace") for line in baked.said[-_SAID:])
        last = next((line.removeprefix("ERROR: ") for line in reversed(said) if line.startswith("ERROR")), "")
        text = "\n".join(said).lower()
        if any(word in text for word in _FULL):
            return ResourceError(f"{builder} is out of space: {last}", hint="docker buildx prune", details=said)
        if any(word in text for word in _DENIED):
            return AuthError(f"{builder} may not read what it needs: {last}", hint="docker login", details=said)
        why = last or (f"buildx was ended by signal {-baked.code}" if baked.code < 0 else "it gave no reason")
        return RegistryError(
            f"{builder} did not finish: {why}",
            hint="look at its daemon and run the build again: what had ended is not run twice",
            details=said,
        )


def _ended_well(end: StepEnd) -> bool:
    return (end.ran or end.cached) and not end.failed and not end.cancelled


def _step_error(name: str, op: ExecOp, end: StepEnd) -> LamellaError:
    word, _, number = end.trouble.partition(" ")
    hint = f"look at its surroundings with: lamella shell {name}"
    if end.command >= 0:
        shown = paste(op.commands[end.command].argv)
        shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
        return StepError(f"{name}: {shown} ended with exit status {end.code}", hint=hint)
    if number.isdigit() and word == "cwd":
        place = op.commands[int(number)].cwd or op.cwd
        return StepError(f"working directory {place} is not there", hint="a step does not make it by itself")
    if number.isdigit() and word == "missing":
        return StepError(
            f"the step made no {op.outputs[int(number)].source}",
            hint="its commands ended well, but the output they promise is not there",
        )
    if number.isdigit() and word == "kind":
        return StepError(f"output {op.outputs[int(number)].source} is neither a file nor a directory")
    return StepError(f"{name} failed on the builder: {end.error}", hint=hint)
