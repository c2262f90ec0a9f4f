"""What a publication is about: the cells that are selected, by a channel or by hand, with repositories and tags."""

from __future__ import annotations

from lamella.build.parts import Parts
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.images.index import CellPlan, TagPlan, tag_plans
from lamella.images.tags import is_prerelease, wanted_tags
from lamella.project.cells import PLATFORM, PROFILE, Cell, ImageCell
from lamella.project.channels import channel_in, find_channel
from lamella.project.delivery import ChannelSpec
from lamella.project.expand import complete_args, expand
from lamella.project.select import select_cells
from lamella.project.spec import ImageSpec
from lamella.project.template import Scope
from lamella.values import dataclass, replace

__all__ = ["ATTESTATIONS", "Agenda", "make_agenda", "source_tags"]

ATTESTATIONS = ("sbom", "provenance")
"""What is pushed with an image unless a channel says otherwise."""


@dataclass(frozen=True, slots=True)
class Agenda:
    """What shall be published. ``cells`` are all legal ones behind the wanted tags, selected or not.

    ``specs`` are the images of the cells. ``channel`` is empty without one; ``promote`` names the channel whose tested
    result is tagged again instead of building. ``untagged`` are selected cells that have no tag and so are left out.
    """

    cells: tuple[CellPlan, ...]
    tags: tuple[TagPlan, ...]
    specs: FrozenMap[ImageCell, ImageSpec]
    channel: str = ""
    promote: str = ""
    prerelease: bool = False
    require: str = "all"
    attest: tuple[str, ...] = ATTESTATIONS
    untagged: tuple[ImageCell, ...] = ()

    @property
    def selected(self) -> tuple[ImageCell, ...]:
        """The cells to publish."""
        return tuple(dict.fromkeys(plan.where for plan in self.cells if plan.selected))


def make_agenda(parts: Parts, selection: Selection, channel: str = "", *, unchecked: bool = False) -> Agenda:
    """The agenda of a selection: every legal cell of the prod profile within it, or what a channel names.

    ``unchecked`` goes on although the channel wants gates, which nothing here runs. Raises ConfigError: no repository,
    no tag, two cells with one tag, a channel that does not publish.
    """
    spec = _channel(parts, channel, unchecked=unchecked) if channel else None
    wanted = _select(parts, selection, spec)
    chosen = frozenset((cell.image, cell.cell) for cell in wanted)
    variants = {(cell.image, cell.cell.without(PLATFORM)) for cell in wanted}
    legal = [cell for cell in _legal(parts, selection) if (cell.image, cell.cell.without(PLATFORM)) in variants]
    prerelease = (spec is not None and spec.prerelease) or is_prerelease(parts.facts.version)
    plans: list[CellPlan] = []
    specs: dict[ImageCell, ImageSpec] = {}
    for where in legal:
        image = _expanded(parts, where)
        plan = _plan(parts, where, image, channel, prerelease=prerelease)
        plans.append(replace(plan, selected=(where.image, where.cell) in chosen))
        specs[where] = image
    untagged = tuple(plan.where for plan in plans if plan.selected and not plan.tags)
    if not any(plan.selected and plan.tags for plan in plans):
        raise ConfigError(
            f"{', '.join(map(str, untagged[:3]))} {'has' if len(untagged) == 1 else 'have'} no tag to publish under",
            hint="give the image tags; those of dev cells stand under when.profile.dev",
        )
    plans = [plan for plan in plans if plan.tags]
    return Agenda(
        tuple(plans),
        tag_plans(plans),
        FrozenMap(specs),
        channel,
        spec.promote or "" if spec else "",
        prerelease,
        spec.require if spec else "all",
        spec.attest if spec else ATTESTATIONS,
        untagged,
    )


def source_tags(parts: Parts, agenda: Agenda) -> dict[CellPlan, tuple[str, ...]]:
    """For a channel that promotes: the tags that the other channel itself gives each cell."""
    found = {}
    for plan in agenda.cells:
        tested = channel_in(parts.project, agenda.promote, plan.where.cell)
        only_its_own = replace(agenda.specs[plan.where], tags=(), manifest_tags=())
        found[plan] = tuple(tag.tag for tag in wanted_tags(only_its_own, plan.scope, tested))
    return found


def _channel(parts: Parts, name: str, *, unchecked: bool) -> ChannelSpec:
    spec = find_channel(parts.project, name)
    publishes = spec.publish if spec.publish is not None else any(event.kind != "pull_request" for event in spec.on)
    if not publishes:
        raise ConfigError(f"channel {name} does not publish", hint="publish = true would change that")
    if spec.checks and not unchecked:
        raise ConfigError(
            f"channel {name} wants the gates {', '.join(spec.checks)} first: not yet, nothing runs them here",
            hint="run them yourself, then add --unchecked; the release record says that they did not run",
        )
    return spec


def _select(parts: Parts, selection: Selection, channel: ChannelSpec | None) -> tuple[ImageCell, ...]:
    only = dict(selection.only)
    profile: str | None = selection.profile or "prod"
    images = selection.images
    if channel is not None:
        only = {**channel.only, **only}
        images = images or channel.images
        if selection.profile:
            only.pop(PROFILE, None)
        profile = selection.profile or (None if PROFILE in only else "prod")
    elif PROFILE in only:
        profile = None
    host = parts.host.platform()
    found = select_cells(
        parts.project, images=images, profile=profile, only=only, platforms=selection.platforms, all=True, host=host
    )
    if not found:
        raise ConfigError("the selection matches no image cell", hint="see: lamella plan --all")
    return found


def _legal(parts: Parts, selection: Selection) -> tuple[ImageCell, ...]:
    """Every legal cell; without a platform axis those of the platforms that were named, or this machine's."""
    ad_hoc = selection.platforms if selection.platforms and not parts.project.axes[PLATFORM] else ()
    hosts = ad_hoc or (parts.host.platform(),)
    return tuple(dict.fromkeys(cell for host in hosts for cell in parts.project.cells(host)))


def _expanded(parts: Parts, where: ImageCell) -> ImageSpec:
    cell = expand(parts.project, cell=where.cell, args=parts.arguments, facts=parts.facts, images=(where.image,))
    return cell.image(where.image)


def _plan(parts: Parts, where: ImageCell, image: ImageSpec, channel: str, *, prerelease: bool) -> CellPlan:
    scope = scope_of(parts, where.cell)
    spec = channel_in(parts.project, channel, where.cell) if channel else None
    if image.repository is None:
        raise ConfigError(
            f"image {where.image} has no repository to be published to",
            hint=f'set project.repository = "registry.example/team/{parts.project.name}"',
        )
    return CellPlan(where, image.repository, wanted_tags(image, scope, spec, prerelease=prerelease), scope)


def scope_of(parts: Parts, cell: Cell) -> Scope:
    """The values of all variables in one cell."""
    return Scope(parts.facts, cell.values, complete_args(parts.project, parts.arguments))
