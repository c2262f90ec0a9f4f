"""What reading a foreign archive may cost (RELIABILITY.md X2 and row 29). Crossing a line is HostileInputError."""

from __future__ import annotations

from lamella.values import dataclass

__all__ = ["DEFAULT_BUDGETS", "Budgets"]

_MIB = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits for one archive; all inclusive.

    ``size``        bytes of the uncompressed archive
    ``entries``     members
    ``path``        bytes of a member's path, ``link`` of a link's target
    ``depth``       parts of a path
    ``header``      bytes of one member's extended headers
    ``xattrs``      bytes of one member's extended attributes, names and values
    ``ratio``       uncompressed bytes for each compressed one, counted once ``ratio_from`` bytes came out
    ``window``      bytes of memory that a zstd frame may ask for
    ``seconds``     time from the first byte to the last
    """

    size: int = 64 * _GIB
    entries: int = 500_000
    path: int = 4096
    link: int = 4095
    depth: int = 256
    header: int = _MIB
    xattrs: int = 64 * 1024
    ratio: int = 250
    ratio_from: int = 512 * _MIB
    window: int = 128 * _MIB
    seconds: int = 3600


DEFAULT_BUDGETS = Budgets()
"""For layers of base images: large enough for what is published, small enough to stop in time."""
