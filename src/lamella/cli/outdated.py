"""``lamella outdated``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lamella.canonical import plain
from lamella.cli.messages import say
from lamella.cli.options import file_option, format_option, source_options
from lamella.cli.report import table
from lamella.cli.session import project_session
from lamella.oci.digest import is_digest, short_digest

__all__ = ["command"]


@click.command("outdated")
@file_option
@source_options
@click.option("--exit-code", is_flag=True, help="End with 10 when something moved.")
@format_option
def command(
    file: Path | None, build_args: tuple[str, ...], contexts: tuple[str, ...], exit_code: bool, output_format: str
) -> None:
    """Say what moved since the locks were written: base tags, resolved sets, tools, crates, wheels, npm packages.

    Nothing is changed. lamella.lock's pins are asked for in registries and indexes; Cargo.lock, uv.lock and
    package-lock.json through cargo, uv and npm where they are installed.

    \b
    lamella outdated
    lamella outdated --exit-code      for a scheduled job: 10 when there is something to take
    """
    from lamella.api.outdated import find_outdated

    session = project_session(file, build_args, contexts)
    report = find_outdated(session, say=say)
    if output_format == "json":
        click.echo(json.dumps({"format": 1, **plain(report)}, indent=2, ensure_ascii=False))
    else:
        rows = [(row.where, row.name, _short(row.locked), _short(row.newest), row.update) for row in report.rows]
        for line in table([("LOCK", "NAME", "LOCKED", "NEWEST", "TAKE IT WITH"), *rows]) if rows else ():
            click.echo(line)
        for text in report.skipped:
            say(f"not looked at: {text}")
        nothing = "nothing moved in what was looked at" if report.skipped else "nothing moved"
        say(f"{len(rows)} newer" if rows else nothing)
    if exit_code and report.rows:
        click.get_current_context().exit(10)


def _short(text: str) -> str:
    return short_digest(text) if is_digest(text) else text
