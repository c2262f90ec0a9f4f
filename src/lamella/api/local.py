"""Puts the parts of a session's engines together."""

from __future__ import annotations

import threading
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lamella.engines.base import NO_RESTORER
from lamella.engines.executor.executor import FileExecutor, with_filesets
from lamella.engines.executor.fetching import Fetcher, Locator
from lamella.engines.executor.layers import LayerWriter
from lamella.engines.executor.products import Products
from lamella.engines.solving import EngineParts
from lamella.engines.work import Made, Maker, Work
from lamella.graph.op import ImageOp
from lamella.graph.record import LayerResult
from lamella.graph.vertex import Vertex, executes
from lamella.images.variants import layer_variant

if TYPE_CHECKING:  # what runs steps and what downloads is imported by a build that has such work
    from collections.abc import Mapping

    from lamella.api.bases import BasePuller
    from lamella.api.options import SessionOptions
    from lamella.cache.lookup import CacheLookup
    from lamella.engines.local.steps import BaseImage, StepMaker
    from lamella.engines.plain.fallback import FallbackRunner
    from lamella.graph.protocols import Clock, Host
    from lamella.graph.record import Result
    from lamella.project.projectfile import ProjectFile
    from lamella.sources.fetch import Fetch
    from lamella.sources.worktree import WorkTree
    from lamella.store.store import Store

__all__ = ["EngineContext", "Steps", "make_parts"]


class EngineContext(Protocol):
    """What the engine needs of a session."""

    @property
    def store(self) -> Store:
        """The open store."""

    @property
    def options(self) -> SessionOptions:
        """What the caller's surroundings give."""

    @property
    def clock(self) -> Clock:
        """Time."""

    @property
    def host(self) -> Host:
        """This machine."""

    @property
    def tree(self) -> WorkTree:
        """The project's files."""

    @property
    def root(self) -> Path:
        """The project's folder."""

    @property
    def project(self) -> ProjectFile:
        """The project file."""

    @property
    def cache(self) -> CacheLookup | None:
        """The chain from the store to the cache repositories."""

    @property
    def contexts(self) -> Mapping[str, Path]:
        """Further build contexts by name."""


class _Bases:
    """``BaseSource``, with a registry client that is made when the first base is pulled."""

    def __init__(self, session: EngineContext) -> None:
        self._session = session

    def pull(self, op: ImageOp, platform: str, work: Work) -> BaseImage:
        """See :class:`lamella.api.bases.BasePuller`."""
        return self._puller.pull(op, platform, work)

    @cached_property
    def _puller(self) -> BasePuller:
        from lamella.api.bases import BasePuller
        from lamella.api.network import registry_client

        session = self._session
        return BasePuller(session.store, session.root, registry_client(session.options), session.clock)


class Steps:
    """The step runner of a session and the maker that stands on it, made when something first runs. Thread-safe."""

    def __init__(self, session: EngineContext, products: Products) -> None:
        self._session = session
        self._products = products
        self._lock = threading.RLock()
        self._runner: FallbackRunner | None = None
        self._maker: StepMaker | None = None
        self._closed = False

    @property
    def runner(self) -> FallbackRunner:
        """The runner; its helper starts when that is needed."""
        with self._lock:
            if self._runner is None:
                from lamella.api.sandbox import make_runner
                from lamella.engines.plain.fallback import FallbackRunner

                store = self._session.store
                sandboxed = make_runner(store, self._session.options)
                self._runner = FallbackRunner(store, sandboxed, sandboxed.start)
                if self._closed:  # one that is only to remove something keeps no helper
                    self._runner.close()
            return self._runner

    @property
    def maker(self) -> StepMaker:
        """The maker of executing vertices and bases."""
        with self._lock:
            if self._maker is None:
                from lamella.engines.local.steps import StepMaker
                from lamella.stacks.table import StackTable

                one = self._session
                self._maker = StepMaker(
                    one.store, self.runner, self._products, _Bases(one), StackTable(), one.clock, one.host
                )
            return self._maker

    def check(self, platform: str) -> None:
        """Raises SandboxError where steps of ``platform`` cannot run."""
        self.runner.check(platform)

    def export(self, work: Work, result: Result) -> tuple[LayerResult, ...]:
        """Writes the layer of a root file system's own changes; empty for what has none."""
        return self.maker.export(work, result)

    def unpack(self, layer: LayerResult) -> str:
        """Makes a layer of the store a snapshot; see :class:`EngineParts`."""
        from lamella.engines.local.values import LayerBlob

        blob = layer_variant(self._session.store, layer.diff_id)
        described = LayerBlob(blob.digest, blob.size, blob.media_type, layer.diff_id)
        made = self.runner.unpack_layers((described,))[0]
        return made.diff_id if made.is_tree else ""

    def remove(self, path: Path) -> None:
        """Removes a tree whose files may belong to subordinate ids."""
        self.runner.remove((path,))

    def close(self) -> None:
        """Ends what was started."""
        with self._lock:
            self._closed = True
            if self._runner is not None:
                self._runner.close()


def make_parts(session: EngineContext) -> tuple[EngineParts, Steps]:
    """What every engine of a session works with, and what makes executing vertices and bases on this machine."""
    store = session.store
    products = Products(store, _roots(session))
    steps = Steps(session, products)
    store.set_remover(steps.remove)
    fetcher = Fetcher(store, cache(partial(_downloader, session)), partial(_locator, session), session.clock)
    epoch = session.options.environ.get("SOURCE_DATE_EPOCH") or ""
    writer = LayerWriter(store, mtime=int(epoch) if epoch.isdigit() else 0)
    files = _Noting(FileExecutor(store, products, writer, fetcher, steps.unpack), session)
    step_maker = cache(lambda: _Noting(_with_states(steps.maker, session), session))

    def choose(vertex: Vertex) -> Maker:
        return step_maker() if executes(vertex) or isinstance(vertex.op, ImageOp) else files

    parts = EngineParts(
        store,
        session.tree,
        session.host,
        session.clock,
        choose,
        steps.export,
        steps.unpack,
        steps.close,
        lookup=session.cache,
        restorer=session.cache or NO_RESTORER,
    )
    return parts, steps


def _downloader(session: EngineContext) -> Fetch:
    """Downloads into the store."""
    from lamella.api.network import make_fetch

    return make_fetch(session.store, session.options)


def _locator(session: EngineContext) -> Locator:
    """Where wheels without an address are; imported when there are such."""
    from lamella.sources.wheels import UvResolver

    return UvResolver(session.options.environ, offline=session.options.offline)


def _roots(session: EngineContext) -> dict[str, Path]:
    return {"": session.tree.root(), **{name: session.tree.root(name) for name in session.contexts}}


def _with_states(steps: StepMaker, session: EngineContext) -> Maker:
    """The maker of steps, which looks for states that it lacks where the project lets them travel."""
    if session.cache is None or not session.project.cache.state:
        return steps
    from lamella.api.cache_states import StateBringer

    return StateBringer(steps, session.store, session.cache.readers, session.clock)


class _Noting:
    """A maker that keeps the file sets of source inputs with what another one made."""

    def __init__(self, maker: Maker, session: EngineContext) -> None:
        self._maker = maker
        self._store = session.store

    def make(self, work: Work) -> Made:
        """Makes one vertex."""
        return with_filesets(self._maker.make(work), work, self._store)
