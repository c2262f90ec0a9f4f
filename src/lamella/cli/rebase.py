"""``lamella rebase``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamella.build.options import BuildOptions
from lamella.cli.messages import say
from lamella.cli.options import format_option, progress_option, project_options, selection_from
from lamella.cli.report import build_summary, report_json
from lamella.cli.session import command_settings, project_session

if TYPE_CHECKING:
    from lamella.api.rebase import Rebase

__all__ = ["command"]


@click.command("rebase")
@project_options
@click.option(
    "--base", "bases", multiple=True, metavar="REFERENCE", help="Only this base. [default: all of the images]"
)
@click.option("--dry-run", is_flag=True, help="Say what would move and what would be made again; change nothing.")
@progress_option()
@format_option
def command(
    images: tuple[str, ...],
    profile: str | None,
    only: tuple[str, ...],
    platforms: tuple[str, ...],
    every: bool,
    file: Path | None,
    build_args: tuple[str, ...],
    contexts: tuple[str, ...],
    bases: tuple[str, ...],
    dry_run: bool,
    progress: str,
    output_format: str,
) -> None:
    """Put images on their bases as those are now, and keep every layer that does not stand on a base.

    The bases' digests move in lamella.lock; packages and users are installed on the new base; files, programs and
    wheels stay the very same layers. Commit the lock afterwards; publish as usual.

    \b
    lamella rebase --dry-run              what would move
    lamella rebase                        every image, dev
    lamella rebase api --prod --base registry.example/base:1
    """
    from lamella.api.rebase import prepare_rebase

    selection = selection_from(images, profile, only, platforms, every)
    session = project_session(file, build_args, contexts)
    found = prepare_rebase(session, selection, bases, say=say)
    if found is None:
        _print(output_format, {"format": 1, "changes": []}, ["no base has moved; nothing to do"])
        return
    data = {"format": 1, **_json(found)}
    if dry_run:
        _print(output_format, data, _lines(found))
        return
    from lamella.cli.progress import open_progress

    if output_format == "text":
        for line in _lines(found):
            say(line)
    session.save_lock(found.lock)
    with open_progress(progress, terminal=command_settings().terminal) as sink:
        report = session.build(selection, BuildOptions(), sink)
    _print(output_format, {**data, "build": report_json(report, ())}, build_summary(report, ()))


def _print(output_format: str, data: dict[str, object], lines: list[str]) -> None:
    if output_format == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    for line in lines if output_format == "text" else ():
        click.echo(line)


def _lines(found: Rebase) -> list[str]:
    lines = [f"{change.what}: {change.before} -> {change.after}" for change in found.changes]
    kept = [item.name for item in found.plan.vertices if item.status in ("reused", "restored")]
    again = [item for item in found.plan.vertices if item.status not in ("reused", "restored")]
    lines += [f"  {item.status:9} {item.name}: {item.why}" for item in again]
    return [*lines, f"{len(kept)} kept, {len(again)} to look at again"]


def _json(found: Rebase) -> dict[str, object]:
    return {
        "changes": [{"what": c.what, "before": c.before, "after": c.after} for c in found.changes],
        "vertices": [{"name": v.name, "status": v.status, "why": v.why} for v in found.plan.vertices],
    }
