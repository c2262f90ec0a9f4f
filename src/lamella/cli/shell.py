"""``lamella shell``."""

from __future__ import annotations

from pathlib import Path

import click

from lamella.api.options import EngineOptions
from lamella.build.options import BuildOptions
from lamella.cli.options import complete_layers, file_option, selection_from, source_options
from lamella.cli.progress import open_progress
from lamella.cli.secrets import read_secrets
from lamella.cli.session import command_settings, project_session

__all__ = ["command"]


@click.command("shell")
@click.argument("layer", shell_complete=complete_layers)
@click.option("--dev", "profile", flag_value="dev", default=None, help="The cell of the dev profile.")
@click.option("--prod", "profile", flag_value="prod", help="The cell of the prod profile.")
@click.option("--only", multiple=True, metavar="AXIS=V", help="The cell with this value of an axis.")
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH", help="The cell of this platform.")
@file_option
@source_options
@click.option("--secret", "secrets", multiple=True, metavar="id=NAME[,src=FILE|,env=VAR]", help="A secret's value.")
def command(
    layer: str,
    profile: str | None,
    only: tuple[str, ...],
    platforms: tuple[str, ...],
    file: Path | None,
    build_args: tuple[str, ...],
    contexts: tuple[str, ...],
    secrets: tuple[str, ...],
) -> int:
    """Open a shell where the step of LAYER runs.

    It has the step's root file system, sources, environment, caches and secrets, and the network only when the step
    has it. What the step stands on is built first. Writes are thrown away, but for states and caches. It is on this
    machine, whatever engine builds.

    \b
    lamella shell app                 the layer's last step
    lamella shell app:deps            that of a part
    """
    from lamella.api.layers import open_shell

    settings = command_settings()
    session = project_session(file, build_args, contexts, engine=EngineOptions("local"))
    name, _, _ = layer.partition(":")
    selection = selection_from((), profile, only, platforms, every=False, layer=name)
    options = BuildOptions(secrets=read_secrets(session.project, secrets, settings.environ, session.root))
    with open_progress("plain", terminal=settings.terminal) as sink:
        return open_shell(session, selection, layer if ":" in layer else "", options, sink)
