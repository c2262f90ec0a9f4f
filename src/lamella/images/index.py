"""From cells to tags: what each tag names, a manifest or an index over platforms. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError
from lamella.images.tags import WantedTag
from lamella.oci.manifest import Descriptor, Index
from lamella.project.cells import PLATFORM, ImageCell
from lamella.project.template import Scope
from lamella.values import dataclass

__all__ = ["CellPlan", "TagPlan", "make_index", "tag_plans"]


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One legal cell of an image with its repository and tags. ``scope`` has the values of their variables.

    ``selected`` is false for a cell that this command was not asked for: an index may still have to wait for it.
    """

    where: ImageCell
    repository: str
    tags: tuple[WantedTag, ...]
    scope: Scope
    selected: bool = True

    @property
    def platform(self) -> str:
        """``linux/amd64``."""
        return self.where.cell.platform

    @property
    def variant(self) -> tuple[object, ...]:
        """What the cells that one index may hold have in common."""
        return (self.where.image, self.where.cell.without(PLATFORM))


@dataclass(frozen=True, slots=True)
class TagPlan:
    """A tag of a repository and the cells that it stands for, in the project's order."""

    repository: str
    wanted: WantedTag
    cells: tuple[CellPlan, ...]

    @property
    def tag(self) -> str:
        """The tag itself."""
        return self.wanted.tag

    @property
    def is_index(self) -> bool:
        """Whether it names an index: over more than one legal platform."""
        return len(self.cells) > 1

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def tag_plans(cells: Iterable[CellPlan]) -> tuple[TagPlan, ...]:
    """Every tag that a selected cell has, with all legal cells that have it.

    Raises ConfigError when cells that no index can hold together want one tag.
    """
    owners: dict[tuple[str, str], list[CellPlan]] = {}
    for cell in cells:
        for wanted in cell.tags:
            owners.setdefault((cell.repository, wanted.tag), []).append(cell)
    plans = []
    for (repository, tag), found in owners.items():
        first = found[0]
        wanted = next(item for item in first.tags if item.tag == tag)
        for other in found[1:]:
            if other.variant != first.variant or wanted.single or other.platform == first.platform:
                raise ConfigError(
                    f"{first.where} and {other.where} would both be {repository}:{tag}",
                    hint="let the tag hold what differs: {version}-{AXIS}",
                )
        if any(cell.selected for cell in found):
            plans.append(TagPlan(repository, wanted, tuple(found)))
    return tuple(plans)


def make_index(manifests: Sequence[Descriptor], annotations: Mapping[str, str] = EMPTY_MAP) -> Index:
    """An index over manifests of different platforms, in the order given (image-spec, image-index.md)."""
    return Index(tuple(manifests), annotations=FrozenMap(annotations))
