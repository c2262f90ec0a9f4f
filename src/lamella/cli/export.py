"""``lamella export``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lamella.build.options import BuildOptions
from lamella.cli.messages import format_size, say
from lamella.cli.options import (
    complete_layers,
    file_option,
    format_option,
    parse_size,
    progress_option,
    selection_from,
    source_options,
)
from lamella.cli.progress import open_progress
from lamella.cli.secrets import read_secrets
from lamella.cli.session import command_settings, project_session

__all__ = ["command"]


@click.command("export")
@click.argument("layer", shell_complete=complete_layers)
@click.argument("path", type=click.Path())
@click.option("--dev", "profile", flag_value="dev", default=None, help="The cell of the dev profile.")
@click.option("--prod", "profile", flag_value="prod", help="The cell of the prod profile.")
@click.option("--only", multiple=True, metavar="AXIS=V", help="The cell with this value of an axis.")
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH", help="The cell of this platform.")
@file_option
@source_options
@click.option("--force", is_flag=True, help="Replace a folder that is not empty.")
@click.option("--secret", "secrets", multiple=True, metavar="id=NAME[,src=FILE|,env=VAR]", help="A secret's value.")
@click.option("-j", "--jobs", type=click.IntRange(1), default=None, help="Steps at a time. [default: cores]")
@click.option("--memory", default=None, metavar="SIZE", help="Memory for all steps together.")
@click.option("--offline", is_flag=True, help="Refuse to use the network.")
@progress_option()
@format_option
def command(
    layer: str,
    path: str,
    profile: str | None,
    only: tuple[str, ...],
    platforms: tuple[str, ...],
    file: Path | None,
    build_args: tuple[str, ...],
    contexts: tuple[str, ...],
    force: bool,
    secrets: tuple[str, ...],
    jobs: int | None,
    memory: str | None,
    offline: bool,
    progress: str,
    output_format: str,
) -> None:
    """Build the product of LAYER and copy it to PATH.

    A product of one file becomes the file PATH, or a file in PATH when that is a folder or ends with a slash. A product
    of several becomes the folder PATH, which must be new or empty. It appears whole or not at all, and nothing is
    written through a symlink.

    \b
    lamella export app ./shop         the binary
    lamella export ui dist --prod     a folder
    lamella export ui dist --force    again
    """
    from lamella.api.layers import export_layer

    settings = command_settings()
    session = project_session(file, build_args, contexts, offline=offline)
    selection = selection_from((), profile, only, platforms, every=False, layer=layer)
    options = BuildOptions(
        jobs=jobs or 0,
        memory=parse_size(memory, "--memory"),
        offline=offline,
        secrets=read_secrets(session.project, secrets, settings.environ, session.root),
    )
    target = Path(path).absolute()
    with open_progress(progress, terminal=settings.terminal) as sink:
        size, report = export_layer(session, selection, target, options, sink, folder=path.endswith("/"), force=force)
    if output_format == "json":
        data = {"format": 1, "layer": layer, "path": str(target), "size": size, "built": report.count("built")}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        click.echo(path)
    say(f"{layer}: {format_size(size)} ({report.count('built')} built, {report.count('reused')} reused)")
