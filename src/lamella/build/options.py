"""How a build is asked for, and what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.values import dataclass, field

if TYPE_CHECKING:
    from lamella.engines.base import EngineUse
    from lamella.oci.manifest import Descriptor

__all__ = ["BuildOptions", "BuildReport", "BuiltImage", "VertexRow"]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of one build, with buildx's meanings where it has them.

    ``rebuild`` runs the project's steps again with warm states, ``no_cache`` all steps without states,
    ``no_cache_filter`` those of some layers. ``memory`` in bytes, 0 for no bound. ``created`` is RFC 3339.
    ``tags`` are further local names, ``labels`` win over the project's. ``export_all`` writes the layers of toolchains
    too, which no image has, so that they can be pushed.
    """

    rebuild: bool = False
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    refresh: bool = False
    offline: bool = False
    strict: bool = False
    jobs: int = 0
    memory: int = 0
    compressor: str = ""
    export_all: bool = False
    created: str = ""
    tags: tuple[str, ...] = ()
    labels: FrozenMap[str, str] = EMPTY_MAP
    secrets: FrozenMap[str, bytes] = field(default=EMPTY_MAP, repr=False)


@dataclass(frozen=True, slots=True)
class VertexRow:
    """What happened to one vertex: outcome, seconds, and why it was built."""

    name: str
    layer: str
    outcome: str
    seconds: float
    key: str
    why: str = ""
    size: int = 0
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """One image of one cell. ``size`` is that of its compressed layers in bytes; ``names`` local names."""

    name: str
    cell: str
    platform: str
    manifest: Descriptor
    config_digest: str
    layers: tuple[tuple[str, str, int], ...]
    """(layer's name, diff_id, bytes of the blob), lowest first."""
    names: tuple[str, ...]
    changed: bool = True

    @property
    def size(self) -> int:
        """Bytes of all blobs of layers."""
        return sum(size for _, _, size in self.layers)


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Everything a build did. ``holds_until``: nothing was to do, and without a change of any input there will be
    nothing before that second; 0 when that cannot be said. ``engine`` is what ran steps, None when none ran.
    """

    images: tuple[BuiltImage, ...]
    vertices: tuple[VertexRow, ...]
    seconds: float
    warnings: tuple[str, ...] = ()
    holds_until: int = 0
    engine: EngineUse | None = None

    def count(self, outcome: str) -> int:
        """How many vertices ended so."""
        return sum(row.outcome == outcome for row in self.vertices)
