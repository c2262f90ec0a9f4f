"""``lamella build``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamella.build.options import BuildOptions
from lamella.canonical import FrozenMap
from lamella.cli.cache_options import cache_from_option, cache_push_options, push_after_build, wants_push
from lamella.cli.messages import say
from lamella.cli.options import (
    complete_layers,
    engine_from,
    engine_options,
    format_option,
    pairs,
    parse_size,
    progress_option,
    project_options,
    selection_from,
)
from lamella.cli.report import build_summary, report_json
from lamella.cli.session import command_settings, project_session
from lamella.values import replace

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.build.options import BuildReport
    from lamella.cli.settings import Settings

__all__ = ["command"]


@click.command("build")
@project_options
@click.option(
    "--target", "layer", default="", metavar="LAYER", shell_complete=complete_layers, help="Build one layer only."
)
@click.option("--rebuild", is_flag=True, help="Run the project's steps again, states warm.")
@click.option("--no-cache", is_flag=True, help="Run all steps again, without states.")
@click.option("--no-cache-filter", multiple=True, metavar="LAYER", help="Run a layer's steps again.")
@click.option("--refresh", is_flag=True, help="Run again what is older than its freshness.")
@click.option("--offline", is_flag=True, help="Refuse to use the network.")
@click.option("--strict", is_flag=True, help="Refuse writes into sources and replaced base files.")
@click.option("--secret", "secrets", multiple=True, metavar="id=NAME[,src=FILE|,env=VAR]", help="A secret's value.")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="type=oci|docker-archive|dir|tar,dest=PATH",
    help="Write the image out as well; a path alone means type=dir.",
)
@click.option("--load", is_flag=True, help="Load the image into the Docker daemon.")
@click.option("--push", is_flag=True, help="Push the image to the names of -t.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="Set a label.")
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME[:TAG]", help="A further local name.")
@click.option("-j", "--jobs", type=click.IntRange(1), default=None, help="Steps at a time. [default: cores]")
@click.option("--memory", default=None, metavar="SIZE", help="Memory for all steps together.")
@click.option(
    "--compression", type=click.Choice(["gzip", "zstd", "none"]), default=None, help="How layers are compressed."
)
@cache_from_option
@cache_push_options
@engine_options
@progress_option()
@click.option("--metadata-file", type=click.Path(path_type=Path), default=None, help="Write a JSON report there.")
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
    layer: str,
    progress: str,
    metadata_file: Path | None,
    output_format: str,
    outputs: tuple[str, ...],
    load: bool,
    **flags: Any,
) -> None:
    """Build images: all of the project in their default cell, or those that are named.

    What has a record is reused; what is missing is built, in this machine's sandbox or on a BuildKit builder; the image
    is composed from its layers.
    The result is in the local store under PROJECT/IMAGE:dev.

    \b
    lamella build                     every image, dev
    lamella build api --prod          one image, prod
    lamella build --all               the whole matrix
    lamella build --target app        one layer, no image
    lamella build -o type=oci,dest=out.tar
    lamella build api --prod -t registry.example/team/api:try --push
    """
    settings = command_settings()
    selection = selection_from(images, profile, only, platforms, every, layer)
    session = project_session(
        file,
        build_args,
        contexts,
        offline=flags["offline"],
        later=not flags["secrets"],
        engine=engine_from(flags, settings.environ),
        cache_from=flags["cache_from"],
        cache_to=flags["cache_to"],
    )
    push = wants_push(session, flags)
    options = _options(flags, settings, export_all=push)
    if flags["push"]:
        from lamella.api.push import check_push, push_built

        check_push(session, selection, flags["tags"])
    targets = session.check_outputs(outputs, selection, load=load, stdout_usable=not sys.stdout.isatty())
    to_stdout = targets is not None and targets.use_stdout
    if to_stdout and output_format == "json":
        raise click.UsageError("--format json and an output to standard output exclude each other")
    report = session.unchanged(selection, options)
    written: tuple[tuple[str, str], ...] = ()
    if report is None or targets is not None or flags["push"]:
        from lamella.cli.progress import open_progress

        with open_progress(progress, terminal=settings.terminal) as sink:
            if report is None:
                secrets = _secrets(session, flags["secrets"])
                report = session.build(selection, replace(options, secrets=secrets), sink, targets)
            written = session.write_outputs(report, targets, sink, stdout=sys.stdout.buffer)
            if flags["push"]:
                names, _ = push_built(session, report, flags["tags"], sink)
                written += tuple(("registry", f"{name}@{digest}") for name, digest in names)
    data = report_json(report, written)
    if push:
        data["records"] = push_after_build(session, selection, report)
    if metadata_file is not None:
        metadata_file.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    if output_format == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif not to_stdout:
        click.echo(_references(report), nl=False)
    if progress != "quiet":
        for line in build_summary(report, written):
            say(line)
    if not (written or push or metadata_file or output_format == "json"):
        _note(session, settings, report, quiet=progress == "quiet")


def _references(report: BuildReport) -> str:
    """The line on standard output for each image."""
    return "".join(f"{image.names[0]}@{image.manifest.digest}\n" for image in report.images)


def _note(session: Session, settings: Settings, report: BuildReport, *, quiet: bool) -> None:
    """Notes the words of an answer that was kept, so that the same command need not be read the next time."""
    arguments = click.get_current_context().find_root().obj
    if session.answered is None or arguments is None:
        return
    from lamella.cli.again import TIME, note_answer

    summary = [] if quiet else build_summary(report, (), TIME)
    note_answer(list(arguments), settings, session, _references(report), summary)


def _options(flags: dict[str, Any], settings: Settings, *, export_all: bool) -> BuildOptions:
    return BuildOptions(
        rebuild=flags["rebuild"],
        no_cache=flags["no_cache"],
        no_cache_filter=flags["no_cache_filter"],
        refresh=flags["refresh"],
        offline=flags["offline"],
        strict=flags["strict"],
        jobs=flags["jobs"] or 0,
        memory=parse_size(flags["memory"], "--memory"),
        compressor=flags["compression"] or "",
        export_all=export_all,
        created=settings.created,
        tags=flags["tags"],
        labels=FrozenMap(pairs(flags["labels"], "--label")),
    )


def _secrets(session: Session, texts: tuple[str, ...]) -> FrozenMap[str, bytes]:
    from lamella.cli.secrets import read_secrets

    return read_secrets(session.project, texts, session.options.environ, session.root)
