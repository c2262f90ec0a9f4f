"""``build --push``: what was built, under the names of ``-t``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamella.api.network import registry_client
from lamella.build.options import BuildReport
from lamella.build.parts import selected_cells
from lamella.build.selection import Selection
from lamella.graph.events import EventSink, VertexProgress
from lamella.images.forms import LayerForms
from lamella.images.push import Freight, Pusher
from lamella.images.pushed import check_names, push_stored
from lamella.images.stored import read_image
from lamella.oci.reference import parse_reference

if TYPE_CHECKING:
    from lamella.api.session import Session

__all__ = ["check_push", "push_built"]


def check_push(session: Session, selection: Selection, names: Sequence[str]) -> None:
    """Raises ConfigError for names that ``--push`` cannot use, before anything is built."""
    platforms: dict[str, list[str]] = {}
    for cell in selected_cells(session.parts, selection):
        platforms.setdefault(cell.image, []).append(cell.cell.platform)
    check_names(names, platforms)
    for name in names:
        parse_reference(name)


def push_built(
    session: Session, report: BuildReport, names: Sequence[str], sink: EventSink
) -> tuple[tuple[tuple[str, str], ...], Freight]:
    """Pushes the images of a build; (name, digest) of each name, and what moved."""
    client, clock = registry_client(session.options), session.clock

    def on_progress(done: int, total: int) -> None:
        sink.emit(VertexProgress("push", "push", clock.monotonic(), done, total, "pushed"))

    forms = LayerForms(session.store, lambda name: client.repository(parse_reference(name)), session.parts.restorer)
    with session.store.lease("push"):
        images = tuple(read_image(session.store, image.manifest, image.names) for image in report.images)
        for image in images:
            for layer in image.layers:
                forms.form(layer.diff_id)  # where else a layer lies, for mounts
        return push_stored(
            images,
            lambda image: session.store.blobs.read(image.manifest.config.digest),
            tuple(parse_reference(name) for name in names),
            client.repository,
            Pusher(forms, on_progress),
        )
