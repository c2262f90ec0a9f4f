"""Publishing: what a registry has now, what shall be there, and the way from one to the other.

A publication is made before anything is built, so that a wrong name or missing credentials are found out first, and
so that a tag which somebody else moves in the meantime is seen and left alone. Cells fail on their own: what succeeded
is released, and a tag over several platforms moves only when all of them are there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lamella.canonical import digest_bytes
from lamella.errors import LamellaError, RegistryError
from lamella.images.describe import index_annotations
from lamella.images.index import CellPlan, TagPlan, make_index
from lamella.images.push import Freight, Parcel, Pusher
from lamella.images.tags import held_tags, is_versioned
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor
from lamella.oci.platform import parse_platform
from lamella.registry.documents import Document
from lamella.registry.remote import RemoteRepository
from lamella.values import dataclass, field

__all__ = ["ImageState", "Publication", "PublishOutcome", "Release", "Sign", "TagState"]

T = TypeVar("T")
R = TypeVar("R")

_SIDE_BY_SIDE = 8
"""Manifests and tags that are on their way at once."""

Sign = Callable[[str, str], None]
"""Signs what a repository (``registry/path``) has under a digest."""


@dataclass(frozen=True, slots=True)
class Release:
    """A cell with the image that was made for it. ``layers`` says who made each layer, lowest first."""

    plan: CellPlan
    parcel: Parcel
    layers: tuple[str, ...] = ()

    @property
    def descriptor(self) -> Descriptor:
        """The manifest's, with its platform."""
        return self.parcel.manifest.descriptor(parse_platform(self.plan.platform))


@dataclass(frozen=True, slots=True)
class ImageState:
    """How it went with a cell: ``published``, ``unchanged`` (it was there) or ``failed``."""

    plan: CellPlan
    state: str
    release: Release | None = None
    error: LamellaError | None = None

    @property
    def fatal(self) -> bool:
        """Whether it failed and the project does not allow that."""
        return self.state == "failed" and not self.plan.where.allow_failure


@dataclass(frozen=True, slots=True)
class TagState:
    """How it went with a tag.

    ``moved``; ``unchanged``; ``held``, a newer version has it; ``waiting`` for platforms that are not there;
    ``failed``. ``digest`` is what it names now, empty when that is not known, ``before`` what it named.
    ``platforms`` are those behind it.
    """

    plan: TagPlan
    state: str
    digest: str = ""
    before: str = ""
    why: str = ""
    platforms: tuple[str, ...] = ()
    error: LamellaError | None = None


@dataclass(frozen=True, slots=True)
class PublishOutcome:
    """What a publication did. ``freight`` counts blobs and bytes."""

    images: tuple[ImageState, ...]
    tags: tuple[TagState, ...]
    freight: Freight = field(default_factory=Freight)

    @property
    def error(self) -> LamellaError | None:
        """The first failure that counts."""
        found = [image.error for image in self.images if image.fatal]
        found += [tag.error for tag in self.tags if tag.error is not None]
        return next((error for error in found if error is not None), None)

    @property
    def rewritten(self) -> tuple[str, ...]:
        """Tags of one version, commit or day that were out already and name another image now, with what they named."""
        moved = (tag for tag in self.tags if tag.state == "moved" and tag.before and tag.plan.wanted.exact)
        return tuple(f"{tag.plan}, out already as {short_digest(tag.before)}," for tag in moved)

    @property
    def is_complete(self) -> bool:
        """Whether every cell is there and every tag is where it belongs."""
        return all(i.state != "failed" for i in self.images) and all(t.state in _SETTLED for t in self.tags)


_SETTLED = ("moved", "unchanged", "held")


@dataclass(frozen=True, slots=True)
class _Goal:
    """What a tag shall name: the document, and the releases behind it."""

    plan: TagPlan
    data: bytes
    descriptor: Descriptor
    releases: tuple[Release, ...]

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(release.plan.platform for release in self.releases)


