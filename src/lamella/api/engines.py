"""Chooses the engine of a session and puts the BuildKit one together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamella.api.builders import check_builder
from lamella.api.local import EngineContext, Steps, make_parts
from lamella.engines.base import Engine, SolveOutcome, SolveRequest
from lamella.engines.local.solver import LocalEngine
from lamella.errors import ConfigError, RegistryError, SandboxError
from lamella.graph.events import EventSink

if TYPE_CHECKING:
    from lamella.api.options import SessionOptions
    from lamella.engines.buildkit.engine import BuildkitEngine
    from lamella.engines.solving import EngineParts
    from lamella.project.projectfile import ProjectFile

__all__ = ["ENGINES", "ProjectContext", "describe_builder", "make_engine"]

ENGINES = ("auto", "local", "buildkit")


class ProjectContext(EngineContext, Protocol):
    """What the choice of an engine needs of a session."""

    @property
    def project(self) -> ProjectFile:
        """The project file."""


def make_engine(session: ProjectContext) -> Engine:
    """The engine that the command line, LAMELLA_ENGINE or the project names; by itself the embedded one, and a builder
    where that one cannot run. Nothing is started yet. Raises ConfigError for an unknown name, of a builder too.
    """
    name = session.options.engine.name or session.project.engine.name
    if name not in ENGINES:
        raise ConfigError(f"there is no engine {name!r}", hint=f"engines are {', '.join(ENGINES)}")
    check_builder(session)
    parts, steps = make_parts(session)
    if name == "buildkit":
        steps.runner.allow()
        return _buildkit(session, parts, steps)
    return LocalEngine(parts) if name == "local" else _AutoEngine(session, parts, steps)


def _buildkit(session: ProjectContext, parts: EngineParts, steps: Steps, why: str = "") -> BuildkitEngine:
    from lamella.api.sandbox import PROXIES
    from lamella.canonical import FrozenMap, digest_value
    from lamella.engines.buildkit.choice import Connection
    from lamella.engines.buildkit.engine import BuildkitEngine
    from lamella.engines.buildkit.phases import Phases, PhaseSettings
    from lamella.oci.digest import short_digest
    from lamella.process import base_env

    options = session.options
    settings = PhaseSettings(
        context=f"lamella-{short_digest(digest_value({'root': str(session.root)}))}",
        network=options.engine.network,
        allow_network=options.engine.allow_network,
        ca_bundle=options.ca_bundle,
        proxies=FrozenMap(base_env(options.environ, PROXIES)),
        why=why,
    )
    connection = Connection(options.environ, options.engine.builder, emulate=options.engine.emulate)
    return BuildkitEngine(parts, Phases(connection, steps.maker, steps.maker.products, settings))


def describe_builder(options: SessionOptions) -> str:
    """The builder that would be used, in words. Raises SandboxError, ConfigError, RegistryError as a build would."""
    from lamella.engines.buildkit.buildx import find_builder, find_buildx, level_of_node

    found = find_builder(find_buildx(options.environ), options.engine.builder)
    nodes = [
        f"{node.platforms[0] if node.platforms else 'unknown platform'} {level_of_node(node)}" for node in found.nodes
    ]
    return f"{found.name} ({found.driver}): {', '.join(nodes)}"


class _AutoEngine:
    """The embedded engine, and where its sandbox cannot be had a builder that answers."""

    name = "auto"

    def __init__(self, session: ProjectContext, parts: EngineParts, steps: Steps) -> None:
        self._session = session
        self._parts = parts
        self._steps = steps
        self._local = LocalEngine(parts, steps.check, "this machine can run the steps")

    def solve(self, request: SolveRequest, sink: EventSink) -> SolveOutcome:
        """See :class:`lamella.engines.base.Engine`. What the first engine made has its record for the second."""
        try:
            return self._local.solve(request, sink)
        except SandboxError as error:
            why = error
        reason = f"the embedded engine cannot run the steps: {why.message}"
        self._steps.runner.allow()
        try:
            return _buildkit(self._session, self._parts, self._steps, reason).solve(request, sink)
        except (SandboxError, RegistryError) as error:
            details = (*why.details, f"and on a builder: {error.message}")
            raise SandboxError(why.message, hint=why.hint, details=details) from error

    def close(self) -> None:
        """Ends helpers."""
        self._local.close()
