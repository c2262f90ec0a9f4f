"""A session: one project with its tree, lock, store and engine, and the calls on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lamella.api.files import LOCK_NAME, declared_patterns, find_project_file, read_lock, read_project_bytes
from lamella.api.host import LocalHost
from lamella.api.options import SessionOptions, Warn, open_store
from lamella.api.outputs import OutputTargets, check_targets, write_targets
from lamella.api.version import read_version
from lamella.build.images import build_images, build_layer
from lamella.build.options import BuildOptions, BuildReport
from lamella.build.parts import Parts, Selection, lower, plan, selected_cells
from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.clock import SystemClock
from lamella.commit import replace_file
from lamella.engines.base import Engine
from lamella.errors import ConfigError
from lamella.graph.events import EventSink
from lamella.graph.record import Result
from lamella.layers.tar import ByteSink
from lamella.planning.lowering import BuildGraph
from lamella.planning.plan import Plan, PlanOptions
from lamella.project.load import parse_project
from lamella.project.lock import EMPTY_LOCK, Lock, render_lock
from lamella.project.projectfile import ProjectFile
from lamella.project.template import TemplateFacts
from lamella.sources.git import GitVcs
from lamella.sources.worktree import WorkTree
from lamella.stacks.table import StackTable

if TYPE_CHECKING:
    from lamella.build.lock import LockChange

__all__ = ["Session", "SessionOptions", "open_session", "open_store"]


def open_session(
    file: Path | None,
    start: Path,
    options: SessionOptions,
    *,
    arguments: FrozenMap[str, str] = EMPTY_MAP,
    contexts: FrozenMap[str, Path] = EMPTY_MAP,
    warn: Warn = lambda text: None,
) -> Session:
    """Loads a project; raises ConfigError with every problem of its files."""
    path = find_project_file(file, start)
    project = parse_project(read_project_bytes(path), file=_shown(path, start))
    return Session(project, path, options, arguments, contexts, warn)


def _shown(path: Path, start: Path) -> str:
    """The file as people would type it."""
    relative = os.path.relpath(path, start)
    return str(path) if relative.startswith("../..") else relative


class Session:
    """One project. ``close`` ends its helpers; use it as a context manager."""

    def __init__(
        self,
        project: ProjectFile,
        path: Path,
        options: SessionOptions,
        arguments: FrozenMap[str, str],
        contexts: FrozenMap[str, Path],
        warn: Warn,
    ) -> None:
        self.project = project
        self.path = path
        self.root = path.parent
        self.options = options
        self.clock = SystemClock()
        self.warn = warn
        self.store = open_store(options, warn=warn)
        self.lock: Lock = read_lock(self.root)
        self.host = LocalHost(options.environ)
        self.contexts = contexts
        self.tree = WorkTree(
            self.root,
            clock=self.clock,
            env=options.environ,
            ignore=project.ignore,
            declared=declared_patterns(project),
            contexts=contexts,
            cache=self.store.scan,
        )
        self.vcs = GitVcs(self.root, options.environ)
        self._arguments = arguments
        self._engine: Engine | None = None
        self._parts: Parts | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the engine and closes the store."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self.tree.close()
        self.store.close()

    @property
    def parts(self) -> Parts:
        """The parts of the use cases."""
        if self._parts is None:
            self._parts = Parts(
                self.project,
                self.lock,
                self.tree,
                self.host,
                self.store.lookup,
                self.clock,
                StackTable(),
                self._facts(),
                self._arguments,
            )
        return self._parts

    def _facts(self) -> TemplateFacts:
        text = self.path.read_bytes()
        commit = self.vcs.commit() if b"{commit}" in text else None
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
        """The embedded engine, made when it is first needed."""
        if self._engine is None:
            from lamella.api.local import make_local_engine

            self._engine = make_local_engine(self)
        return self._engine

    def lower(self, selection: Selection) -> BuildGraph:
        """The Definition of a selection."""
        return lower(self.parts, selection)

    def plan(self, selection: Selection, options: PlanOptions | None = None, graph: BuildGraph | None = None) -> Plan:
        """What a build of a selection would do; changes nothing. ``graph`` is its Definition, when there is one."""
        return plan(self.parts, selection, options or PlanOptions(now=self.clock.now()), graph)

    def build(self, selection: Selection, options: BuildOptions, sink: EventSink) -> BuildReport:
        """Builds the selected images, or with a layer in the selection that layer alone."""
        if selection.layer:
            return self.build_layer(selection, options, sink)[2]
        return build_images(self.parts, selection, options, store=self.store, engine=self.engine, sink=sink)

    def build_layer(
        self, selection: Selection, options: BuildOptions, sink: EventSink
    ) -> tuple[BuildGraph, dict[str, Result], BuildReport]:
        """Builds one layer's product and what it stands on."""
        return build_layer(self.parts, selection, options, store=self.store, engine=self.engine, sink=sink)

    def write_lock(
        self, *, upgrade: tuple[str, ...] | None, say: Warn, check: bool = False
    ) -> tuple[tuple[LockChange, ...], bool]:
        """Resolves what the lock lacks and writes it; returns what changed and whether the file did.

        With ``check`` nothing is written and a lock that is not up to date raises ConfigError.
        """
        from lamella.api.resolvers import OutsideResolvers, StaleResolvers
        from lamella.build.lock import lock_project

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
        self.lock, self._parts = lock, None
        return changes, True

    def check_outputs(
        self, outputs: Sequence[str], selection: Selection, *, load: bool = False, stdout_usable: bool = True
    ) -> OutputTargets:
        """The targets of ``-o`` options and ``--load``; raises ConfigError before anything is built."""
        if not outputs and not load:
            return OutputTargets()
        images = 0 if selection.layer else len(selected_cells(self.parts, selection))
        return check_targets(
            outputs, load=load, environ=self.options.environ, images=images, stdout_usable=stdout_usable
        )

    def write_outputs(
        self, report: BuildReport, targets: OutputTargets, sink: EventSink, *, stdout: ByteSink | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Writes a build's images to its targets and says (what, where) of each."""
        epoch = self.options.environ.get("SOURCE_DATE_EPOCH") or ""
        mtime = int(epoch) if epoch.isdigit() else 0
        return write_targets(self.store, report, targets, sink, clock=self.clock, mtime=mtime, stdout=stdout)
