"""Axes and cells: which combinations of variant values exist, and which of them a command means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from lamella.canonical import FrozenMap
from lamella.values import dataclass

__all__ = ["PLATFORM", "PROFILE", "PROFILES", "AxisPattern", "Cell", "ImageCell", "combinations", "matches", "ranked"]

PROFILE = "profile"
PLATFORM = "platform"
PROFILES = ("dev", "prod")

AxisPattern = FrozenMap[str, tuple[str, ...]]
"""Axis to the values that match; axes that are not named match anything."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value per axis, in the order of the axes; ``profile`` and ``platform`` are always among them."""

    values: FrozenMap[str, str]

    @property
    def profile(self) -> str:
        """``dev`` or ``prod``."""
        return self.values[PROFILE]

    @property
    def platform(self) -> str:
        """The OCI platform, ``linux/amd64``."""
        return self.values[PLATFORM]

    def without(self, axis: str) -> tuple[tuple[str, str], ...]:
        """The values of all other axes."""
        return tuple(item for item in self.values.items() if item[0] != axis)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.values.items())

    def __str__(self) -> str:
        return ",".join(f"{axis}={value}" for axis, value in self.values.items())


@dataclass(frozen=True, slots=True)
class ImageCell:
    """One image in one of its legal cells."""

    image: str
    cell: Cell
    allow_failure: bool = False

    def __str__(self) -> str:
        return f"{self.image} ({self.cell})"


def matches(pattern: AxisPattern, cell: Cell) -> bool:
    """Whether every axis the pattern names has one of its values; an axis the cell does not have matches nothing."""
    return all(cell.values.get(axis) in values for axis, values in pattern.items())


def combinations(axes: Mapping[str, tuple[str, ...]], exclude: Iterable[AxisPattern]) -> tuple[Cell, ...]:
    """All cells of the axes that no pattern of ``exclude`` matches, the first axis slowest."""
    excluded = tuple(exclude)
    cells = (Cell(FrozenMap(dict(zip(axes, values, strict=True)))) for values in product(*axes.values()))
    return tuple(cell for cell in cells if not any(matches(pattern, cell) for pattern in excluded))


def ranked(cells: Iterable[Cell], axes: Mapping[str, tuple[str, ...]], host: str) -> list[Cell]:
    """``cells`` with the default first: the first value of each axis, dev, and the platform ``host`` if it is there."""

    def rank(cell: Cell) -> tuple[int, ...]:
        places = (axes[axis].index(value) for axis, value in cell if axis != PLATFORM)
        platforms = axes[PLATFORM]
        return (*places, -1 if cell.platform == host else platforms.index(cell.platform))

    return sorted(cells, key=rank)
