"""A step runner for hosts of which it is not known yet whether they have a sandbox."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from lamella.engines.local.runner import Runner, check_platform
from lamella.engines.local.values import BaseLayer, BootstrapSpec, Chain, LayerBlob, OnLine, StepOutcome, StepSpec
from lamella.errors import SandboxError
from lamella.graph.facts import BaseFacts
from lamella.graph.protocols import HostTools
from lamella.graph.record import LayerResult
from lamella.oci.config import RuntimeConfig
from lamella.store.store import Store

__all__ = ["FallbackRunner"]


class FallbackRunner:
    """:class:`Runner` that has the sandbox, and after :meth:`allow` does without it what can be done without.

    ``start`` starts the sandbox's helper, or raises SandboxError where it cannot be had.
    """

    def __init__(self, store: Store, sandboxed: Runner, start: Callable[[], None]) -> None:
        self._store = store
        self._sandboxed = sandboxed
        self._start = start
        self._allowed = False
        self._chosen: Runner | None = None
        self._lock = threading.Lock()

    def allow(self) -> None:
        """From now on bases are kept without a sandbox where there is none: a builder runs the steps."""
        self._allowed = True

    def check(self, platform: str) -> None:
        """Raises SandboxError where steps of ``platform`` cannot run: before the first one, and at no cost after it."""
        check_platform(platform)
        self._start()

    def probe(self) -> None:
        """See :class:`Runner`."""
        self._sandboxed.probe()

    def run_step(self, spec: StepSpec, on_line: OnLine, cancelled: threading.Event | None = None) -> StepOutcome:
        """See :class:`Runner`."""
        return self._sandboxed.run_step(spec, on_line, cancelled)

    def bootstrap(self, spec: BootstrapSpec, on_line: OnLine, cancelled: threading.Event | None = None) -> StepOutcome:
        """See :class:`Runner`."""
        return self._choice().bootstrap(spec, on_line, cancelled)

    def unpack_layers(self, layers: tuple[LayerBlob, ...]) -> tuple[BaseLayer, ...]:
        """See :class:`Runner`."""
        return self._choice().unpack_layers(layers)

    def export_layer(self, snapshot: str, below: Chain, compressor: str = "gzip") -> LayerResult:
        """See :class:`Runner`."""
        return self._choice().export_layer(snapshot, below, compressor)

    def facts(self, chain: Chain, platform: str, runtime: RuntimeConfig) -> BaseFacts:
        """See :class:`Runner`."""
        return self._choice().facts(chain, platform, runtime)

    def packages(self, chain: Chain) -> bytes:
        """See :class:`Runner`. Asking rpm takes more than a helper: bubblewrap."""
        try:
            return self._choice().packages(chain)
        except SandboxError as error:
            if not self._allowed:
                raise
            return self._plain(error).packages(chain)

    def host_tools(self) -> HostTools:
        """See :class:`Runner`."""
        return self._sandboxed.host_tools()

    def shell(self, spec: StepSpec) -> int:
        """See :class:`Runner`."""
        return self._sandboxed.shell(spec)

    def remove(self, paths: Iterable[Path]) -> None:
        """See :class:`Runner`."""
        self._sandboxed.remove(paths)

    def close(self) -> None:
        """See :class:`Runner`."""
        self._sandboxed.close()

    def _choice(self) -> Runner:
        """The sandbox where it can be had; decided once."""
        if not self._allowed:
            return self._sandboxed
        with self._lock:
            if self._chosen is None:
                try:
                    self._start()
                    self._chosen = self._sandboxed
                except SandboxError as error:
                    self._chosen = self._plain(error)
            return self._chosen

    def _plain(self, why: SandboxError) -> Runner:
        from lamella.engines.plain.runner import PlainRunner

        return PlainRunner(self._store, why)
