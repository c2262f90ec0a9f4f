"""A builder that somebody named is one that there is: asked of buildx's files; no process, no daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lamella.api.options import SessionOptions
    from lamella.project.projectfile import ProjectFile

__all__ = ["check_builder", "named_builder"]


class NamedBuilder(Protocol):
    """A session, as far as it matters here."""

    @property
    def options(self) -> SessionOptions:
        """What the caller's surroundings give."""

    @property
    def project(self) -> ProjectFile:
        """The project file."""


def named_builder(options: SessionOptions) -> str:
    """The builder that the command line or BUILDX_BUILDER names; empty for none, and where no builder is used."""
    name = options.engine.builder or options.environ.get("BUILDX_BUILDER", "")
    return "" if options.engine.name == "local" else name


def check_builder(session: NamedBuilder) -> None:
    """Raises ConfigError (2) for a name of ``--builder``, or of BUILDX_BUILDER where builders are used, that no builder
    has. So it is said also by a build that has nothing to do.
    """
    engine, environ = session.options.engine, session.options.environ
    name = named_builder(session.options)
    if not name:
        return
    from lamella.engines.buildkit.names import check_name

    config = session.options.docker_config or Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    error = check_name(name, environ, config)
    if error is not None and (engine.builder or (engine.name or session.project.engine.name) == "buildkit"):
        raise error
