"""Which extended attributes of a foreign layer are kept: file capabilities and the user's own, nothing else.

``trusted.overlay.*`` and ``user.overlay.*`` would steer the mount that the layer becomes part of, so they never come
from an archive; security modules' labels belong to the machine, not to the image.
"""

from __future__ import annotations

from collections.abc import Mapping

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import HostileInputError
from lamella.layers.capability import CAPABILITY, plain_capability
from lamella.layers.overlay import is_overlay_xattr

__all__ = ["kept_attributes"]

_NAME_LIMIT = 255
"""Bytes of an attribute's name (xattr(7))."""


def kept_attributes(
    path: str, xattrs: Mapping[str, bytes], *, capabilities: bool
) -> tuple[FrozenMap[str, str], tuple[str, ...]]:
    """(kept attributes as hex, a warning for each one dropped). Raises HostileInputError for an impossible name."""
    kept: dict[str, str] = {}
    warnings: list[str] = []
    for name, value in sorted(xattrs.items()):
        if not name or len(name.encode("utf-8", "surrogateescape")) > _NAME_LIMIT:
            raise HostileInputError(f"archive has an attribute name that no file can have, at {path[:80]!r}")
        if is_overlay_xattr(name):
            warnings.append(f"attribute {name} of {path} was dropped: it belongs to overlay mounts")
        elif name == CAPABILITY and capabilities:
            kept[name] = plain_capability(value).hex()
        elif name.startswith("user."):
            kept[name] = value.hex()
        else:
            warnings.append(f"attribute {name} of {path} was dropped")
    return (FrozenMap(kept) if kept else EMPTY_MAP), tuple(warnings)
