"""Makes executing vertices and bases with the step runner: from vertices to steps, from outcomes to results."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lamella.canonical import FrozenMap, digest_value
from lamella.engines.executor.products import Products
from lamella.engines.inputs import chain_snapshots
from lamella.engines.local.runner import Runner
from lamella.engines.local.values import (
    BootstrapSpec,
    Chain,
    LayerBlob,
    OnLine,
    Rootfs,
    SnapshotInput,
    SourceInput,
    StepInput,
    StepOutcome,
    StepSpec,
)
from lamella.engines.work import Made, Work
from lamella.errors import ConfigError, IntegrityError, InternalError
from lamella.graph.events import VertexLog
from lamella.graph.facts import BaseFacts
from lamella.graph.facts_format import facts_to_bytes
from lamella.graph.keys import rootfs_identity
from lamella.graph.mount import BindMount, SecretMount, StateMount
from lamella.graph.op import BootstrapOp, ExecOp, HostOp, ImageOp, InlineOp, SourceOp
from lamella.graph.protocols import Clock, Host
from lamella.graph.record import LayerResult, Result
from lamella.layers.content import bytes_content
from lamella.oci.config import RuntimeConfig
from lamella.planning.walk import inline_fileset
from lamella.stacks.base import Stack, StepOutputs
from lamella.stacks.toolchain import BASE_PATH
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["BaseImage", "BaseSource", "StepMaker", "with_own_states"]


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image whose blobs are in the store: its layers lowest first, and its runtime config."""

    layers: tuple[LayerBlob, ...]
    runtime: RuntimeConfig


class BaseSource(Protocol):
    """Where base images come from: a registry, an OCI layout or archive."""

    def pull(self, op: ImageOp, platform: str, work: Work) -> BaseImage:
        """Brings all blobs of a base into the store. Raises RegistryError, AuthError, IntegrityError."""


