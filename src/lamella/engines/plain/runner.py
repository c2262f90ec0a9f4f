"""The part of a step runner that needs no sandbox: base images, facts, package sets and layers.

Layers are kept as the bytes of their files (``layers.contents``), so that a host without root, user namespaces or even
a Linux file system has what a build on a builder needs of its bases. What comes out of it, file sets, facts, package
sets and layers, is what the embedded engine's helper would say of the same bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from lamella.engines.local.packages import packages_of, read_rpm
from lamella.engines.local.values import BaseLayer, BootstrapSpec, Chain, LayerBlob, OnLine, StepOutcome, StepSpec
from lamella.engines.plain.chain import MergedChain, element_of, find_element
from lamella.errors import SandboxError
from lamella.graph.facts import BaseFacts
from lamella.graph.protocols import HostTools
from lamella.graph.record import LayerResult
from lamella.layers.facts import tree_facts
from lamella.layers.view import TreeView
from lamella.oci.config import RuntimeConfig
from lamella.store.snapshots import contents_id
from lamella.store.store import Store
from lamella.values import replace

__all__ = ["PlainRunner"]


class PlainRunner:
    """``engines.local.runner.Runner`` without a sandbox: it runs nothing, and says why with ``refusal``."""

    def __init__(self, store: Store, refusal: SandboxError) -> None:
        self._store = store
        self._refusal = refusal

    def probe(self) -> None:
        """See ``Runner``. Steps never run."""
        raise self._refused()

    def run_step(self, spec: StepSpec, on_line: OnLine, cancelled: threading.Event | None = None) -> StepOutcome:
        """See ``Runner``."""
        raise self._refused()

    def bootstrap(self, spec: BootstrapSpec, on_line: OnLine, cancelled: threading.Event | None = None) -> StepOutcome:
        """See ``Runner``. A root file system from the archive needs root's rights on files and devices."""
        suite = f"{spec.op.distribution}:{spec.op.suite}"
        raise SandboxError(
            f"{spec.name}: a base is bootstrapped on this machine, and {self._refusal.message}",
            hint=f'use a cache repository that has its record; or write from = "{suite}" in its layer (for a toolchain '
            "that the stack brings: on = a layer with a from); or build it on Linux as root or with user namespaces",
            details=(self._refusal.hint,) if self._refusal.hint else (),
        )

    def unpack_layers(self, layers: tuple[LayerBlob, ...]) -> tuple[BaseLayer, ...]:
        """See ``Runner``. The bytes of each layer's files, under an id that no mount takes for a tree's."""
        return tuple(self._keep(layer) for layer in layers)

    def export_layer(self, snapshot: str, below: Chain, compressor: str = "gzip") -> LayerResult:
        """See ``Runner``. Only a tree that a sandbox made has no layer yet, and this user may read all of it or not."""
        from lamella.engines.local.exports import export, export_job, keep_export

        found = find_element(self._store, snapshot)
        with self._store.snapshots.stage() as staged:
            try:
                made = export(export_job(found, staged, compressor))
            except PermissionError as error:
                raise self._refused() from error
            return keep_export(self._store, made, compressor)

    def facts(self, chain: Chain, platform: str, runtime: RuntimeConfig) -> BaseFacts:
        """See ``Runner``."""
        return replace(tree_facts(self._view(chain), platform=platform, runtime=RuntimeConfig()), runtime=runtime)

    def packages(self, chain: Chain) -> bytes:
        """See ``Runner``."""
        view = self._view(chain)
        return packages_of(view, lambda: read_rpm(view))

    def host_tools(self) -> HostTools:
        """See ``Runner``."""
        raise self._refused()

    def shell(self, spec: StepSpec) -> int:
        """See ``Runner``."""
        raise self._refused()

    def remove(self, paths: Iterable[Path]) -> None:
        """See ``Runner``. Only trees that a sandbox made have files that are not this user's."""
        raise self._refused()

    def close(self) -> None:
        """See ``Runner``. Nothing runs."""

    def _refused(self) -> SandboxError:
        return SandboxError(self._refusal.message, hint=self._refusal.hint, details=self._refusal.details)

    def _view(self, chain: Chain) -> TreeView:
        return MergedChain(element_of(find_element(self._store, one)) for one in chain.snapshots).view()

    def _keep(self, layer: LayerBlob) -> BaseLayer:
        from lamella.layers.decompress import open_decompressed
        from lamella.layers.unpack import keep_layer

        identity = contents_id(layer.diff_id)
        found = self._store.snapshots.find(identity)
        if found is not None:
            return BaseLayer(layer.diff_id, found.fileset(), is_tree=False)
        with self._store.snapshots.stage() as staged:
            with self._store.blobs.checked_path(layer.digest).open("rb") as blob:
                archive = open_decompressed(blob, layer.media_type)
                done = keep_layer(archive, staged.path, diff_id=layer.diff_id)
            staged.commit(identity, done.fileset, is_tree=False)
        return BaseLayer(layer.diff_id, done.fileset, is_tree=False)
