"""Which cells a command means (DESIGN section 6, selectors)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from lamella.errors import ConfigError
from lamella.oci.platform import parse_platform
from lamella.project.cells import PLATFORM, PROFILE, PROFILES, Cell, ImageCell, ranked
from lamella.project.check import nearest
from lamella.project.projectfile import DEFAULT_PLATFORM, ProjectFile

__all__ = ["select_cells"]


def select_cells(
    project: ProjectFile,
    images: Iterable[str] = (),
    *,
    profile: str | None = None,
    only: Mapping[str, Iterable[str]] | None = None,
    platforms: Iterable[str] = (),
    all: bool = False,  # noqa: A002  the name of the option
    host: str = DEFAULT_PLATFORM,
) -> tuple[ImageCell, ...]:
    """The cells of a command: each image (default: every one) in its default cell.

    The default cell has the first value of each axis, dev, and ``host``, this machine's platform; where an image does
    not have that cell, its first legal one. ``profile``, ``only`` (axis to values) and ``platforms`` fix axes: one
    cell per combination of the values they name. ``all`` takes every legal cell within them.

    Raises ConfigError for names that do not exist, and when an image that was asked for, or every image, has no such
    cell.
    """
    wanted = _images(project, tuple(images))
    fixed = _fixed(project, profile, only or {}, tuple(platforms))
    ad_hoc = fixed.get(PLATFORM, ()) if not project.axes[PLATFORM] else ()
    offered = [where for platform in ad_hoc or (host,) for where in project.cells(platform)]
    axes = project.axes_for(host)
    if ad_hoc:
        axes = axes.with_items({PLATFORM: ad_hoc})
    chosen: list[ImageCell] = []
    for image in wanted:
        own = {where.cell: where for where in offered if where.image == image and _within(where.cell, fixed)}
        order = ranked(own, axes, host)
        cells = order if all else _one_each(order, fixed)
        if not cells and images:
            raise ConfigError(f"image {image} has no cell with {_text(fixed)}", hint=_offer(project, image, host))
        chosen += [own[cell] for cell in cells]
    if not chosen and wanted:
        raise ConfigError(f"no image has a cell with {_text(fixed)}", hint=_offer(project, wanted[0], host))
    return tuple(chosen)


def _images(project: ProjectFile, names: tuple[str, ...]) -> tuple[str, ...]:
    """The images asked for, in the order given, or all in file order."""
    for name in names:
        if name not in project.images:
            raise ConfigError(f"there is no image {name!r} in {project.file}", hint=nearest(name, project.images))
    return tuple(dict.fromkeys(names)) or tuple(project.images)


def _fixed(
    project: ProjectFile, profile: str | None, only: Mapping[str, Iterable[str]], platforms: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """The axes that the options fix, with the values they name."""
    fixed = {axis: tuple(values) for axis, values in only.items()}
    if profile is not None:
        fixed[PROFILE] = (profile,)
    if platforms:
        fixed[PLATFORM] = platforms
    if PLATFORM in fixed:
        fixed[PLATFORM] = tuple(str(parse_platform(text)) for text in fixed[PLATFORM])
    for axis, values in fixed.items():
        if axis not in project.axes:
            raise ConfigError(f"there is no axis {axis!r} in {project.file}", hint=nearest(axis, project.axes))
        known = PROFILES if axis == PROFILE else project.axes[axis]
        for value in values:
            if known and value not in known:
                raise ConfigError(f"axis {axis} has no value {value!r}", hint=nearest(value, known))
    return fixed


def _within(cell: Cell, fixed: Mapping[str, tuple[str, ...]]) -> bool:
    return all(cell.values[axis] in values for axis, values in fixed.items())


def _one_each(order: list[Cell], fixed: Mapping[str, tuple[str, ...]]) -> list[Cell]:
    """The first cell for each combination of the fixed values; ``order`` has the default first."""
    found: dict[Cell, None] = {}
    for values in product(*fixed.values()):
        combination = dict(zip(fixed, values, strict=True))
        first = next((cell for cell in order if combination.items() <= dict(cell).items()), None)
        if first is not None:
            found.setdefault(first)
    return list(found)


def _text(fixed: Mapping[str, tuple[str, ...]]) -> str:
    return " ".join(f"{axis}={','.join(values)}" for axis, values in fixed.items()) or "any value"


def _offer(project: ProjectFile, image: str, host: str) -> str:
    """What there is, when it is little enough to read."""
    cells = [str(where.cell) for where in project.cells(host) if where.image == image]
    return f"{image} has {'; '.join(cells)}" if 0 < len(cells) <= 4 else "look at axes, cells.exclude and image.cells"
