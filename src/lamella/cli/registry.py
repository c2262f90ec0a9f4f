"""``lamella registry``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamella.api.session import SessionOptions
from lamella.cli.messages import format_size, paint, say
from lamella.cli.options import file_option, format_option
from lamella.cli.report import table
from lamella.cli.session import command_settings, project_session, session_options
from lamella.clock import SystemClock

if TYPE_CHECKING:
    from lamella.images.survey import RepositorySurvey

__all__ = ["command"]


@click.group("registry")
def command() -> None:
    """Look at what a repository of a registry holds.

    \b
    lamella registry ls                                tags of the project's repositories
    lamella registry ls registry.example/acme/shop     of any repository
    lamella registry stats                             layers, shared and own bytes
    """


def _chosen(file: Path | None, repositories: tuple[str, ...]) -> tuple[SessionOptions, tuple[str, ...]]:
    """The repositories that were named, or those of the project."""
    if repositories:
        return session_options(command_settings()), repositories
    from lamella.api.repositories import project_repositories

    session = project_session(file)
    return session.options, project_repositories(session)


def _surveys(file: Path | None, repositories: tuple[str, ...]) -> list[RepositorySurvey]:
    from lamella.api.repositories import catalog
    from lamella.images.survey import survey

    options, names = _chosen(file, repositories)
    return [survey(catalog(options, name), now=SystemClock().now()) for name in names]


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "?"
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    return next(f"{seconds // unit}{name}" for unit, name in units if seconds >= unit or unit == 1)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


@command.command("ls")
@click.argument("repositories", nargs=-1, metavar="[REPOSITORY…]")
@file_option
@format_option
def ls(repositories: tuple[str, ...], file: Path | None, output_format: str) -> None:
    """List tags with what they name: digest, platforms, age, bytes, SBOMs and the like that refer to them."""
    found = _surveys(file, repositories)
    if output_format == "json":
        click.echo(json.dumps({"format": 1, "repositories": [_tags_json(one) for one in found]}, indent=2))
        return
    for one in found:
        click.echo(paint(one.name, "bold"))
        rows = [
            (
                row.tag,
                row.digest[7:19],
                ", ".join(row.platforms) or row.kind,
                _age(row.age),
                format_size(row.size),
                str(row.referrers or ""),
            )
            for row in one.tags
        ]
        for line in table(
            [("TAG", "DIGEST", "PLATFORMS", "AGE", "SIZE", "REFERRERS"), *rows], right=frozenset({3, 4, 5})
        ):
            click.echo(line)
        for text in one.problems:
            say(f"problem: {text}")


@command.command("stats")
@click.argument("repositories", nargs=-1, metavar="[REPOSITORY…]")
@file_option
@click.option("--layers", "shown", type=click.IntRange(0), default=20, show_default=True, help="Largest layers shown.")
@format_option
def stats(repositories: tuple[str, ...], file: Path | None, shown: int, output_format: str) -> None:
    """Count what a repository holds: images, layers, bytes in all, shared by several tags, and of one tag alone."""
    found = _surveys(file, repositories)
    if output_format == "json":
        click.echo(json.dumps({"format": 1, "repositories": [_stats_json(one) for one in found]}, indent=2))
        return
    for one in found:
        click.echo(paint(one.name, "bold"))
        counts = (
            _count(len(one.tags), "tag"),
            _count(one.images, "image"),
            _count(one.indexes, "index", "indexes"),
            _count(one.artifacts, "artifact"),
            _count(len(one.layers), "layer"),
        )
        click.echo(", ".join(counts))
        click.echo(f"{format_size(one.size)} in all, {format_size(one.shared)} of it shared by several tags")
        rows = [(row.tag, format_size(row.size), format_size(row.own)) for row in one.tags]
        for line in table([("TAG", "SIZE", "ITS ALONE"), *rows], right=frozenset({1, 2})):
            click.echo(line)
        largest = [(layer.digest[7:19], format_size(layer.size), str(layer.tags)) for layer in one.layers[:shown]]
        for line in table([("LAYER", "SIZE", "TAGS"), *largest], right=frozenset({1, 2})):
            click.echo(line)


def _tags_json(one: RepositorySurvey) -> dict[str, Any]:
    tags = [
        {
            "tag": row.tag,
            "digest": row.digest,
            "kind": row.kind,
            "platforms": list(row.platforms),
            "age": row.age,
            "size": row.size,
            "own": row.own,
            "referrers": row.referrers,
        }
        for row in one.tags
    ]
    return {"repository": one.name, "tags": tags, "problems": list(one.problems)}


def _stats_json(one: RepositorySurvey) -> dict[str, Any]:
    counts = {"images": one.images, "indexes": one.indexes, "artifacts": one.artifacts}
    layers = [{"digest": layer.digest, "size": layer.size, "tags": layer.tags} for layer in one.layers]
    return {**_tags_json(one), "counts": counts, "size": one.size, "shared": one.shared, "layers": layers}
