"""Puts the parts of a session's engines together."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lamella.api.network import make_fetch
from lamella.api.sandbox import make_runner
from lamella.engines.base import NO_RESTORER
from lamella.engines.executor.executor import FileExecutor, with_filesets
from lamella.engines.executor.fetching import Fetcher, Locator
from lamella.engines.executor.layers import LayerWriter
from lamella.engines.executor.products import Products
from lamella.engines.local.runner import Runner
from lamella.engines.local.steps import BaseImage, StepMaker
from lamella.engines.local.values import LayerBlob
from lamella.engines.plain.fallback import FallbackRunner
from lamella.engines.solving import EngineParts
from lamella.engines.work import Made, Maker, Work
from lamella.graph.op import ImageOp
from lamella.graph.record import LayerResult
from lamella.graph.vertex import Vertex, executes
from lamella.images.variants import layer_variant
from lamella.stacks.table import StackTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamella.api.bases import BasePuller
    from lamella.api.options import SessionOptions
    from lamella.cache.lookup import CacheLookup
    from lamella.graph.protocols import Clock, Host
    from lamella.project.projectfile import ProjectFile
    from lamella.sources.worktree import WorkTree
    from lamella.store.store import Store

__all__ = ["EngineContext", "make_fallback", "make_parts", "make_step_maker"]


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


def make_step_maker(session: EngineContext, runner: Runner) -> StepMaker:
    """The maker of executing vertices and bases."""
    products = Products(session.store, _roots(session))
    return StepMaker(session.store, runner, products, _Bases(session), StackTable(), session.clock, session.host)


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


def make_fallback(session: EngineContext) -> FallbackRunner:
    """The step runner of a session. Its helper starts when needed."""
    sandboxed = make_runner(session.store, session.options)
    return FallbackRunner(session.store, sandboxed, sandboxed.start)


def make_parts(session: EngineContext, runner: FallbackRunner) -> tuple[EngineParts, StepMaker]:
    """What every engine of a session works with, and the maker of executing vertices and bases on this machine."""
    store = session.store
    store.set_remover(lambda path: runner.remove((path,)))
    steps = make_step_maker(session, runner)
    fetcher = Fetcher(store, make_fetch(store, session.options), partial(_locator, session), session.clock)
    epoch = session.options.environ.get("SOURCE_DATE_EPOCH") or ""
    writer = LayerWriter(store, mtime=int(epoch) if epoch.isdigit() else 0)

    def unpack(layer: LayerResult) -> str:
        blob = layer_variant(store, layer.diff_id)
        described = LayerBlob(blob.digest, blob.size, blob.media_type, layer.diff_id)
        made = runner.unpack_layers((described,))[0]
        return made.diff_id if made.is_tree else ""

    files = FileExecutor(store, steps.products, writer, fetcher, unpack)

    step_maker, file_maker = _Noting(_with_states(steps, session), session), _Noting(files, session)

    def choose(vertex: Vertex) -> Maker:
        return step_maker if executes(vertex) or isinstance(vertex.op, ImageOp) else file_maker

    parts = EngineParts(
        store,
        session.tree,
        session.host,
        session.clock,
        choose,
        steps.export,
        unpack,
        runner.close,
        lookup=session.cache,
        restorer=session.cache or NO_RESTORER,
    )
    return parts, steps


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
