"""Publishing: the documented calls, put together from the use case, the registry client and kept answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.build.options import BuildOptions, VertexRow
from lamella.build.selection import Selection
from lamella.values import dataclass, field

if TYPE_CHECKING:
    from lamella.api.session import Session
    from lamella.api.standing import Standing
    from lamella.build.channels import Agenda
    from lamella.build.publish import Composer, MadeCells
    from lamella.engines.base import Engine, EngineUse
    from lamella.graph.events import EventSink
    from lamella.images.attest.provenance import BuildFacts
    from lamella.images.publish import Publication, PublishOutcome, Sign
    from lamella.images.push import Pusher
    from lamella.images.release import ReleaseFacts
    from lamella.planning.lowering import ImagePlan
    from lamella.project.cells import ImageCell
    from lamella.registry.client import RegistryClient
    from lamella.registry.remote import RemoteRepository

__all__ = ["PublishOptions", "PublishReport", "Standstill", "find_published", "publish"]

_KIND = "publish"
_MOVING = re.compile(rb"\{(commit|date|cwd|uid)\b|git:")
"""What makes a project's tags and layers depend on more than its files."""
RELEASE_FILE, NOTES_FILE = "release.json", "notes.md"


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """How to publish. ``channel`` empty: prod, all legal cells. ``attest`` None: what the channel says.

    ``unchecked`` goes on although the channel wants gates. ``dry_run`` builds, pushes and writes nothing.
    ``release_dir`` is where the release record goes, None for ``.lamella/release`` in the project.
    """

    channel: str = ""
    attest: tuple[str, ...] | None = None
    unchecked: bool = False
    dry_run: bool = False
    release_dir: Path | None = None
    build: BuildOptions = field(default=BuildOptions())


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What happened. ``release`` is the release record, ``written`` the files that hold it, ``cells`` are its
    subject; ``engine`` is what ran steps, None when none ran.
    """

    outcome: PublishOutcome
    release: dict[str, Any]
    rows: tuple[VertexRow, ...]
    seconds: float
    written: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    cells: tuple[ImageCell, ...] = ()
    engine: EngineUse | None = None


@dataclass(frozen=True, slots=True)
class Standstill:
    """A publication with nothing to do: (``repository:tag``, digest) of each image, as the registry has confirmed."""

    images: tuple[tuple[str, str], ...]
    release: dict[str, Any]
    seconds: float


def publish(session: Session, selection: Selection, options: PublishOptions, sink: EventSink) -> PublishReport:
    """Builds what is missing, pushes it, moves the tags that may move and writes the release record.

    A cell that fails is part of the report (``outcome.error`` is the first that counts); errors that concern all of it
    are raised before anything is built: ConfigError, AuthError, RegistryError.
    """
    start = session.clock.monotonic()
    work = _Work(session, selection, options, sink)
    if work.agenda.promote:
        from lamella.api.promote import promote_channel

        outcome = promote_channel(work.client, session.parts, work.agenda, dry_run=options.dry_run)
        rows: tuple[VertexRow, ...] = ()
    else:
        with session.store.lease(_KIND):
            outcome, rows = work.run()
    seconds = session.clock.monotonic() - start
    release = work.release(outcome)
    written = () if options.dry_run else work.write(release, outcome)
    if not options.dry_run and not work.agenda.promote and outcome.is_complete:
        _keep(session, selection, options, outcome, release, rows, work.holds_until)
    notes = tuple(work.notes)
    return PublishReport(outcome, release, rows, seconds, written, notes, work.agenda.selected, work.engine)


def find_published(session: Session, selection: Selection, options: PublishOptions) -> Standstill | None:
    """The report of a publication that is known to have nothing to do, after one manifest request per image.

    None when that is not known, or when a registry has something else now.
    """
    start = session.clock.monotonic()
    if options.dry_run or _forced(options.build):
        return None
    with session.store.lease(_KIND):
        answer = _recall(session, selection, options)
    if answer is None:
        return None
    from lamella.api.network import registry_client
    from lamella.oci.reference import parse_reference

    client = registry_client(session.options)

    def is_there(item: list[str]) -> bool:
        repository, tag, digest = item
        found = client.repository(parse_reference(repository)).head(tag)
        return found is not None and found.digest == digest

    with ThreadPoolExecutor(8) as pool:
        if not all(pool.map(is_there, answer["images"])):
            return None
    images = tuple((f"{repository}:{tag}", digest) for repository, tag, digest in answer["images"])
    return Standstill(images, answer["release"], session.clock.monotonic() - start)


def _forced(options: BuildOptions) -> bool:
    return bool(options.rebuild or options.no_cache or options.no_cache_filter or options.refresh)


def _recall(session: Session, selection: Selection, options: PublishOptions) -> Any | None:
    """The kept answer, without loading the project where its files tell everything."""
    from lamella.api.files import read_project_bytes

    if not _MOVING.search(read_project_bytes(session.path)):
        return session.recall(_KIND, _arguments(selection, options))
    standing = _standing(session, selection, options)
    return None if standing is None else standing.find(session.clock.now(), lambda ignore, declared: session.tree)


def _arguments(selection: Selection, options: PublishOptions) -> dict[str, Any]:
    return {
        "selection": selection,
        "channel": options.channel,
        "attest": options.attest,
        "unchecked": options.unchecked,
        "release": str(options.release_dir or ""),
        "compressor": options.build.compressor,
        "created": options.build.created,
        "labels": options.build.labels,
        "strict": options.build.strict,
        "records": options.build.export_all,
    }


def _standing(session: Session, selection: Selection, options: PublishOptions) -> Standing | None:
    """The place of a kept answer (see ``lamella.api.standing``); None where time itself is an input.

    Where the version or a template comes from the repository, the answer holds for one version and commit.
    """
    from lamella.api.files import LOCK_NAME, read_file_bytes, read_project_bytes

    asked, data = _arguments(selection, options), read_project_bytes(session.path)
    if not _MOVING.search(data):
        return session.standing(_KIND, asked)
    if session.contexts or (b"{date" in data and not session.options.environ.get("SOURCE_DATE_EPOCH")):
        return None
    from lamella.api.standing import Standing, question

    facts = session.parts.facts
    asked |= {
        "build arguments": session.parts.arguments,
        "facts": [facts.version, facts.commit, facts.cwd, facts.uid, options.build.created],
    }
    lock = read_file_bytes(session.root / LOCK_NAME) or b""
    words = question(_KIND, asked)
    return Standing(session.store, session.root, words, data, lock, session.host.platform())


def _keep(
    session: Session,
    selection: Selection,
    options: PublishOptions,
    outcome: PublishOutcome,
    release: dict[str, Any],
    rows: tuple[VertexRow, ...],
    until: int,
) -> None:
    """Keeps the answer: for each image one tag that stands for it, with its digest."""
    from lamella.api.declared import declared_patterns

    standing = _standing(session, selection, options)
    if not until or standing is None or _forced(options.build) or any(row.outcome != "reused" for row in rows):
        return
    chosen: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for tag in sorted(outcome.tags, key=lambda tag: not tag.plan.wanted.exact):
        cells = tuple(str(cell.where) for cell in tag.plan.cells)
        if tag.state != "held" and tag.digest:
            chosen.setdefault((tag.plan.repository, cells), [tag.plan.repository, tag.plan.tag, tag.digest])
    whole = [set(cells) for _, cells in chosen if len(cells) > 1]
    images = [
        named for (_, cells), named in chosen.items() if len(cells) > 1 or not any(cells[0] in more for more in whole)
    ]
    globs = session.project.ignore, declared_patterns(session.project)
    records = [row.key for row in rows if row.key]
    answer = {"images": images, "release": release}
    standing.keep(answer, until=until, tree=session.tree, globs=globs, records=records)


class _Work:
    """One publication in progress."""

    def __init__(self, session: Session, selection: Selection, options: PublishOptions, sink: EventSink) -> None:
        from lamella.api.network import registry_client
        from lamella.build.channels import make_agenda
        from lamella.project.later import refuse_later

        self.session, self.options, self.sink = session, options, sink
        self.agenda: Agenda = make_agenda(session.parts, selection, options.channel, unchecked=options.unchecked)
        images = {cell.image for cell in self.agenda.selected}
        refuse_later(session.project, "build", images=images)
        self.client: RegistryClient = registry_client(session.options)
        self.notes: list[str] = [f"{cell} has no tag and is not published" for cell in self.agenda.untagged]
        self.holds_until = 0
        self.engine: EngineUse | None = None
        self._repositories: dict[str, RemoteRepository] = {}

    def repository(self, name: str) -> RemoteRepository:
        """The repository of a name or reference."""
        from lamella.oci.reference import parse_reference

        if name not in self._repositories:
            self._repositories[name] = self.client.repository(parse_reference(name))
        return self._repositories[name]

    def run(self) -> tuple[PublishOutcome, tuple[VertexRow, ...]]:
        """Looks at the registry, builds, composes and pushes."""
        from lamella.build.publish import build_cells, planned_cells
        from lamella.images.publish import Publication

        publication = Publication(self.agenda.tags, self.repository)
        publication.look_ahead()
        session, cells = self.session, self.agenda.selected

        def engine() -> Engine:
            publication.look()  # a registry that refuses us is known before a step runs
            return session.engine()

        if self.options.dry_run:
            publication.look()
            return self._preview(publication, planned_cells(session.parts, cells, self.options.build))
        made = build_cells(
            session.parts,
            cells,
            self.options.build,
            store=session.store,
            engine=engine,
            sink=self.sink,
        )
        publication.look()
        self.holds_until, self.engine = made.holds_until, made.engine
        releases = self._composer().releases(made, self.agenda.cells)
        by_cell = {plan.where: plan for plan in self.agenda.cells}
        failed = {by_cell[cell]: error for cell, error in made.failed.items()}
        outcome = publication.publish(releases, failed, self._pusher(), sign=self._signer())
        if outcome.rewritten:
            dirty = " (built with changes that are not committed)" if session.vcs.is_dirty() else ""
            self.notes += [f"{tag} names another image than before{dirty}" for tag in outcome.rewritten]
        return outcome, made.rows

    def _preview(self, publication: Publication, made: MadeCells) -> tuple[PublishOutcome, tuple[VertexRow, ...]]:
        by_cell = {plan.where: plan for plan in self.agenda.cells}
        releases = self._composer().releases(made, self.agenda.cells)
        outcome = publication.preview(releases, {by_cell[cell]: "must be built" for cell in made.pending})
        return outcome, made.rows

    def _composer(self) -> Composer:
        from lamella.build.publish import Composer
        from lamella.images.forms import LayerForms

        self._forms = LayerForms(self.session.store, self.repository, self.session.parts.restorer)
        return Composer(
            self.session.parts,
            self.options.build,
            self._forms,
            attest=self._attest(),
            built_from=self._built_from(),
            repository_name=lambda location: self.repository(location).name,
        )

    def _pusher(self) -> Pusher:
        from lamella.graph.events import VertexProgress
        from lamella.images.push import Pusher

        clock, sink = self.session.clock, self.sink

        def on_progress(done: int, total: int) -> None:
            sink.emit(VertexProgress("push", "push", clock.monotonic(), done, total, "pushed"))

        return Pusher(self._forms, on_progress)

    def _attest(self) -> tuple[str, ...]:
        return self.agenda.attest if self.options.attest is None else self.options.attest

    def _signer(self) -> Sign | None:
        """What signs; None when nothing shall, or when cosign is not there, which is said."""
        if "cosign" not in self._attest():
            return None
        from lamella.images.attest.cosign import find_cosign

        options = self.session.options
        hosts = {plan.repository.partition("/")[0] for plan in self.agenda.cells}
        cosign = find_cosign(options.environ, insecure=not hosts.isdisjoint(options.insecure_registries))
        if cosign is None:
            self.notes.append("not signed: cosign is not on PATH")
            return None
        return cosign.sign

    def _built_from(self) -> Callable[[ImagePlan], BuildFacts]:
        from functools import cache

        from lamella.canonical import digest_bytes
        from lamella.project.lock import EMPTY_LOCK, render_lock

        session = self.session
        lock = "" if session.lock == EMPTY_LOCK else digest_bytes(render_lock(session.lock))

        @cache
        def source() -> tuple[str, bool]:
            return session.vcs.commit(), session.vcs.is_dirty()

        def built_from(image: ImagePlan) -> BuildFacts:
            from lamella.images.attest.provenance import BuildFacts

            commit, dirty = source()
            return BuildFacts(
                image.image.name,
                image.cell.values,
                session.project.digest,
                lock,
                commit,
                dirty,
                tuple(session.parts.arguments),
            )

        return built_from

    def release(self, outcome: PublishOutcome) -> dict[str, Any]:
        """The release record."""
        from lamella.images.release import release_json

        return release_json(self._facts(), outcome)

    def _facts(self) -> ReleaseFacts:
        from lamella.images.release import ReleaseFacts
        from lamella.project.channels import find_channel

        parts, agenda = self.session.parts, self.agenda
        checks = find_channel(parts.project, agenda.channel).checks if agenda.channel else ()
        return ReleaseFacts(
            parts.project.name,
            parts.facts.version or "",
            parts.facts.commit or "",
            agenda.channel,
            agenda.prerelease,
            self.options.build.created,
            agenda.require,
            checks,
            tuple(self.notes),
            agenda.specs,
            parts.project.delivery.device,
        )

    def write(self, release: dict[str, Any], outcome: PublishOutcome) -> tuple[Path, ...]:
        """Writes the release record as JSON and as notes; returns the files."""
        from lamella.commit import disk_errors, replace_file
        from lamella.images.release import notes_markdown

        own = self.session.root / ".lamella"
        folder = self.options.release_dir or own / "release"
        with disk_errors("writing the release record", folder):
            folder.mkdir(parents=True, exist_ok=True)
            if self.options.release_dir is None and not (own / ".gitignore").exists():
                (own / ".gitignore").write_bytes(b"*\n")
        data = json.dumps(release, indent=2, ensure_ascii=False).encode() + b"\n"
        replace_file(folder / RELEASE_FILE, data, what="writing the release record")
        replace_file(folder / NOTES_FILE, notes_markdown(self._facts(), outcome).encode(), what="writing release notes")
        return folder / RELEASE_FILE, folder / NOTES_FILE