class Publication:
    """The tags of some cells in their repositories. ``repository`` opens one by its name."""

    def __init__(self, plans: tuple[TagPlan, ...], repository: Callable[[str], RemoteRepository]) -> None:
        self.plans = plans
        self._repositories = {name: repository(name) for name in dict.fromkeys(plan.repository for plan in plans)}
        self._before: dict[str, Descriptor | None] = {}
        self._tags: dict[str, tuple[str, ...]] = {}
        self._failed: dict[CellPlan, LamellaError] = {}
        self._asking: threading.Thread | None = None
        self._trouble: BaseException | None = None

    def look_ahead(self) -> None:
        """Begins to ask what every tag names now, meanwhile the caller goes on; :meth:`look` has the answers."""

        def ask() -> None:
            try:
                self._ask()
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                self._trouble = error

        self._asking = threading.Thread(target=ask, daemon=True, name="lamella-look-ahead")
        self._asking.start()

    def look(self) -> None:
        """What every tag names now: one request each, or their answers. Raises AuthError, RegistryError."""
        if self._asking is None:
            self._ask()
            return
        self._asking.join()
        if self._trouble is not None:
            raise self._trouble

    def _ask(self) -> None:
        found = _parallel(lambda plan: self._repositories[plan.repository].head(plan.tag), self.plans)
        self._before = {str(plan): descriptor for plan, descriptor in zip(self.plans, found, strict=True)}

    def publish(
        self,
        releases: Iterable[Release],
        failed: Mapping[CellPlan, LamellaError],
        pusher: Pusher,
        *,
        sign: Sign | None = None,
    ) -> PublishOutcome:
        """Pushes what is not there and moves the tags that may move; ``failed`` are cells that could not be built."""
        self._failed = dict(failed)
        made = {release.plan: release for release in releases}
        wanted = self._outdated(made)
        pusher.bring((self._of(release.plan), release.parcel) for release in wanted)
        pushed = [release for release in _parallel(lambda one: self._push(one, pusher), wanted) if release]
        there = {plan: one for plan, one in made.items() if one not in wanted or one in pushed}
        self._push_indexes(there)
        if sign is not None:
            self._sign(there, sign)
        there = {plan: release for plan, release in there.items() if plan not in self._failed}
        tags = self._in_turn(lambda plan: self._tag(plan, there))
        order = {str(plan): number for number, plan in enumerate(self.plans)}
        images = tuple(self._image(plan, there, wanted) for plan in self._cells())
        return PublishOutcome(images, tuple(sorted(tags, key=lambda tag: order[str(tag.plan)])), pusher.freight)

    def promote(self, found: Mapping[str, Document], *, dry_run: bool = False) -> PublishOutcome:
        """Moves tags to documents that their repositories have already, by ``str`` of the tag's plan."""

        def one(plan: TagPlan) -> TagState:
            document = found[str(plan)]
            goal = _Goal(plan, document.data, document.descriptor, ())
            settled = self._judge(plan, goal)
            if settled is not None:
                return settled
            before = self._digest_before(plan)
            try:
                if not dry_run:
                    self._check_unmoved(goal)
                    self._of(plan).tag(goal.data, goal.descriptor.media_type, (plan.tag,))
            except LamellaError as error:
                return TagState(plan, "failed", before, before, error.message, error=error)
            return TagState(plan, "moved", document.descriptor.digest, before)

        return PublishOutcome((), self._in_turn(one))

    def preview(self, releases: Iterable[Release], pending: Mapping[CellPlan, str]) -> PublishOutcome:
        """What :meth:`publish` would do; ``pending`` are cells that would have to be built first, and why."""
        made = {release.plan: release for release in releases}
        wanted = self._outdated(made)
        images = [ImageState(plan, "pending") for plan in pending]
        images += [ImageState(r.plan, "published" if r in wanted else "unchanged", r) for r in made.values()]
        freight = Freight()
        for repository, blob in {(self._of(r.plan), blob) for r in wanted for blob in r.parcel.blobs}:
            there = repository.has_blob(blob.digest, blob.size)
            freight.blobs["present" if there else "sent"] += 1
            freight.sent_bytes += 0 if there else blob.size
        return PublishOutcome(tuple(images), tuple(self._foreseen(plan, made, pending) for plan in self.plans), freight)

    def _foreseen(self, plan: TagPlan, made: Mapping[CellPlan, Release], pending: Mapping[CellPlan, str]) -> TagState:
        before = self._digest_before(plan)
        if any(cell in pending for cell in plan.cells) and all(cell.selected for cell in plan.cells):
            held = self._held(plan)
            return TagState(plan, "held", before, before, held) if held else TagState(plan, "moved", "", before)
        goal = self._goal(plan, made)
        return self._judge(plan, goal) or TagState(plan, "moved", goal.descriptor.digest if goal else "", before)

    # -- parts -----------------------------------------------------------------------------------------------------

    def _of(self, plan: CellPlan | TagPlan) -> RemoteRepository:
        return self._repositories[plan.repository]

    def _cells(self) -> tuple[CellPlan, ...]:
        return tuple(dict.fromkeys(cell for plan in self.plans for cell in plan.cells if cell.selected))

    def _digest_before(self, plan: TagPlan) -> str:
        before = self._before.get(str(plan))
        return before.digest if before is not None else ""

    def _in_turn(self, work: Callable[[TagPlan], TagState]) -> tuple[TagState, ...]:
        """Does all tags, those of manifests before those of indexes, exact ones before those that people follow.

        Putting a tag writes the manifest's entry anew; docker-registry's file system driver truncates it first, so an
        index that is put at the same time finds its manifest unknown (seen with 2.8.2).
        """
        found: tuple[TagState, ...] = ()
        for index in (False, True):
            for exact in (True, False):
                turn = [plan for plan in self.plans if (plan.is_index, plan.wanted.exact) == (index, exact)]
                found += _parallel(work, turn)
        return found

    def _outdated(self, made: Mapping[CellPlan, Release]) -> tuple[Release, ...]:
        """The releases that a tag would have to move for: those behind no such tag are there already."""
        found: dict[Release, None] = {}
        for plan in self.plans:
            goal = self._goal(plan, made)
            if goal is None:  # an index that waits; its cells may have no other tag
                found |= dict.fromkeys(made[cell] for cell in plan.cells if cell in made)
            elif goal.descriptor.digest != self._digest_before(plan):
                found |= dict.fromkeys(goal.releases)
        return tuple(found)

    def _goal(self, plan: TagPlan, made: Mapping[CellPlan, Release]) -> _Goal | None:
        """What a tag shall name; None while a cell behind it is not there and must be."""
        releases = tuple(made[cell] for cell in plan.cells if cell in made)
        excepted = [c for c in plan.cells if c not in made and c.where.allow_failure and c in self._failed]
        if not releases or len(releases) + len(excepted) < len(plan.cells):
            return None
        if plan.is_index:
            annotations = index_annotations(tuple(release.parcel.manifest for release in releases))
            index = make_index([release.descriptor for release in releases], annotations)
            data, kind = index.to_bytes(), index.media_type
        else:
            data, kind = releases[0].parcel.manifest.to_bytes(), releases[0].parcel.manifest.media_type
        return _Goal(plan, data, Descriptor(kind, digest_bytes(data), len(data)), releases)

    def _push(self, release: Release, pusher: Pusher) -> Release | None:
        try:
            pusher.push(self._of(release.plan), release.parcel)
        except LamellaError as error:
            self._failed[release.plan] = error
            return None
        return release

    def _push_indexes(self, there: Mapping[CellPlan, Release]) -> None:
        """Indexes by digest, before anything is signed or tagged; those that a tag names already are there."""
        goals = [goal for plan in self.plans if plan.is_index and (goal := self._goal(plan, there))]
        fresh = {(g.plan.repository, g.descriptor.digest): g for g in goals if not self._is_named(g)}
        for goal in fresh.values():
            try:
                self._of(goal.plan).push_manifest(goal.data, goal.descriptor.media_type)
            except LamellaError as error:
                self._failed |= dict.fromkeys(goal.plan.cells, error)

    def _is_named(self, goal: _Goal) -> bool:
        return self._digest_before(goal.plan) == goal.descriptor.digest

    def _sign(self, there: Mapping[CellPlan, Release], sign: Sign) -> None:
        """Signs what will be tagged and what an index holds; what cannot be signed is not tagged."""
        signed: set[tuple[str, str]] = set()
        for plan in self.plans:
            goal = self._goal(plan, there)
            if goal is None or self._is_named(goal):
                continue
            digests = (*(release.descriptor.digest for release in goal.releases), goal.descriptor.digest)
            fresh = [digest for digest in dict.fromkeys(digests) if (plan.repository, digest) not in signed]
            try:
                for digest in fresh:
                    sign(self._of(plan).name, digest)
                    signed.add((plan.repository, digest))
            except LamellaError as error:
                self._failed |= {release.plan: error for release in goal.releases}

    def _tag(self, plan: TagPlan, there: Mapping[CellPlan, Release]) -> TagState:
        """Moves one tag, if it may move."""
        goal = self._goal(plan, there)
        before = self._digest_before(plan)
        try:
            settled = self._judge(plan, goal)
            if settled is not None or goal is None:
                return settled or TagState(plan, "waiting", before, before)
            self._check_unmoved(goal)
            self._of(plan).tag(goal.data, goal.descriptor.media_type, (plan.tag,))
        except LamellaError as error:
            return TagState(plan, "failed", before, before, error.message, error=error)
        return TagState(plan, "moved", goal.descriptor.digest, before, self._excepted(plan, goal), goal.platforms)

    def _judge(self, plan: TagPlan, goal: _Goal | None) -> TagState | None:
        """The state of a tag that does not move; None for one that does."""
        before = self._digest_before(plan)
        if goal is None:
            return TagState(plan, "waiting", before, before, self._missing(plan))
        if before == goal.descriptor.digest:
            return TagState(plan, "unchanged", before, before, self._excepted(plan, goal), goal.platforms)
        held = self._held(plan)
        return TagState(plan, "held", before, before, held) if held else None

    def _missing(self, plan: TagPlan) -> str:
        """Why a tag cannot move."""
        failed = [cell.platform for cell in plan.cells if cell in self._failed]
        if failed:
            return f"{', '.join(failed)} failed"
        left_out = ", ".join(cell.platform for cell in plan.cells if not cell.selected)
        return f"{left_out} not selected; publish all platforms in one run, what is built is reused"

    def _excepted(self, plan: TagPlan, goal: _Goal) -> str:
        there = goal.platforms or tuple(cell.platform for cell in plan.cells)
        left = ", ".join(cell.platform for cell in plan.cells if cell.platform not in there)
        return f"without {left}, which failed and may" if left else ""

    def _held(self, plan: TagPlan) -> str:
        """Why a floating tag stays where it is; empty when it may move."""
        cell = plan.cells[0]
        if plan.wanted.exact or not is_versioned(cell.tags, cell.scope):
            return ""
        if plan.repository not in self._tags:
            self._tags[plan.repository] = self._of(plan).tags()
        found = held_tags(cell.tags, cell.scope, self._tags[plan.repository])
        newer = next((held.newer for held in found if held.tag == plan.tag), "")
        return f"{newer} is published and newer" if newer else ""

    def _check_unmoved(self, goal: _Goal) -> None:
        """Raises RegistryError when somebody else moved a tag since this run looked at it first."""
        plan, before = goal.plan, self._digest_before(goal.plan)
        found = self._of(plan).head(plan.tag)
        now = found.digest if found is not None else ""
        if now not in (before, goal.descriptor.digest):
            raise RegistryError(
                f"{plan} was moved by somebody else while this run was at work: from "
                f"{short_digest(before) or 'nothing'} to {short_digest(now) or 'nothing'}; it was left there",
                hint="find out who else publishes it; the next run takes what is there now as its start",
            )

    def _image(self, plan: CellPlan, there: Mapping[CellPlan, Release], wanted: tuple[Release, ...]) -> ImageState:
        error = self._failed.get(plan)
        if error is not None:
            return ImageState(plan, "failed", None, error)
        release = there[plan]
        return ImageState(plan, "published" if release in wanted else "unchanged", release)


def _parallel(work: Callable[[T], R], items: Iterable[T]) -> tuple[R, ...]:
    """Does all items, a few side by side; the results in order."""
    items = tuple(items)
    if len(items) <= 1:
        return tuple(map(work, items))
    with ThreadPoolExecutor(min(_SIDE_BY_SIDE, len(items))) as pool:
        return tuple(pool.map(work, items))