@dataclass(frozen=True, slots=True)
class StepMaker:
    """A ``Maker`` for ExecOp, BootstrapOp and ImageOp."""

    store: Store
    runner: Runner
    products: Products
    bases: BaseSource
    stacks: Mapping[str, Stack]
    clock: Clock
    host: Host

    def make(self, work: Work) -> Made:
        """Makes one vertex by its op."""
        match work.vertex.op:
            case ExecOp():
                return self._step(work, work.vertex.op)
            case BootstrapOp():
                return self._bootstrap(work, work.vertex.op)
            case ImageOp():
                return self._image(work, work.vertex.op)
            case _:
                raise InternalError(f"vertex {work.vertex.info.name!r} runs no step")

    def _on_line(self, work: Work) -> OnLine:
        def on_line(stream: int, line: str) -> None:
            work.emit(VertexLog(work.key, work.vertex.info.name, self.clock.monotonic(), stream, line))

        return on_line

    def step_spec(self, work: Work, op: ExecOp) -> StepSpec:
        """The step of an exec vertex, for running it or for a shell in its place."""
        base = work.vertex.inputs[0].vertex
        inputs = {mount.input: self._input(work, mount.input) for mount in op.mounts if isinstance(mount, BindMount)}
        for mount in op.mounts:
            if isinstance(mount, SecretMount) and not mount.optional and mount.id not in work.request.secrets:
                raise ConfigError(
                    f"{work.vertex.info.name} needs secret {mount.id!r}, which has no value",
                    hint=f"set its environment variable or file, or give --secret id={mount.id},env=NAME",
                )
        return StepSpec(
            key=work.resolved,
            name=work.vertex.info.name,
            op=with_own_states(op, work.input_result(0).identity),
            platform=work.vertex.execution,
            rootfs=self.rootfs(work, base),
            inputs=FrozenMap(inputs),
            secrets=work.request.secrets,
            fresh_states=work.request.options.without_states,
            memory=work.request.options.step_memory,
        )

    def rootfs(self, work: Work, vertex: str) -> Rootfs:
        """The root file system a step stands on."""
        if isinstance(work.request.definition[vertex].op, HostOp):
            return self.host.tools()
        return Chain(chain_snapshots(work, vertex, self.store))

    def _input(self, work: Work, number: int) -> StepInput:
        edge = work.vertex.inputs[number]
        op = work.request.definition[edge.vertex].op
        result = work.results[edge.vertex]
        if isinstance(op, SourceOp):
            fileset = work.resolver.source_fileset(op)
            if not work.resolver.check_source(fileset, op, result.tree):
                raise ConfigError(
                    f"files of {work.vertex.info.name} changed while they were read", hint="run the build again"
                )
            root = self.products.source_root(op)
            return SourceInput(root / op.strip if op.strip else root, fileset)
        if isinstance(op, InlineOp):
            return SnapshotInput(self._inline(op))
        if self.store.snapshots.find(result.tree) is None:
            raise IntegrityError(
                f"the product of {work.request.definition[edge.vertex].info.name} is not in the store any more",
                hint="run: lamella cache repair, then build again",
            )
        return SnapshotInput(result.tree)

    def _inline(self, op: InlineOp) -> str:
        """Inline files as a snapshot."""
        fileset = inline_fileset(op)
        if self.store.snapshots.find(fileset.digest) is None:
            with self.store.snapshots.stage() as staged:
                write_inline(staged.path, op)
                staged.commit(fileset.digest, fileset)
        return fileset.digest

    def _step(self, work: Work, op: ExecOp) -> Made:
        return self.made(work, op, self.runner.run_step(self.step_spec(work, op), self._on_line(work)))

    def made(self, work: Work, op: ExecOp, outcome: StepOutcome) -> Made:
        """The result of a step that ran, wherever it ran. Raises IntegrityError when its adapter finds it wrong."""
        made = self._observed(work, op, outcome)
        if op.outputs:
            result = Result(work.resolved, tree=self.store.blobs.put_bytes(outcome.fileset.to_bytes()))
        else:
            result = self._rootfs_result(work, outcome, self._runtime_below(work))
        return Made(
            result,
            made.evidence,
            hermetic=outcome.hermetic,
            wrote_sources=outcome.wrote_sources,
            log=outcome.log,
            size=outcome.fileset.size,
            warnings=(*outcome.warnings, *made.warnings, *_wrote(outcome, work)),
        )

    def _observed(self, work: Work, op: ExecOp, outcome: StepOutcome) -> Made:
        """The adapter's verdict; an integrity finding ends the run and nothing is recorded (DESIGN 7)."""
        stack = self.stacks.get(op.observer) if op.observer else None
        if stack is None:
            return Made(Result(work.resolved))
        product = outcome.fileset if op.outputs else None
        seen = stack.observe(StepOutputs(outcome.captured, product, op.observed))
        if seen.integrity:
            raise IntegrityError(
                f"{work.vertex.info.name}: {seen.integrity[0]}",
                hint="run again with --no-cache; if it stays, report it",
                details=seen.integrity[1:],
            )
        return Made(Result(work.resolved), seen.evidence, warnings=seen.warnings)

    def _bootstrap(self, work: Work, op: BootstrapOp) -> Made:
        spec = BootstrapSpec(work.resolved, work.vertex.info.name, op, work.vertex.platform)
        outcome = self.runner.bootstrap(spec, self._on_line(work))
        result = self._rootfs_result(work, outcome, RuntimeConfig(env=(f"PATH={BASE_PATH}",), cmd=("/bin/sh",)))
        return Made(result, hermetic=bool(op.snapshot), log=outcome.log, size=outcome.fileset.size)

    def _image(self, work: Work, op: ImageOp) -> Made:
        base = self.bases.pull(op, work.vertex.platform, work)
        unpacked = self.runner.unpack_layers(base.layers)
        chain = Chain(tuple(layer.diff_id for layer in unpacked))
        facts = self.runner.facts(chain, work.vertex.platform, base.runtime)
        packages = self.store.blobs.put_bytes(self.runner.packages(chain))
        sizes = {layer.diff_id: len(layer.fileset) for layer in unpacked}
        result = Result(
            work.resolved,
            identity=rootfs_identity(work.resolved, packages),
            packages=packages,
            facts=self.store.blobs.put_bytes(facts_to_bytes(facts)),
            layers=tuple(LayerResult(blob.diff_id, blob.size, sizes.get(blob.diff_id, 1)) for blob in base.layers),
        )
        return Made(result, size=sum(blob.size for blob in base.layers))

    def _rootfs_result(self, work: Work, outcome: StepOutcome, runtime: RuntimeConfig) -> Result:
        packages = self._packages(work, outcome)
        return Result(
            work.resolved,
            identity=rootfs_identity(work.resolved, packages),
            snapshot=outcome.snapshot,
            packages=packages,
            facts=self._facts(work, outcome, runtime),
        )

    def _packages(self, work: Work, outcome: StepOutcome) -> str:
        """The blob of the package set of a step's root file system."""
        if not outcome.unchanged:
            return self.store.blobs.put_bytes(outcome.packages)
        below = work.input_result(0).packages
        if below and self.store.blobs.has(below):
            return below
        return self.store.blobs.put_bytes(self.runner.packages(self._chain(work, outcome)))

    def _facts(self, work: Work, outcome: StepOutcome, runtime: RuntimeConfig) -> str:
        """The blob of the facts of a step's root file system: those below it with its changes where both are known,
        which for most steps are the same ones; else found by a walk.
        """
        stored = work.input_result(0).facts if work.vertex.inputs else ""
        below = work.resolver.facts_of(work.vertex.inputs[0].vertex, work.input_result(0)) if stored else None
        if below is None or not (outcome.unchanged or outcome.outline):
            facts = self.runner.facts(self._chain(work, outcome), work.vertex.platform, runtime)
        else:
            facts = replace(_followed(below, outcome), platform=work.vertex.platform, runtime=runtime)
            if facts == below and self.store.blobs.has(stored):
                return stored
        digest = self.store.blobs.put_bytes(facts_to_bytes(facts))
        work.resolver.learn_facts(digest, facts)
        return digest

    def _chain(self, work: Work, outcome: StepOutcome) -> Chain:
        below = chain_snapshots(work, work.vertex.inputs[0].vertex, self.store) if work.vertex.inputs else ()
        return Chain((*below, outcome.snapshot))

    def _runtime_below(self, work: Work) -> RuntimeConfig:
        facts = work.resolver.facts_of(work.vertex.inputs[0].vertex, work.input_result(0))
        return facts.runtime if facts is not None else RuntimeConfig()

    def export(self, work: Work, result: Result) -> tuple[LayerResult, ...]:
        """Writes the layer of a root file system's own changes; empty for what has none."""
        if not result.snapshot:
            return ()
        below = chain_snapshots(work, work.vertex.inputs[0].vertex, self.store) if work.vertex.inputs else ()
        return (self.runner.export_layer(result.snapshot, Chain(below), work.request.options.compressor),)


