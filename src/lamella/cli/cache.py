"""``lamella cache``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from lamella.api.removal import SandboxRemover
from lamella.api.session import open_store
from lamella.canonical import plain
from lamella.cli.messages import format_size, paint, say, warn
from lamella.cli.options import format_option, parse_age, parse_size
from lamella.cli.report import table
from lamella.cli.session import command_settings, session_options
from lamella.store.collection import GcPolicy
from lamella.store.status import Usage
from lamella.store.store import Store

__all__ = ["command"]

_SHOWN = 20
"""Rows of a table, unless all are asked for."""


@click.group("cache")
def command() -> None:
    """Look after the local store: what is there, is it sound, what can go.

    The store is $XDG_CACHE_HOME/lamella, or $LAMELLA_STORE.

    \b
    lamella cache status              what is there
    lamella cache gc                  delete what nothing needs
    lamella cache verify              read everything again
    """


def _store() -> Store:
    """The store, closed when the command ends; trees of subordinate ids are deleted by the sandbox's helper."""
    options = session_options(command_settings())
    store = open_store(options, warn=warn)
    remover = SandboxRemover(store, options)
    store.set_remover(remover)
    context = click.get_current_context()
    context.call_on_close(remover.close)
    context.call_on_close(store.close)
    return store


def _print_json(value: object, **more: Any) -> None:
    click.echo(json.dumps({"format": 1, **plain(value), **more}, indent=2, ensure_ascii=False))


@command.command("status")
@click.option("--all", "every", is_flag=True, help=f"All rows, not the {_SHOWN} largest of each table.")
@format_option
def status(every: bool, output_format: str) -> None:
    """Show what the store holds, by kind, project, layer and age.

    Rows by kind add up to the total. What two layers share counts for both of them.
    """
    found = _store().status()
    if output_format == "json":
        tables = {name: plain(getattr(found, name)) for name in ("kinds", "projects", "layers", "ages", "unreferenced")}
        _print_json({"root": str(found.root), "size": found.size}, **tables)
        return
    click.echo(f"{found.root}  {format_size(found.size)}")
    for title, rows in (
        ("KIND", found.kinds),
        ("PROJECT", found.projects),
        ("LAYER", found.layers),
        ("LAST USED", found.ages),
    ):
        for line in _usage(title, [row for row in rows if row.count], every=every):
            click.echo(line)
    if found.unreferenced.count:
        say(f"{found.unreferenced.count} of them ({format_size(found.unreferenced.size)}) are used by nothing any more")


def _usage(title: str, rows: list[Usage], *, every: bool) -> Iterable[str]:
    if not rows:
        return
    shown = rows if every else rows[:_SHOWN]
    cells = [(row.name, str(row.count), format_size(row.size)) for row in shown]
    yield ""
    yield from table([(title, "COUNT", "SIZE"), *cells], right=frozenset({1, 2}))
    if len(rows) > len(shown):
        yield f"... and {len(rows) - len(shown)} more (--all)"


@command.command("verify")
@click.option("--deep", is_flag=True, help="Read the files of unpacked snapshots too.")
@format_option
def verify(deep: bool, output_format: str) -> int:
    """Read everything again and compare it with its digest.

    What is corrupt goes into quarantine, so that the next build makes it anew. Exits 3 when something is wrong.
    """
    report = _store().verify(deep=deep)
    error = report.error()
    if output_format == "json":
        _print_json(report, clean=report.clean)
        return error.exit_code if error is not None else 0
    if error is not None:
        raise error
    checked = ", ".join(f"{kind} {count}" for kind, count in sorted(report.checked.items()) if count)
    click.echo(f"clean ({checked}); {format_size(report.read_bytes)} read")
    return 0


@command.command("repair")
@format_option
def repair(output_format: str) -> None:
    """Drop what points to nothing and make the index anew from the files.

    Sound objects are never touched. Run verify first: it finds what is corrupt.
    """
    report = _store().repair()
    if output_format == "json":
        _print_json(report)
        return
    for item in report.done:
        click.echo(f"{item.kind} {item.id}: {item.what}")
    say(f"{len(report.done)} things put right; the index has {report.records} records")


@command.command("gc")
@click.option("--keep", metavar="AGE", default="30d", show_default=True, help="Keep what was used within this time.")
@click.option("--max-size", metavar="SIZE", default=None, help="Take the longest unused until the rest fits.")
@click.option("--all", "every", is_flag=True, help="Also the newest record of each layer, when it is old enough.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@format_option
def gc(keep: str, max_size: str | None, every: bool, dry_run: bool, output_format: str) -> None:
    """Delete what nothing needs.

    Named images, running builds and the newest record of each layer are always kept; objects that nothing refers to
    go after a day, or after the time of --keep when that is shorter.

    \b
    lamella cache gc                  what was not used for 30 days
    lamella cache gc --max-size 20GB  and more, until 20 GB are left
    lamella cache gc --dry-run
    """
    age = parse_age(keep, "--keep")
    limit = parse_size(max_size, "--max-size") or None
    policy = GcPolicy(keep=age, latest=not every, grace=min(age, GcPolicy().grace), max_size=limit)
    report = _store().gc(policy, dry_run=dry_run)
    if output_format == "json":
        _print_json(report, freed_bytes=report.freed_bytes)
        return
    kinds: dict[str, list[int]] = {}
    for removal in report.removed:
        kinds.setdefault(removal.kind, []).append(removal.size)
    rows: list[tuple[str, ...]] = [
        (kind, str(len(sizes)), format_size(sum(sizes))) for kind, sizes in sorted(kinds.items())
    ]
    for line in table(rows, right=frozenset({1, 2})):
        click.echo(line)
    for removal in report.busy:
        say(f"{paint('busy:', 'yellow')} {removal.kind} {removal.id[:12]} is in use and stays")
    verb = "would be freed" if dry_run else "freed"
    say(f"{format_size(report.freed_bytes)} {verb}, {format_size(report.kept_bytes)} left")
