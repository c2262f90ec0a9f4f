"""The calls behind ``lamella run``: which image, built when it must be, and the runtime that starts it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lamella.api.session import Session, SessionOptions
from lamella.build.options import BuildOptions, BuildReport
from lamella.build.parts import expand_cells
from lamella.build.selection import Selection
from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.engines.local.runner import LocalRunner
from lamella.errors import ConfigError
from lamella.graph.events import EventSink
from lamella.graph.op import ImageOp
from lamella.images.stored import StoredImage, find_image, full_name, read_image
from lamella.project.later import refuse_later
from lamella.project.spec import ImageSpec
from lamella.runtime.embedded import EmbeddedParts
from lamella.store.store import Store
from lamella.values import dataclass

__all__ = ["Runnable", "caller", "embedded_parts", "project_image", "stored_image", "volume_folder"]


@dataclass(frozen=True, slots=True)
class Runnable:
    """An image that can be started. ``spec`` is the project's, None for an image of the store alone.

    ``snapshots`` maps diff_ids of its layers to snapshots that hold the same. ``report`` is that of the build.
    """

    image: StoredImage
    spec: ImageSpec | None = None
    snapshots: FrozenMap[str, str] = EMPTY_MAP
    report: BuildReport | None = None


def project_image(
    session: Session, selection: Selection, options: BuildOptions, sink: EventSink, *, build: bool = True
) -> Runnable:
    """The one image of a selection, built first when it is not up to date; without ``build`` as it was built last.

    Raises ConfigError when the selection means several images or cells, or the image needs what does not work yet.
    """
    found = [(cell, image) for cell in expand_cells(session.parts, selection) for image in cell.images]
    if len(found) != 1:
        names = ", ".join(dict.fromkeys(image.name for _, image in found))
        hint = "name one: lamella run IMAGE" if not selection.images else "narrow it with --only, --platform or --prod"
        raise ConfigError(f"run starts one image, and this means {len(found)}: {names}", hint=hint)
    cell, spec = found[0]
    refuse_later(session.project, "run", images=(spec.name,))
    if not build:
        return Runnable(find_image(session.store, spec.local_name, cell.cell.platform), spec)
    report = session.build(selection, options, sink)
    built = report.images[0]
    image = read_image(session.store, built.manifest, (full_name(built.names[0]),))
    return Runnable(image, spec, _known_snapshots(session, selection), report)


def _known_snapshots(session: Session, selection: Selection) -> FrozenMap[str, str]:
    """Snapshots of steps, which hold what the layer written from each of them holds."""
    plan = session.plan(selection)
    known: dict[str, str] = {}
    for image in plan.graph.images:
        for key in plan.graph.definition.chain(image.base):
            result = plan.results.get(key)
            if result is None or isinstance(plan.graph.definition[key].op, ImageOp):
                continue
            if result.snapshot and len(result.layers) == 1:
                known[result.layers[0].diff_id] = result.snapshot
    return FrozenMap(known)


def stored_image(store: Store, name: str, platform: str) -> Runnable:
    """An image of the local store by its name; raises ConfigError for an unknown one."""
    return Runnable(find_image(store, name, platform))


def volume_folder(options: SessionOptions) -> Path:
    """Where named volumes of the embedded runtime are: data, and so no part of the store."""
    base = options.environ.get("XDG_DATA_HOME")
    home = Path(options.environ.get("HOME") or "~").expanduser()
    return (Path(base) if base else home / ".local" / "share") / "lamella" / "volumes"


def embedded_parts(
    store: Store,
    options: SessionOptions,
    runner: LocalRunner,
    warn: Callable[[str], None],
    snapshots: FrozenMap[str, str] = EMPTY_MAP,
) -> EmbeddedParts:
    """What the embedded runtime works with."""
    return EmbeddedParts(store, runner.unpack_layers, volume_folder(options), options.environ, snapshots, warn)


def caller() -> tuple[int, int]:
    """Numbers of the user and group that ``user = "host"`` means."""
    return (os.getuid(), os.getgid()) if hasattr(os, "getuid") else (0, 0)
