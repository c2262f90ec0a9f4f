"""Axes and cells: which combinations of variant values exist, and which of them a command means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lamella.canonical import FrozenMap

__all__ = ["PLATFORM", "PROFILE", "PROFILES", "Cell", "ImageCell"]

PROFILE = "profile"
PLATFORM = "platform"
PROFILES = ("dev", "prod")


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
