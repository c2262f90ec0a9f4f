"""``lamella lock``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lamella.cli.messages import say
from lamella.cli.options import file_option, format_option, source_options
from lamella.cli.session import project_session

__all__ = ["command"]


@click.command("lock")
@file_option
@source_options
@click.option(
    "--upgrade",
    "upgrade",
    multiple=True,
    metavar="NAME",
    help="Resolve a base, a layer's set or a tool anew; 'all' for everything.",
)
@click.option("--check", is_flag=True, help="Change nothing; exit 2 when the lock is not up to date.")
@format_option
def command(
    file: Path | None,
    build_args: tuple[str, ...],
    contexts: tuple[str, ...],
    upgrade: tuple[str, ...],
    check: bool,
    output_format: str,
) -> None:
    """Write lamella.lock: digests of bases, resolved Python sets, tools.

    This is the only command that resolves anything; plan and build take what the lock holds. Commit the file. A base is
    pulled to be looked into only where planning must know what is inside.

    \b
    lamella lock                      what is new or changed
    lamella lock --upgrade all        everything anew
    lamella lock --upgrade deps       one layer's set
    lamella lock --check              ask nobody; exit 2 with the difference when it is not up to date
    """
    session = project_session(file, build_args, contexts)
    chosen = None if not upgrade else () if "all" in upgrade else upgrade
    changes, written = session.write_lock(upgrade=chosen, say=say, check=check)
    if output_format == "json":
        rows = [{"what": c.what, "before": c.before, "after": c.after} for c in changes]
        click.echo(json.dumps({"changes": rows, "written": written}, indent=2))
        return
    for change in changes:
        arrow = f"{change.before or '-'} -> {change.after or 'dropped'}"
        click.echo(f"{change.what}: {arrow}")
    say("lamella.lock written" if written else "lamella.lock is up to date")
