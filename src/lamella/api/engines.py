"""Chooses the engine of a session and puts the BuildKit one together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamella.api.local import EngineContext, make_parts
from lamella.api.sandbox import PROXIES
from lamella.canonical import FrozenMap, digest_value
from lamella.engines.base import Engine, SolveOutcome, SolveRequest
from lamella.engines.buildkit.choice import Connection
from lamella.engines.buildkit.engine import BuildkitEngine
from lamella.engines.buildkit.phases import Phases, PhaseSettings
from lamella.engines.local.solver import LocalEngine
from lamella.errors import ConfigError, LamellaError, SandboxError
from lamella.graph.events import EventSink, Message
from lamella.oci.digest import short_digest
from lamella.process import base_env

if TYPE_CHECKING:
    from lamella.engines.local.steps import StepMaker
    from lamella.project.projectfile import ProjectFile

__all__ = ["ENGINES", "ProjectContext", "make_engine"]

ENGINES = ("auto", "local", "buildkit")


class ProjectContext(EngineContext, Protocol):
    """What the choice of an engine needs of a session."""

    @property
    def project(self) -> ProjectFile:
        """The project file."""


def make_engine(session: ProjectContext) -> Engine:
    """The engine that the command line, LAMELLA_ENGINE or the project names; by itself the embedded one, and a builder
    where that one cannot run. Nothing is started yet. Raises ConfigError for an unknown name.
    """
    name = session.options.engine.name or session.project.engine.name
    if name not in ENGINES:
        raise ConfigError(f"there is no engine {name!r}", hint=f"engines are {', '.join(ENGINES)}")
    parts, steps = make_parts(session)
    if name == "local":
        return LocalEngine(parts)
    buildkit = BuildkitEngine(parts, _phases(session, steps))
    return buildkit if name == "buildkit" else _AutoEngine(LocalEngine(parts), buildkit, session)


def _phases(session: ProjectContext, steps: StepMaker) -> Phases:
    options = session.options
    place = short_digest(digest_value({"root": str(session.root)}))
    settings = PhaseSettings(
        context=f"lamella-{place}",
        network=options.engine.network,
        allow_network=options.engine.allow_network,
        ca_bundle=options.ca_bundle,
        proxies=FrozenMap(base_env(options.environ, PROXIES)),
    )
    connection = Connection(options.environ, options.engine.builder, emulate=options.engine.emulate)
    return Phases(connection, steps, steps.products, settings)


class _AutoEngine:
    """The embedded engine, and where its sandbox cannot be had a builder that answers."""

    name = "auto"

    def __init__(self, local: LocalEngine, buildkit: BuildkitEngine, session: ProjectContext) -> None:
        self._local = local
        self._buildkit = buildkit
        self._session = session

    def solve(self, request: SolveRequest, sink: EventSink) -> SolveOutcome:
        """See :class:`lamella.engines.base.Engine`. What the first engine made has its record for the second."""
        try:
            return self._local.solve(request, sink)
        except SandboxError as error:
            why = error
        try:
            text = f"engine buildkit, because the embedded one cannot run these steps: {why.message}"
            sink.emit(Message(self._session.clock.monotonic(), "info", text))
            return self._buildkit.solve(request, sink)
        except LamellaError as error:
            if error.exit_code not in (SandboxError.exit_code, 6):
                raise
            raise SandboxError(
                why.message, hint=why.hint, details=(*why.details, f"and no builder: {error.message}")
            ) from error

    def close(self) -> None:
        """Ends helpers."""
        self._local.close()
