"""Runs the steps of one phase: stage what they read, one bake call, read back what they made, write records."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.engines.buildkit.bake import BakeCall, bake
from lamella.engines.buildkit.bases import Bases
from lamella.engines.buildkit.choice import Connected, Connection
from lamella.engines.buildkit.context import Context
from lamella.engines.buildkit.lower import lower
from lamella.engines.buildkit.observer import Observer
from lamella.engines.buildkit.phase import Lowered, LowerOptions, Phase
from lamella.engines.buildkit.results import Export, Results
from lamella.engines.buildkit.work import Selected, exec_op, known_inputs, select_steps
from lamella.engines.executor.executor import with_filesets
from lamella.engines.executor.products import Products
from lamella.engines.local.steps import StepMaker
from lamella.engines.solving import ResultChangedError, Solving
from lamella.errors import ConfigError, LamellaError
from lamella.graph.events import Message
from lamella.graph.mount import BindMount
from lamella.graph.record import Result
from lamella.values import dataclass, field

__all__ = ["PhaseSettings", "Phases"]

Warn = Callable[[str], None]

_BUNDLE = "ca.pem"
_EXPORTS = "exports"
_FILE_SECRET = 64 << 10
"""Bytes from which a secret goes to buildx by a file: the environment of a program is bounded."""


@dataclass(frozen=True, slots=True)
class PhaseSettings:
    """What the user configured; none of it is in a key.

    ``context`` begins the name of the folder that is sent: a builder keeps one copy per name and drops from it what a
    call does not read, so it is the project's own, and each set of bases and each platform has one. ``why`` says why a
    builder runs steps that nobody sent there. The rest is as in ``LowerOptions``.
    """

    context: str
    network: str = "default"
    allow_network: bool = False
    ca_bundle: Path | None = None
    step_env: FrozenMap[str, str] = EMPTY_MAP
    proxies: FrozenMap[str, str] = field(default=EMPTY_MAP, repr=False)
    why: str = ""


class Phases:
    """``engine.PhaseRunner`` on a builder."""

    def __init__(self, connection: Connection, steps: StepMaker, products: Products, settings: PhaseSettings) -> None:
        self._connection = connection
        self._steps = steps
        self._products = products
        self._settings = settings
        self._said: set[str] = set()
        self._saying = threading.Lock()

    def check(self, platform: str) -> None:
        """See ``engine.PhaseRunner``."""
        self._connection.open(platform, lambda text: None)

    def run(
        self, solving: Solving, wanted: tuple[str, ...], nonce: str, cancelled: threading.Event
    ) -> dict[str, LamellaError]:
        """See ``engine.PhaseRunner``."""
        platform = solving.request.definition[wanted[0]].execution

        def say(level: str, text: str) -> None:
            with self._saying:
                if text in self._said:  # once for this engine
                    return
                self._said.add(text)
                solving.sink.emit(Message(solving.parts.clock.monotonic(), level, text))

        connected = self._connection.open(platform, lambda text: say("warning", text))
        solving.uses(connected.use(self._settings.why))
        chosen = select_steps(solving, wanted, platform, nonce)
        errors: dict[str, LamellaError] = {}
        while chosen.steps and not cancelled.is_set():
            with Observer(solving) as observer:
                call = _Call(solving, self._steps, self._products, self._settings, connected, chosen, nonce)
                failed = call.run(observer, cancelled, lambda text: say("warning", text))
                if not failed:
                    break
                errors[failed] = observer.failure(failed)
                keep_going = solving.request.options.keep_going
                chosen = chosen.without(solving, failed, None if keep_going else observer.completed)
        return errors


class _Call:
    """One bake call from its context to its records."""

    def __init__(
        self,
        solving: Solving,
        steps: StepMaker,
        products: Products,
        settings: PhaseSettings,
        connected: Connected,
        chosen: Selected,
        nonce: str,
    ) -> None:
        self._solving = solving
        self._steps = steps
        self._products = products
        self._settings = settings
        self._connected = connected
        self._chosen = chosen
        self._nonce = nonce
        self._definition = solving.request.definition

    def run(self, observer: Observer, cancelled: threading.Event, warn: Warn) -> str:
        """Runs it and writes records; the step that failed, or nothing. Raises what is no step's fault."""
        with self._solving.parts.store.snapshots.stage() as staged:
            folder = staged.folder
            (folder / _EXPORTS).mkdir(mode=0o700)
            lowered = self._lowered(folder)
            for note in lowered.notes:
                warn(note)
            call = BakeCall(self._connected.buildx, self._connected.builder.name, folder, self._values(lowered))
            observer.expect(lowered)
            baked = bake(call, lowered, observer.take, cancelled)
            observer.end()
            if baked.code and observer.failed:
                return observer.failed
            if baked.code:
                raise observer.builder_failure(str(self._connected), baked)
            self._take_back(lowered, observer, folder / _EXPORTS)
        return ""

    # -- there -------------------------------------------------------------------------------------------------------

    def _lowered(self, folder: Path) -> Lowered:
        """Fills the context folder and lowers the phase."""
        settings, chosen = self._settings, self._chosen
        context = Context(self._solving.parts.store, self._products, folder / "context")
        bases = Bases(self._solving, self._solving.parts.store, context)
        inputs: dict[str, str] = {}
        for key in chosen.steps:
            work = known_inputs(self._solving, key)
            op = exec_op(work.vertex)
            vertex = self._definition[key]
            bases.add(vertex.inputs[0].vertex, chosen.steps.__contains__)
            for mount in op.mounts:
                product = vertex.inputs[mount.input].vertex if isinstance(mount, BindMount) else ""
                if product and product not in chosen.steps:
                    inputs[product] = context.add_input(work, product)
        platform = self._definition[next(iter(chosen.steps))].execution
        name = f"{settings.context}-{bases.name}-{platform.replace('/', '-')}"
        options = self._options(context, name, folder)
        lowered = lower(self._phase(bases, inputs), self._connected.level, options)
        context.add_files(lowered.files)
        context.finish(folder / name)
        return lowered

    def _phase(self, bases: Bases, inputs: dict[str, str]) -> Phase:
        chosen, request = self._chosen, self._solving.request
        rootfs = frozenset(key for key in chosen.steps if not exec_op(self._definition[key]).outputs)
        forced = request.options.force & frozenset(chosen.steps)
        return Phase(
            project=request.project,
            definition=self._definition,
            steps=tuple(chosen.steps),
            bases=FrozenMap(bases.refs),
            added=FrozenMap(bases.added),
            inputs=FrozenMap(inputs),
            products=frozenset(chosen.steps) - rootfs,
            rootfs=frozenset(chosen.whole),
            identities=rootfs,
            states=FrozenMap(chosen.states),
            secrets=frozenset(request.secrets),
            forced=forced,
            nonce=self._nonce if forced else "",
        )

    def _options(self, context: Context, name: str, folder: Path) -> LowerOptions:
        settings = self._settings
        if settings.ca_bundle is not None:
            context.add_files({_BUNDLE: _read_bundle(settings.ca_bundle)})
        return LowerOptions(
            network=settings.network,
            allow_network=settings.allow_network,
            no_cache=False,
            proxies=settings.proxies,
            step_env=settings.step_env,
            ca_bundle=_BUNDLE if settings.ca_bundle is not None else "",
            context=name,
            exports=_EXPORTS,
            secret_files=self._secret_files(folder),
        )

    def _secret_files(self, folder: Path) -> FrozenMap[str, str]:
        """Secrets that no environment variable can hold, as files of this user beside the context."""
        found: dict[str, str] = {}
        for number, (name, value) in enumerate(sorted(self._solving.request.secrets.items())):
            if b"\0" in value or len(value) > _FILE_SECRET:
                path = folder / f"secret-{number}"
                path.touch(mode=0o600)
                path.write_bytes(value)
                found[name] = str(path)
        return FrozenMap(found)

    def _values(self, lowered: Lowered) -> FrozenMap[str, str]:
        """Values of secrets by the variables that buildx reads."""
        values = self._solving.request.secrets
        return FrozenMap({
            variable: values[name].decode("utf-8", "surrogateescape")
            for name, variable in lowered.secrets.items()
            if b"\0" not in values[name] and len(values[name]) <= _FILE_SECRET
        })  # fmt: skip

    # -- and back ----------------------------------------------------------------------------------------------------

    def _take_back(self, lowered: Lowered, observer: Observer, folder: Path) -> None:
        """Records of all steps, inputs first. A step that ran on something else than what its records name now gets
        none: it runs again.
        """
        exports = {(target.vertex, target.kind): (target, folder / target.file) for target in lowered.targets}
        results = Results(self._solving, self._steps)
        other: set[str] = set()
        for key in self._chosen.steps:
            if any(edge.vertex in other for edge in self._definition[key].inputs):
                other.add(key)
                continue
            files = {kind: found for (vertex, kind), found in exports.items() if vertex == key}
            hermetic = exec_op(self._definition[key]).network == "none" and key not in lowered.open_network
            if not self._take_one(key, results, observer, Export(files, observer.keep_log(key), hermetic)):
                other.add(key)

    def _take_one(self, key: str, results: Results, observer: Observer, export: Export) -> bool:
        """Notes the result of one step; whether it is what the step's users in this call have seen."""
        solving = self._solving
        known = solving.results.get(key)
        work = solving.work(key)
        made = with_filesets(results.made(work, exec_op(work.vertex), export), work, solving.parts.store)
        if known is None:
            there = solving.reused(work)
            if there is not None:
                solving.done(key, there)
                return _same(there.result, made.result)
        elif _same(known, made.result):  # it ran again for its bytes: its record stays as it is
            return True
        outcome = solving.finish(work, made, observer.seconds(key))
        solving.done(key, outcome)
        if known is not None:
            raise ResultChangedError
        return True


def _same(one: Result, other: Result) -> bool:
    """Whether what stands on two results has equal keys."""
    return (one.tree, one.identity) == (other.tree, other.identity)


def _read_bundle(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"CA bundle {path} cannot be read: {error.strerror}") from error
