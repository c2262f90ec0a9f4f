"""``lamella pull``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from lamella.cli.cache_options import cache_from_option
from lamella.cli.messages import format_size
from lamella.cli.options import complete_layers, file_option, format_option, selection_from, source_options
from lamella.cli.session import project_session

__all__ = ["command"]


@click.command("pull")
@click.argument("layers", nargs=-1, required=True, metavar="LAYER...", shell_complete=complete_layers)
@click.option("--dev", "profile", flag_value="dev", default=None, help="Cells of the dev profile.")
@click.option("--prod", "profile", flag_value="prod", help="Cells of the prod profile.")
@click.option("--only", multiple=True, metavar="AXIS=V[,V]", help="Cells with these values of an axis.")
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH[,…]", help="Cells of these platforms.")
@click.option("--all", "every", is_flag=True, help="Every legal cell, not just the default one.")
@file_option
@source_options
@cache_from_option
@format_option
def command(
    layers: tuple[str, ...],
    profile: str | None,
    only: tuple[str, ...],
    platforms: tuple[str, ...],
    every: bool,
    file: Path | None,
    build_args: tuple[str, ...],
    contexts: tuple[str, ...],
    cache_from: tuple[str, ...],
    output_format: str,
) -> None:
    """Bring the bytes of layers from the cache repository into the local store.

    A build fetches what it reads by itself; this fetches all of a layer beforehand: before a journey, or where what
    follows has no network. Nothing is built. A layer that has no record in the repository is an error (exit 6).

    \b
    lamella pull base deps            of the default cell
    lamella pull app --prod --all     of all prod cells
    """
    from lamella.api.cache_pull import pull_layers

    session = project_session(file, build_args, contexts, cache_from=cache_from)
    selection = selection_from((), profile, only, platforms, every)
    pulled = pull_layers(session, layers, selection)
    if output_format == "json":
        data = {"format": 1, "layers": [asdict(layer) for layer in pulled]}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for layer in pulled:
        parts = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in _counted(layer.layers, layer.products)]
        came = f"{format_size(layer.bytes)} came" if layer.bytes else "all of it was here"
        click.echo(f"{layer.name}: {', '.join(parts)}, {came}")


def _counted(layers: int, products: int) -> list[tuple[int, str]]:
    return [pair for pair in ((layers, "layer"), (products, "product")) if pair[0]]
