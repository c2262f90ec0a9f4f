"""``lamella promote``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lamella.cli.messages import say
from lamella.cli.options import file_option, format_option, progress_option
from lamella.cli.session import command_settings, project_session, session_options
from lamella.errors import ConfigError
from lamella.oci.digest import is_digest, short_digest
from lamella.oci.reference import is_tag

__all__ = ["command"]


@click.command("promote")
@click.argument("source", metavar="SOURCE")
@click.argument("tags", nargs=-1, required=True, metavar="TAG…")
@file_option
@click.option("--image", default="", metavar="IMAGE", help="Take this image's repository for short names.")
@click.option("--expect", default="", metavar="DIGEST", help="Move the tags only where they name this digest now.")
@click.option("--dry-run", is_flag=True, help="Say what would move; move nothing.")
@progress_option()
@format_option
def command(
    source: str,
    tags: tuple[str, ...],
    file: Path | None,
    image: str,
    expect: str,
    dry_run: bool,
    progress: str,
    output_format: str,
) -> None:
    """Give what was tested further tags, without building it again.

    SOURCE and TAG are tags of the project's repository (SOURCE may be a digest), or full references. Into another
    repository the image is copied, with all its platforms and with what refers to it: bills of materials, provenance,
    signatures.

    \b
    lamella promote ci-4f2a9c1 1.4.0 latest
    lamella promote registry.example/team/shop:rc registry.example/public/shop:1.4.0
    """
    from lamella.api.network import registry_client
    from lamella.api.promote import promotion_of
    from lamella.cli.progress import open_progress
    from lamella.graph.events import VertexProgress
    from lamella.images.promote import promote

    settings = command_settings()
    short = any(is_tag(text) or is_digest(text) for text in (source, *(tags if is_tag(source) else ())))
    repository = _repository(file, image) if short else ""
    client = registry_client(session_options(settings))
    promotion = promotion_of(client, source, tags, repository=repository, expect=expect)
    if not dry_run:
        with open_progress(progress, terminal=settings.terminal) as sink:
            promote(
                promotion,
                lambda done, total: sink.emit(VertexProgress("copy", "copy", 0.0, done, total, "copied")),
            )
    wanted = promotion.wanted
    if output_format == "json":
        moves = [
            {"tag": move.name, "digest": promotion.digest, "before": move.before, "moved": move in wanted}
            for move in promotion.moves
        ]
        click.echo(json.dumps({"format": 1, "dry_run": dry_run, "source": source, "tags": moves}, indent=2))
        return
    for move in promotion.moves:
        click.echo(f"{move.name}@{promotion.digest}")
        if progress != "quiet":
            word = ("would move" if dry_run else "moved") if move in wanted else "unchanged"
            was = f", was {short_digest(move.before)}" if move in wanted and move.before else ""
            say(f"{word} {move.name} to {short_digest(promotion.digest)}{was}")


def _repository(file: Path | None, image: str) -> str:
    """The repository of short names: the project's, or an image's own."""
    from lamella.project.check import nearest

    session = project_session(file)
    if image and image not in session.project.images:
        hint = nearest(image, session.project.images)
        raise ConfigError(f"there is no image {image!r} in {session.project.file}", hint=hint)
    node = session.project.images[image].value.get("repository") if image else None
    node = node or session.project.repository
    if node is None:
        raise ConfigError("the project has no repository", hint="set project.repository, or write full references")
    if "{" in node.value:
        raise ConfigError(f"the repository {node.value} has variables", hint="write full references")
    return str(node.value)
