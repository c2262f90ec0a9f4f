"""``lamella publish``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamella.api.publish import PublishOptions, PublishReport, Standstill, find_published, publish
from lamella.build.options import BuildOptions, BuildReport
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap
from lamella.cli.cache_options import cache_from_option, cache_push_options, push_after_build, wants_push
from lamella.cli.messages import format_seconds, format_size, paint, say
from lamella.cli.options import (
    engine_from,
    engine_options,
    format_option,
    pairs,
    parse_size,
    progress_option,
    project_options,
    selection_from,
)
from lamella.cli.session import command_settings, project_session
from lamella.oci.digest import short_digest

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.images.publish import TagState

__all__ = ["command"]


@click.command("publish")
@project_options
@click.option("--channel", default="", metavar="NAME", help="Publish as a channel of the project says.")
@click.option(
    "--attest",
    "attest",
    multiple=True,
    type=click.Choice(["sbom", "provenance", "cosign", "none"]),
    help="What goes with the images. [default: the channel's, else sbom and provenance]",
)
@click.option("--unchecked", is_flag=True, help="Publish although the channel wants gates, which do not run here.")
@click.option("--dry-run", is_flag=True, help="Say what would move; build and push nothing.")
@click.option(
    "--release-dir",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for release.json and notes.md. [default: .lamella/release in the project]",
)
@click.option("--refresh", is_flag=True, help="Run again what is older than its freshness.")
@click.option("--strict", is_flag=True, help="Refuse writes into sources and replaced base files.")
@click.option("--secret", "secrets", multiple=True, metavar="id=NAME[,src=FILE|,env=VAR]", help="A secret's value.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="Set a label.")
@click.option("-j", "--jobs", type=click.IntRange(1), default=None, help="Steps at a time. [default: cores]")
@click.option("--memory", default=None, metavar="SIZE", help="Memory for all steps together.")
@click.option(
    "--compression", type=click.Choice(["gzip", "zstd", "none"]), default=None, help="How layers are compressed."
)
@engine_options
@cache_from_option
@cache_push_options
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
    progress: str,
    output_format: str,
    **flags: Any,
) -> None:
    """Publish images: build what is missing, push it, move the tags that may move.

    Takes every legal cell of the prod profile, or what --channel names. A tag over several platforms moves only when
    all of them are there, latest only to the newest version; a cell that fails does not keep the others back. Run it
    again to complete what failed: what is in the registry already is not sent a second time.

    \b
    lamella publish                       the whole project, prod
    lamella publish api --only accelerator=cuda
    lamella publish --channel release
    lamella publish --dry-run --format json
    """
    settings = command_settings()
    selection = selection_from(images, profile, only, platforms, every)
    session = project_session(
        file,
        build_args,
        contexts,
        later=not flags["secrets"],
        engine=engine_from(flags, settings.environ),
        cache_from=flags["cache_from"],
        cache_to=flags["cache_to"],
        channel=flags["channel"],
    )
    options = _options(flags, session, created=settings.created)
    still = find_published(session, selection, options)
    if still is not None:
        _show_standstill(still, output_format, quiet=progress == "quiet")
        return
    from lamella.cli.progress import open_progress

    with open_progress(progress, terminal=settings.terminal) as sink:
        report = publish(session, selection, options, sink)
    _show(report, output_format, dry_run=options.dry_run, quiet=progress == "quiet")
    if options.build.export_all and not options.dry_run:
        push_after_build(session, Selection(cells=report.cells), BuildReport((), report.rows, report.seconds))
    if report.outcome.error is not None and not options.dry_run:
        raise report.outcome.error


def _options(flags: dict[str, Any], session: Session, *, created: str) -> PublishOptions:
    build = BuildOptions(
        refresh=flags["refresh"],
        strict=flags["strict"],
        jobs=flags["jobs"] or 0,
        memory=parse_size(flags["memory"], "--memory"),
        compressor=flags["compression"] or "",
        export_all=wants_push(session, flags),
        created=created,
        labels=FrozenMap(pairs(flags["labels"], "--label")),
        secrets=_secrets(session, flags["secrets"]),
    )
    attest = tuple(item for item in flags["attest"] if item != "none") if flags["attest"] else None
    return PublishOptions(
        flags["channel"], attest, flags["unchecked"], flags["dry_run"], _absolute(flags["release_dir"]), build
    )


def _secrets(session: Session, texts: tuple[str, ...]) -> FrozenMap[str, bytes]:
    if not texts:
        return FrozenMap()
    from lamella.cli.secrets import read_secrets

    return read_secrets(session.project, texts, session.options.environ, session.root)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _show_standstill(still: Standstill, output_format: str, *, quiet: bool) -> None:
    if output_format == "json":
        _echo_json({**still.release, "unchanged": True, "seconds": round(still.seconds, 3)})
    else:
        for name, digest in still.images:
            click.echo(f"{name}@{digest}")
    if not quiet:
        say(f"nothing to publish: the registry has it all; {format_seconds(still.seconds)}")


def _echo_json(data: dict[str, Any]) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _show(report: PublishReport, output_format: str, *, dry_run: bool, quiet: bool) -> None:
    """Data on standard output: the tags that name something, or the whole record; talk beside it."""
    if output_format == "json":
        from lamella.cli.report import engine_json

        seconds = round(report.seconds, 3)
        done = {"unchanged": False, "dry_run": dry_run, "seconds": seconds, "engine": engine_json(report.engine)}
        _echo_json({**report.release, **done})
    else:
        for tag in report.outcome.tags:
            if tag.state in ("moved", "unchanged"):
                click.echo(f"{tag.plan}@{tag.digest}" if tag.digest else str(tag.plan))
    if quiet:
        return
    for tag in report.outcome.tags:
        say(_tag_line(tag, dry_run=dry_run))
    for image in report.outcome.images:
        if image.error is not None:
            allowed = ", which it may" if image.plan.where.allow_failure else ""
            say(f"{paint('failed', 'red')} {image.plan.where}{allowed}: {image.error.message}")
    for note in report.warnings:
        say(f"{paint('note', 'yellow')} {note}")
    for path in report.written:
        say(f"wrote {path}")
    freight = report.outcome.freight
    counts = ", ".join(f"{count} {what}" for what, count in freight.blobs.items())
    verb = "would be " if dry_run else ""
    from lamella.cli.report import engine_words

    took = f"{format_seconds(report.seconds)}{engine_words(report.engine)}"
    say(f"blobs: {counts}; {format_size(freight.sent_bytes)} {verb}sent in {took}")


_WORDS = {"moved": "green", "unchanged": "dim", "held": "yellow", "waiting": "yellow", "failed": "red"}


def _tag_line(tag: TagState, *, dry_run: bool) -> str:
    word = "would move" if dry_run and tag.state == "moved" else tag.state
    line = f"{paint(word, _WORDS[tag.state])} {tag.plan}"
    if tag.state == "moved" and tag.digest:
        line += f" to {short_digest(tag.digest)}"
    if tag.state == "moved" and tag.before:
        line += f", was {short_digest(tag.before)}"
    return f"{line}: {tag.why}" if tag.why else line
