"""How overlayfs writes removal down (kernel document filesystems/overlayfs): whiteouts, opaque directories.

A whiteout is a character device 0/0, an opaque directory has the attribute ``overlay.opaque`` = ``y`` in the
``trusted.`` name space, or in ``user.`` for mounts with ``userxattr`` (rootless).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from enum import Enum

from lamella.errors import HostileInputError
from lamella.host.rooted import Rooted

__all__ = ["LowerView", "OverlayXattrs", "check_upper_xattrs", "is_opaque", "is_overlay_xattr", "is_whiteout"]


class OverlayXattrs(Enum):
    """Which name space a mount keeps its attributes in; the value is the prefix."""

    TRUSTED = "trusted.overlay."
    USER = "user.overlay."

    @property
    def opaque(self) -> str:
        """The attribute of an opaque directory; its value is ``y``."""
        return f"{self.value}opaque"


_PREFIXES = tuple(kind.value for kind in OverlayXattrs)
_REFUSED = ("redirect", "metacopy")


def is_overlay_xattr(name: str) -> bool:
    """Whether an attribute means something to overlayfs, so that none may come from an archive."""
    return name.startswith(_PREFIXES)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether an object of an upper or lower directory removes what is below it."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: str | int, names: Sequence[str] | None = None) -> bool:
    """Whether a directory (path or handle) hides what lower ones have; ``names`` are its attributes when known."""
    known = os.listxattr(path) if names is None else names
    return any(kind.opaque in known and os.getxattr(path, kind.opaque) == b"y" for kind in OverlayXattrs)


def check_upper_xattrs(path: str, names: Sequence[str]) -> Sequence[str]:
    """``names`` unless one says that the object's bytes or children are elsewhere; then HostileInputError."""
    for name in names:
        if is_overlay_xattr(name) and name.rpartition(".")[2] in _REFUSED:
            raise HostileInputError(
                f"{path!r} carries {name}: its content is not in the upper directory",
                hint="mount overlays with redirect_dir=off,metacopy=off",
            )
    return names


class LowerView:
    """What lower directories show together, topmost first, without mounting them."""

    def __init__(self, lowers: tuple[Rooted, ...]) -> None:
        self._lowers = lowers

    def shows(self, path: str) -> bool:
        """Whether anything is visible at ``path``."""
        return self.lstat(path) is not None

    def shows_directory(self, path: str) -> bool:
        """Whether a directory is visible at ``path``."""
        status = self.lstat(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def lstat(self, path: str) -> os.stat_result | None:
        """Status of what is visible at ``path``; None when nothing is."""
        parts = path.split("/")
        for lower in self._lowers:
            ends = False
            for count in range(1, len(parts) + 1):
                status = lower.find("/".join(parts[:count]))
                if status is None:
                    break
                if is_whiteout(status):
                    return None
                if count == len(parts):
                    return status
                if not stat.S_ISDIR(status.st_mode):
                    return None
                with lower.handle("/".join(parts[:count]), os.O_RDONLY | os.O_DIRECTORY) as handle:
                    ends = ends or is_opaque(handle)
            if ends:
                return None
        return None
