"""The step runner: what the solver calls to execute steps on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from lamella.engines.local.values import (
    BaseLayer,
    BootstrapSpec,
    Chain,
    LayerBlob,
    OnLine,
    StepOutcome,
    StepSpec,
)
from lamella.graph.facts import BaseFacts
from lamella.graph.protocols import HostTools
from lamella.graph.record import LayerResult
from lamella.oci.config import RuntimeConfig

__all__ = ["Runner"]


class Runner(Protocol):
    """Runs steps. Thread-safe: several steps may run at once, one per calling thread."""

    def probe(self) -> None:
        """Starts the helper and proves that steps can run; raises SandboxError with reason and remedy."""

    def run_step(self, spec: StepSpec, on_line: OnLine, cancelled: threading.Event | None = None) -> StepOutcome:
        """Runs a step. Raises StepError (with log tail, key, log path), ResourceError, SandboxError, ConfigError."""

    def bootstrap(self, spec: BootstrapSpec, on_line: OnLine, cancelled: threading.Event | None = None) -> StepOutcome:
        """Makes a root file system from a distribution's archive; the snapshot's id is the key."""

    def unpack_layers(self, layers: tuple[LayerBlob, ...]) -> tuple[BaseLayer, ...]:
        """Unpacks a base image's layers (blobs of the store), lowest first, into snapshots named by diff_id."""

    def export_layer(self, snapshot: str, below: Chain) -> LayerResult:
        """Writes the uncompressed tar blob of one element of a chain; ``below`` is the chain under it."""

    def facts(self, chain: Chain, platform: str, runtime: RuntimeConfig) -> BaseFacts:
        """Base facts of a finished chain."""

    def packages(self, chain: Chain) -> bytes:
        """The recorded package set of a chain, canonical bytes."""

    def host_tools(self) -> HostTools:
        """The host's tools for ``host = true``."""

    def shell(self, spec: StepSpec) -> int:
        """An interactive shell where the step runs, on this terminal; its exit status."""

    def remove(self, paths: Iterable[Path]) -> None:
        """Removes trees whose files may belong to subordinate ids."""

    def close(self) -> None:
        """Ends the helper and everything it runs; safe to call twice."""