def _followed(below: BaseFacts, outcome: StepOutcome) -> BaseFacts:
    """The facts of a root file system from those below it."""
    from lamella.layers.facts import changed_facts

    return changed_facts(below, outcome.fileset, outcome.outline) if outcome.outline else below


def with_own_states(op: ExecOp, identity: str) -> ExecOp:
    """The op with states of this very root file system: a definition stays the same when its packages are renewed,
    and build scripts that probed the old ones would not notice (MECHANICS G, measured).
    """
    mounts = tuple(
        replace(mount, id=digest_value({"state": mount.id, "rootfs": identity}))
        if isinstance(mount, StateMount)
        else mount
        for mount in op.mounts
    )
    return replace(op, mounts=mounts)


def _wrote(outcome: StepOutcome, work: Work) -> tuple[str, ...]:
    """Writes into sources: reported, or refused under ``--strict`` (SCHEMA.md, question 6)."""
    if not outcome.wrote_sources:
        return ()
    shown = ", ".join(outcome.wrote_sources[:5])
    more = f" and {len(outcome.wrote_sources) - 5} more" if len(outcome.wrote_sources) > 5 else ""
    text = f"wrote into its sources, which was thrown away: {shown}{more}"
    if work.request.options.strict:
        raise ConfigError(
            f"{work.vertex.info.name} {text}",
            hint="declare the paths in the layer's 'scratch', or build without --strict",
        )
    return (f"{text} (declare them in 'scratch' when that is meant)",)


def write_inline(base: Path, op: InlineOp) -> None:
    """Writes inline files below ``base``."""
    content = bytes_content({file.path: file.data for file in op.files})
    for entry in inline_fileset(op):
        target = base / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.link:
            os.symlink(entry.link, target)
        elif entry.digest:
            target.write_bytes(b"".join(content(entry)))
            target.chmod(entry.mode)
        else:
            target.mkdir(exist_ok=True)
