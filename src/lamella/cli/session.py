"""Opens a session for a command: settings, messages, project."""

from __future__ import annotations

from pathlib import Path

import click

from lamella.api.options import EngineOptions
from lamella.api.session import Session, SessionOptions, open_session
from lamella.canonical import FrozenMap
from lamella.cli.messages import set_color, warn
from lamella.cli.options import engine_from, pairs
from lamella.cli.settings import Settings, read_settings
from lamella.values import replace

__all__ = ["command_settings", "project_session", "session_options"]


def command_settings() -> Settings:
    """The settings, with colour switched as they say."""
    settings = read_settings()
    set_color(settings.color)
    return settings


def session_options(settings: Settings, *, offline: bool = False) -> SessionOptions:
    """What a session takes from the settings."""
    return SessionOptions(
        store=settings.store,
        ca_bundle=settings.ca_bundle,
        snapshot_mirror=settings.snapshot_mirror,
        insecure_registries=settings.insecure_registries,
        docker_config=settings.docker_config,
        environ=settings.environ,
        offline=offline,
        engine=engine_from({}, settings.environ),
    )


def project_session(
    file: Path | None,
    build_args: tuple[str, ...] = (),
    contexts: tuple[str, ...] = (),
    *,
    offline: bool = False,
    later: bool = False,
    engine: EngineOptions | None = None,
    cache_from: tuple[str, ...] = (),
    cache_to: str = "",
    channel: str = "",
) -> Session:
    """The session of a project; closed when the command ends. ``later``: see ``lamella.api.open_session``.

    A command that takes ``engine`` names a builder, and a wrong name is said even where nothing has to be built.
    """
    settings = command_settings()
    options = replace(
        session_options(settings, offline=offline), cache_from=cache_from, cache_to=cache_to, channel=channel
    )
    session = open_session(
        file,
        Path.cwd(),
        replace(options, engine=engine) if engine is not None else options,
        arguments=FrozenMap(pairs(build_args, "--build-arg")),
        contexts=FrozenMap({name: Path(path) for name, path in pairs(contexts, "--build-context").items()}),
        warn=warn,
        later=later,
    )
    click.get_current_context().call_on_close(session.close)
    if engine is not None:
        from lamella.api.builders import check_builder

        check_builder(session)
    return session
