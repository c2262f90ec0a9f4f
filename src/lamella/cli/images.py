"""``lamella images``."""

from __future__ import annotations

import difflib
import json
from typing import Any

import click

from lamella.api.session import open_store
from lamella.cli.messages import format_size, say
from lamella.cli.options import format_option
from lamella.cli.report import table
from lamella.cli.session import command_settings, session_options
from lamella.errors import ConfigError, IntegrityError
from lamella.images.stored import full_name, read_image
from lamella.oci.digest import short_digest
from lamella.store.images import TaggedImage
from lamella.store.store import Store

__all__ = ["command"]


@click.group("images", invoke_without_command=True)
@format_option
@click.pass_context
def command(context: click.Context, output_format: str) -> None:
    """List the images of the local store, or remove some.

    \b
    lamella images                    names, digests, platforms, sizes
    lamella images rm shop/api:dev    forget a name
    """
    if context.invoked_subcommand is not None:
        return
    with open_store(session_options(command_settings())) as store:
        rows = [_row(store, image) for image in store.images.list()]
    if output_format == "json":
        click.echo(json.dumps({"format": 1, "images": rows}, indent=2, ensure_ascii=False))
        return
    if not rows:
        say("no images yet; lamella build makes them")
        return
    head = ("NAME", "DIGEST", "PLATFORM", "LAYERS", "SIZE")
    lines = [_cells(row) for row in rows]
    for line in table([head, *lines], right=frozenset({3, 4})):
        click.echo(line)


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def remove(names: tuple[str, ...]) -> None:
    """Remove names of images from the local store.

    What only they used is deleted by the next collection: lamella cache gc.
    """
    with open_store(session_options(command_settings())) as store:
        known = [image.name for image in store.images.list()]
        found = {name: _known(name, known) for name in names}
        for name in found.values():
            store.images.untag(name)
            click.echo(name)


def _known(name: str, known: list[str]) -> str:
    """The complete name of an image that is there; all are checked before one is removed."""
    for candidate in (name, full_name(name)):
        if candidate in known:
            return candidate
    near = difflib.get_close_matches(name, known, n=1)
    raise ConfigError(
        f"there is no image {name!r} in the local store; nothing was removed",
        hint=f"the nearest is {near[0]}" if near else "see: lamella images",
    )


def _row(store: Store, image: TaggedImage) -> dict[str, Any]:
    """One image for programs; one whose documents are gone is listed with ``error``."""
    row: dict[str, Any] = {"name": image.name, "digest": image.descriptor.digest}
    try:
        found = read_image(store, image.descriptor)
    except (IntegrityError, ConfigError) as error:
        return {**row, "error": error.message}
    return {
        **row,
        "platform": str(found.platform),
        "config": found.manifest.config.digest,
        "layers": [{"digest": layer.digest, "size": layer.size} for layer in found.manifest.layers],
        "size": sum(layer.size for layer in found.manifest.layers),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    digest = short_digest(row["digest"])
    if "error" in row:
        return row["name"], digest, row["error"], "", ""
    return row["name"], digest, row["platform"], str(len(row["layers"])), format_size(row["size"])
