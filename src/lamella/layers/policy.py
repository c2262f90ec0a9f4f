"""How a layer is unpacked: as an element of an overlay or merged, and what its archive may bring."""

from __future__ import annotations

from enum import Enum

from lamella.layers.overlay import OverlayXattrs
from lamella.values import dataclass

__all__ = ["MERGED_POLICY", "ROOTLESS_POLICY", "ROOT_POLICY", "Devices", "UnpackMode", "UnpackPolicy"]


class UnpackMode(Enum):
    """What the directory will be."""

    OVERLAY = "overlay"
    MERGED = "merged"


class Devices(Enum):
    """What to do with device nodes; FIFOs are always made."""

    CREATE = "create"
    SKIP = "skip"
    """Left out, with a warning: a user namespace may not make them, and ``/dev`` is mounted anyway."""
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class UnpackPolicy:
    """What an archive may bring.

    ``owners`` false leaves everything to the caller's user; ``capabilities`` are kept or dropped with a warning;
    ``overlay`` is the name space of the mount's attributes.
    """

    devices: Devices
    owners: bool = True
    capabilities: bool = True
    overlay: OverlayXattrs = OverlayXattrs.TRUSTED


ROOT_POLICY = UnpackPolicy(Devices.CREATE)
"""As root, for overlay mounts."""

ROOTLESS_POLICY = UnpackPolicy(Devices.SKIP, overlay=OverlayXattrs.USER)
"""As root of a user namespace with id ranges, for overlay mounts with ``userxattr``."""

MERGED_POLICY = UnpackPolicy(Devices.SKIP, owners=False, capabilities=False)
"""As an ordinary user, for a plain directory."""
