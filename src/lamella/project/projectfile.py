"""The validated project file: typed where no cell matters, nodes with templates and ``when`` where one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamella.canonical import FrozenMap
from lamella.project.cells import PLATFORM, AxisPattern, ImageCell, combinations, matches
from lamella.project.settings import CacheSpec, EngineSpec, SecretSpec
from lamella.project.toml import Node
from lamella.project.version import VersionSource
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.project.delivery import Delivery

__all__ = ["DEFAULT_PLATFORM", "ProjectFile"]

DEFAULT_PLATFORM = "linux/amd64"
"""The platform of checks that need one when the file names none; commands hand in this machine's."""


@dataclass(frozen=True, slots=True, eq=False)
class ProjectFile:
    """Everything of one ``lamella.toml``.

    ``axes`` are complete and in order: the file's, then ``profile``, then ``platform`` (no values when the file has
    none: this machine's). ``layers`` and ``images`` are checked nodes that ``expand`` makes values of; ``root`` is the
    whole file as nodes. ``image_cells`` are the cells each image is limited to, ``digest`` is that of the bytes.
    """

    file: str
    digest: str
    name: str
    repository: Node | None
    version: VersionSource | None
    ignore: tuple[str, ...]
    axes: FrozenMap[str, tuple[str, ...]]
    exclude: tuple[AxisPattern, ...]
    allow_failure: tuple[AxisPattern, ...]
    args: FrozenMap[str, str]
    secrets: FrozenMap[str, SecretSpec]
    layers: FrozenMap[str, Node]
    images: FrozenMap[str, Node]
    image_cells: FrozenMap[str, AxisPattern]
    cache: CacheSpec
    engine: EngineSpec
    root: Node
    tables: Delivery | None = None

    @property
    def delivery(self) -> Delivery:
        """The tables about devices, services, gates, channels and CI; all empty when the file has none of them."""
        if self.tables is not None:
            return self.tables
        from lamella.project.delivery import Delivery

        return Delivery()

    def root_names(self, table: str) -> Mapping[str, Node]:
        """The entries of one of the file's tables as nodes, whether or not they are sound."""
        node = self.root.value.get(table)
        return node.value if node is not None and isinstance(node.value, FrozenMap) else {}

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
