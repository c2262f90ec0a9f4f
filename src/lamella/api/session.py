"""A session: one project with its tree, lock, store and engine, and the calls on it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lamella.api.files import LOCK_NAME, find_project_file, read_file_bytes, read_project_bytes
from lamella.api.options import SessionOptions, Warn, open_store
from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.clock import SystemClock
from lamella.values import replace

if TYPE_CHECKING:
    from lamella.api.host import LocalHost
    from lamella.api.outputs import OutputTargets
    from lamella.api.standing import Standing
    from lamella.build.lock import LockChange
    from lamella.build.options import BuildOptions, BuildReport
    from lamella.build.parts import Parts
    from lamella.build.selection import Selection
    from lamella.cache.lookup import CacheLookup
    from lamella.engines.base import Engine
    from lamella.graph.events import EventSink
    from lamella.graph.record import Result
    from lamella.images.load import EarlyLoad
    from lamella.images.stored import StoredImage
    from lamella.layers.tar import ByteSink
    from lamella.planning.lowering import BuildGraph
    from lamella.planning.plan import Plan, PlanOptions
    from lamella.project.lock import Lock
    from lamella.project.projectfile import ProjectFile
    from lamella.project.template import TemplateFacts
    from lamella.sources.git import GitVcs
    from lamella.sources.worktree import WorkTree
    from lamella.store.store import Store

__all__ = ["Session", "SessionOptions", "open_session", "open_store"]

_CHANGES_ALONE = re.compile(rb"\{(commit|date|cwd|uid)\b|\\[uUx\s]")
"""Template variables whose values no file of the project tells, and escapes that could spell one."""


def open_session(
    file: Path | None,
    start: Path,
    options: SessionOptions,
    *,
    arguments: FrozenMap[str, str] = EMPTY_MAP,
    contexts: FrozenMap[str, Path] = EMPTY_MAP,
    warn: Warn = lambda text: None,
    later: bool = False,
) -> Session:
    """Loads a project; raises ConfigError with every problem of its files. With ``later`` they are read, and their
    errors raised, when something first asks for them.
    """
    path = find_project_file(file, start)
    session = Session(path, _shown(path, start), options, arguments, contexts, warn)
    if not later:
        session.load()
    return session


def _shown(path: Path, start: Path) -> str:
    """The file as people would type it."""
    relative = os.path.relpath(path, start)
    return str(path) if relative.startswith("../..") else relative


class Session:
    """One project. ``close`` ends its helpers; use it as a context manager. What is heavy is made on first use."""

    def __init__(
        self,
        path: Path,
        shown: str,
        options: SessionOptions,
        arguments: FrozenMap[str, str],
        contexts: FrozenMap[str, Path],
        warn: Warn,
    ) -> None:
        self.path = path
        self.root = path.parent
        self.options = options
        self.clock = SystemClock()
        self.warn = warn
        self.contexts = contexts
        self._shown = shown
        self._bytes = read_project_bytes(path)
        self._lock_bytes = read_file_bytes(self.root / LOCK_NAME)
        self._arguments = arguments
        self._tree: WorkTree | None = None
        self._engine: Engine | None = None
        self._parts: Parts | None = None
        self._loading: EarlyLoad | None = None
        self.answered: Standing | None = None
        """The question that :meth:`recall` had an answer to."""

    @property
    def lock_path(self) -> Path:
        """Where the lock is, or would be."""
        return self.root / LOCK_NAME

    def load(self) -> None:
        """Reads the project's files and opens the store. Raises ConfigError."""
        _ = self.project, self.store, self.lock

    @cached_property
    def store(self) -> Store:
        """The store, opened when it is first needed."""
        return open_store(self.options, warn=self.warn)

    @cached_property
    def project(self) -> ProjectFile:
        """The project file; raises ConfigError with all of its problems."""
        from lamella.project.load import parse_project

        return parse_project(self._bytes, file=self._shown)

    @cached_property
    def lock(self) -> Lock:
        """The lock; an absent one is empty."""
        from lamella.project.lock import EMPTY_LOCK, parse_lock

        return EMPTY_LOCK if self._lock_bytes is None else parse_lock(self._lock_bytes, file=LOCK_NAME)

    @cached_property
    def host(self) -> LocalHost:
        """This machine."""
        from lamella.api.host import LocalHost

        return LocalHost(self.options.environ)

    @property
    def tree(self) -> WorkTree:
        """The project's files."""
        return self._tree or self._open_tree(*self._globs())

    def _globs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        from lamella.api.declared import declared_patterns

        return self.project.ignore, declared_patterns(self.project)

    def _open_tree(self, ignore: tuple[str, ...], declared: tuple[str, ...]) -> WorkTree:
        from lamella.sources.worktree import WorkTree

        self._tree = WorkTree(
            self.root,
            clock=self.clock,
            env=self.options.environ,
            ignore=ignore,
            declared=declared,
            contexts=self.contexts,
            cache=self.store.scan,
        )
        return self._tree

    @cached_property
    def cache(self) -> CacheLookup | None:
        """The chain from the store to the cache repositories; None where there are none. Nothing is asked yet."""
        from lamella.api.cache import make_lookup

        return make_lookup(self)

    @cached_property
    def vcs(self) -> GitVcs:
        """The repository that the project is in."""
        from lamella.sources.git import GitVcs

        return GitVcs(self.root, self.options.environ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the engine and closes the store."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._tree is not None:
            self._tree.close()
        if "store" in self.__dict__:
            self.store.close()

    @property
    def parts(self) -> Parts:
        """The parts of the use cases."""
        if self._parts is None:
            from lamella.build.parts import Parts
            from lamella.engines.base import NO_RESTORER
            from lamella.stacks.table import StackTable

            self._parts = Parts(
                self.project,
                self.lock,
                self.tree,
                self.host,
                self.cache or self.store.lookup,
                self.clock,
                StackTable(),
                self._facts(),
                self._arguments,
                self.cache or NO_RESTORER,
            )
        return self._parts

    def _facts(self) -> TemplateFacts:
        from lamella.api.version import read_version
        from lamella.project.template import TemplateFacts

        commit = self.vcs.commit() if b"{commit}" in self._bytes else None
        epoch = self.options.environ.get("SOURCE_DATE_EPOCH") or ""
        return TemplateFacts(
            version=read_version(self.project.version, self.tree, self.vcs),
            commit=commit or None,
            epoch=int(epoch) if epoch.isdigit() else self.clock.now(),
            cwd=str(Path.cwd()),
            uid=os.getuid(),
            host=self.host.platform(),
        )

    def engine(self) -> Engine:
        """The engine that runs steps, made when it is first needed."""
        if self._engine is None:
            from lamella.api.engines import make_engine

            self._engine = make_engine(self)
        return self._engine

    def lower(self, selection: Selection) -> BuildGraph:
        """The Definition of a selection."""
        from lamella.build.parts import lower

        return lower(self.parts, selection)

    def plan(self, selection: Selection, options: PlanOptions | None = None, graph: BuildGraph | None = None) -> Plan:
        """What a build of a selection would do; changes nothing. ``graph`` is its Definition, when there is one."""
        from lamella.build.parts import plan
        from lamella.planning.plan import PlanOptions

        return plan(self.parts, selection, options or PlanOptions(now=self.clock.now()), graph)

    def unchanged(self, selection: Selection, options: BuildOptions) -> BuildReport | None:
        """The report of a build that is known to have nothing to do; None when only :meth:`build` can tell."""
        from lamella.api.unchanged import find_build

        start = self.clock.monotonic()
        found = find_build(self, selection, options)
        return None if found is None else replace(found, seconds=self.clock.monotonic() - start)

    def build(
        self, selection: Selection, options: BuildOptions, sink: EventSink, targets: OutputTargets | None = None
    ) -> BuildReport:
        """Builds the selected images, or with a layer in the selection that layer alone.

        The daemon of ``targets`` gets the images as soon as they are known; :meth:`write_outputs` waits for it.
        """
        from lamella.api.unchanged import keep_build
        from lamella.build.images import build_images

        if selection.layer:
            return self.build_layer(selection, options, sink)[2]
        known, store = partial(self._images_known, targets), self.store
        report = build_images(self.parts, selection, options, store=store, engine=self.engine, sink=sink, known=known)
        keep_build(self, selection, options, report)
        return report

    def _images_known(self, targets: OutputTargets | None, images: tuple[StoredImage, ...]) -> None:
        if targets is not None and targets.docker is not None:
            from lamella.images.load import EarlyLoad

            self._loading = EarlyLoad(self.store, images, targets.docker, mtime=self._mtime())

    def _mtime(self) -> int:
        """The time of an archive's members, in seconds since the epoch."""
        epoch = self.options.environ.get("SOURCE_DATE_EPOCH") or ""
        return int(epoch) if epoch.isdigit() else 0

    def build_layer(
        self, selection: Selection, options: BuildOptions, sink: EventSink
    ) -> tuple[BuildGraph, dict[str, Result], BuildReport]:
        """Builds one layer's product and what it stands on."""
        from lamella.build.images import build_layer

        return build_layer(self.parts, selection, options, store=self.store, engine=self.engine, sink=sink)

    def standing(self, kind: str, arguments: Mapping[str, Any]) -> Standing | None:
        """The place of a kept answer to a question; None where the project's files do not tell everything."""
        if self.contexts or _CHANGES_ALONE.search(self._bytes):
            return None
        from lamella.api.standing import Standing, question

        asked = question(kind, {**arguments, "build arguments": self._arguments})
        return Standing(self.store, self.root, asked, self._bytes, self._lock_bytes or b"", self.host.platform())

    def recall(self, kind: str, arguments: Mapping[str, Any]) -> Any | None:
        """The answer that was kept for a question, while nothing that it depends on has changed."""
        standing = self.standing(kind, arguments)
        found = None if standing is None else standing.find(self.clock.now(), self._open_tree)
        self.answered = standing if found is not None else None
        return found

    def keep(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        answer: Any,
        *,
        until: int,
        records: Iterable[str],
        blobs: Iterable[tuple[str, int]] = (),
        names: Mapping[str, str] = EMPTY_MAP,
    ) -> None:
        """Keeps an answer that holds ``until`` that second at most; see :meth:`lamella.api.standing.Standing.keep`."""
        standing = self.standing(kind, arguments)
        tagged = self.project.version is not None and self.project.version.kind == "git"
        if standing is None or tagged or until <= self.clock.now():
            return
        standing.keep(
            answer, until=until, tree=self.tree, globs=self._globs(), records=records, blobs=blobs, names=names
        )

    def write_lock(
        self, *, upgrade: tuple[str, ...] | None, say: Warn, check: bool = False
    ) -> tuple[tuple[LockChange, ...], bool]:
        """Resolves what the lock lacks and writes it; returns what changed and whether the file did.

        With ``check`` nothing is written and a lock that is not up to date raises ConfigError.
        """
        from lamella.api.resolvers import OutsideResolvers, StaleResolvers
        from lamella.build.lock import lock_project
        from lamella.commit import replace_file
        from lamella.errors import ConfigError
        from lamella.project.lock import EMPTY_LOCK, render_lock

        outside = OutsideResolvers(self.store, self.root, self.options, say)
        resolvers = StaleResolvers(outside) if check else outside
        lock, changes = lock_project(self.parts, resolvers, upgrade=None if check else upgrade, say=say)
        data, path = render_lock(lock), self.root / LOCK_NAME
        if lock == self.lock and (path.exists() or lock == EMPTY_LOCK):
            return changes, False
        if check:
            shown = tuple(f"{change.what}: {change.before or '-'} -> {change.after or 'dropped'}" for change in changes)
            raise ConfigError("lamella.lock is not up to date", hint="run: lamella lock", details=shown)
        replace_file(path, data)
        self._use_lock(lock, data)
        return changes, True

    def save_lock(self, lock: Lock) -> None:
        """Writes a lock that was made elsewhere and goes on with it."""
        from lamella.commit import replace_file
        from lamella.project.lock import render_lock

        data = render_lock(lock)
        replace_file(self.root / LOCK_NAME, data)
        self._use_lock(lock, data)

    def _use_lock(self, lock: Lock, data: bytes) -> None:
        self.lock, self._lock_bytes, self._parts = lock, data, None

    def check_outputs(
        self, outputs: Sequence[str], selection: Selection, *, load: bool = False, stdout_usable: bool = True
    ) -> OutputTargets | None:
        """The targets of ``-o`` options and ``--load``, None for none; raises ConfigError before anything is built."""
        if not outputs and not load:
            return None
        from lamella.api.outputs import check_targets
        from lamella.build.parts import selected_cells

        images = 0 if selection.layer else len(selected_cells(self.parts, selection))
        return check_targets(
            outputs, load=load, environ=self.options.environ, images=images, stdout_usable=stdout_usable
        )

    def write_outputs(
        self, report: BuildReport, targets: OutputTargets | None, sink: EventSink, *, stdout: ByteSink | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Writes a build's images to its targets and says (what, where) of each."""
        if targets is None:
            return ()
        from lamella.api.cache import bring_image
        from lamella.api.outputs import write_targets
        from lamella.images.stored import read_image

        for built in report.images:
            bring_image(self.store, self.options, read_image(self.store, built.manifest, built.names), self.warn)
        if self._tree is not None:
            self._tree.close()  # what it learnt is written while the daemon is at work
        loading, self._loading = self._loading, None
        return write_targets(
            self.store, report, targets, sink, clock=self.clock, mtime=self._mtime(), stdout=stdout, loading=loading
        )
