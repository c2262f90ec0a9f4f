"""The validated project file: typed where no cell matters, nodes with templates and ``when`` where one does."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.canonical import FrozenMap
from lamella.project.cells import PLATFORM, AxisPattern, ImageCell, combinations, matches
from lamella.project.delivery import (
    BenchSpec,
    CacheSpec,
    ChannelSpec,
    CheckSpec,
    CiSpec,
    CycleSpec,
    DeviceSpec,
    EngineSpec,
    GenerateSpec,
    RetainSpec,
    ServiceSpec,
    WorkspaceSpec,
)
from lamella.project.spec import SecretSpec
from lamella.project.toml import Node
from lamella.project.version import VersionSource

__all__ = ["DEFAULT_PLATFORM", "ProjectFile"]

DEFAULT_PLATFORM = "linux/amd64"
"""The platform of checks that need one when the file names none; commands hand in this machine's."""


@dataclass(frozen=True, slots=True, eq=False)
class ProjectFile:
    """Everything of one ``lamella.toml``.

    ``axes`` are complete and in order: the file's, then ``profile``, then ``platform`` (no values when the file has
    none: this machine's). ``layers``, ``images`` and ``channel_nodes`` are checked nodes; ``expand`` makes values of
    the first two. ``image_cells`` are the cells each image is limited to. ``digest`` is that of the file's bytes.
    """

    file: str
    digest: str
    name: str
    repository: Node | None
    version: VersionSource | None
    ignore: tuple[str, ...]
    workspace: WorkspaceSpec | None
    axes: FrozenMap[str, tuple[str, ...]]
    exclude: tuple[AxisPattern, ...]
    allow_failure: tuple[AxisPattern, ...]
    args: FrozenMap[str, str]
    secrets: FrozenMap[str, SecretSpec]
    layers: FrozenMap[str, Node]
    images: FrozenMap[str, Node]
    image_cells: FrozenMap[str, AxisPattern]
    devices: FrozenMap[str, DeviceSpec]
    services: FrozenMap[str, ServiceSpec]
    generate: FrozenMap[str, GenerateSpec]
    checks: FrozenMap[str, CheckSpec]
    bench: BenchSpec
    channels: FrozenMap[str, ChannelSpec]
    channel_nodes: FrozenMap[str, Node]
    retain: FrozenMap[str, RetainSpec]
    cache: CacheSpec
    engine: EngineSpec
    ci: CiSpec
    cycle: CycleSpec
    root: Node

    def axes_for(self, host: str = DEFAULT_PLATFORM) -> FrozenMap[str, tuple[str, ...]]:
        """All axes with values; a file without platforms has the one of ``host``."""
        return self.axes if self.axes[PLATFORM] else self.axes.with_items({PLATFORM: (host,)})

    def cells(self, host: str = DEFAULT_PLATFORM) -> tuple[ImageCell, ...]:
        """Every image in every legal cell: images in file order, cells with the first axis slowest.

        ``host`` is this machine's platform, ``linux/amd64``.
        """
        legal = combinations(self.axes_for(host), self.exclude)
        return tuple(
            ImageCell(image, cell, any(matches(pattern, cell) for pattern in self.allow_failure))
            for image in self.images
            for cell in legal
            if matches(self.image_cells[image], cell)
        )
