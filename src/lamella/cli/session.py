"""Opens a session for a command: settings, messages, project."""

from __future__ import annotations

from pathlib import Path

import click

from lamella.api.session import Session, SessionOptions, open_session
from lamella.canonical import FrozenMap
from lamella.cli.messages import set_color, warn
from lamella.cli.options import pairs
from lamella.cli.settings import Settings, read_settings

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
    )


def project_session(
    file: Path | None,
    build_args: tuple[str, ...] = (),
    contexts: tuple[str, ...] = (),
    *,
    offline: bool = False,
    later: bool = False,
) -> Session:
    """The session of a project; closed when the command ends. ``later``: see ``lamella.api.open_session``."""
    settings = command_settings()
    session = open_session(
        file,
        Path.cwd(),
        session_options(settings, offline=offline),
        arguments=FrozenMap(pairs(build_args, "--build-arg")),
        contexts=FrozenMap({name: Path(path) for name, path in pairs(contexts, "--build-context").items()}),
        warn=warn,
        later=later,
    )
    click.get_current_context().call_on_close(session.close)
    return session
