"""What a command is about: the selectors that all commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.project.cells import ImageCell

__all__ = ["Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command is about (DESIGN section 6). ``layer`` is ``--target``; ``profile`` empty for the default.

    ``cells`` are exactly the image cells that are meant, when there are any; the selectors then say nothing.
    """

    images: tuple[str, ...] = ()
    layer: str = ""
    profile: str = ""
    only: FrozenMap[str, tuple[str, ...]] = EMPTY_MAP
    platforms: tuple[str, ...] = ()
    all: bool = False
    cells: tuple[ImageCell, ...] = ()
