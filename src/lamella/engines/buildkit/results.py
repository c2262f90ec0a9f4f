"""From what a builder exported to a step's result, the same that the embedded engine would have come to."""

from __future__ import annotations

import json
from pathlib import Path

from lamella.engines.buildkit.bases import below_tree
from lamella.engines.buildkit.importing import import_product, import_rootfs, read_packages
from lamella.engines.buildkit.phase import Target
from lamella.engines.local.steps import StepMaker
from lamella.engines.local.values import StepOutcome
from lamella.engines.solving import Solving
from lamella.engines.work import Made, Work
from lamella.errors import InternalError
from lamella.graph.facts_format import facts_to_bytes
from lamella.graph.keys import rootfs_identity
from lamella.graph.mount import BindMount
from lamella.graph.op import ExecOp
from lamella.graph.patterns import compile_patterns
from lamella.graph.record import Result
from lamella.values import dataclass, replace

__all__ = ["Export", "Results"]


@dataclass(frozen=True, slots=True)
class Export:
    """What came back of one step: archives by kind, its log's digest, and what the network was to it."""

    files: dict[str, tuple[Target, Path]]
    log: str
    hermetic: bool


class Results:
    """Imports exports into the store."""

    def __init__(self, solving: Solving, steps: StepMaker) -> None:
        self._solving = solving
        self._steps = steps
        self._store = solving.parts.store

    def made(self, work: Work, op: ExecOp, export: Export) -> Made:
        """The result of a step. Raises HostileInputError for exports that cannot be read, IntegrityError when the
        step's adapter finds it wrong.
        """
        if "product" in export.files:
            return self._product(work, op, export)
        if "rootfs" in export.files:
            return self._rootfs(work, op, export)
        if "packages" in export.files:
            return self._identity(work, export)
        raise InternalError(f"nothing of {work.vertex.info.name} came back from the builder")

    def _product(self, work: Work, op: ExecOp, export: Export) -> Made:
        target, archive = export.files["product"]
        found = import_product(self._store, archive, target.evidence)
        outcome = StepOutcome(
            snapshot=found.fileset.digest,
            fileset=found.fileset,
            captured=found.evidence,
            wrote_sources=tuple(path for path in found.wrote if not _is_meant(op, path)),
            log=export.log,
            hermetic=export.hermetic,
        )
        return self._steps.made(work, op, outcome)

    def _rootfs(self, work: Work, op: ExecOp, export: Export) -> Made:
        target, archive = export.files["rootfs"]
        below, compressor = below_tree(work, self._store), work.request.options.compressor
        found = import_rootfs(self._store, archive, below, target.stubs, compressor)
        tree = self._solving.parts.unpack(found.layer)
        outcome = StepOutcome(
            snapshot=found.layer.diff_id,
            fileset=found.fileset,
            packages=read_packages(export.files["packages"][1]),
            log=export.log,
            hermetic=export.hermetic,
            warnings=found.warnings,
        )
        made = self._steps.made(work, op, outcome)
        return replace(made, result=replace(made.result, snapshot=tree, layers=(found.layer,)))

    def _identity(self, work: Work, export: Export) -> Made:
        """A root file system that steps stand on and no image has: its package set says which one it is."""
        packages = read_packages(export.files["packages"][1])
        digest = self._store.blobs.put_bytes(packages)
        result = Result(
            work.resolved,
            identity=rootfs_identity(work.resolved, digest),
            packages=digest,
            facts=self._facts(work, packages),
        )
        return Made(result, hermetic=export.hermetic, log=export.log)

    def _facts(self, work: Work, packages: bytes) -> str:
        """The facts of the chain below with the versions that the package set has: of what a toolchain's facts are
        asked for, the C library, the two tell everything. Paths that the step made are not among them.
        """
        below = work.resolver.facts_of(work.vertex.inputs[0].vertex, work.input_result(0))
        if below is None:
            return ""
        known = json.loads(packages)["packages"]
        libc = next((version for name, version in known.items() if name.startswith("dpkg:libc6:")), "")
        version = libc.partition("-")[0] or below.libc_version
        return self._store.blobs.put_bytes(facts_to_bytes(replace(below, libc_version=version)))


def _is_meant(op: ExecOp, path: str) -> bool:
    """Whether a written path below a bind is declared scratch, or part of an output."""
    if any(_is_below(path, output.source.rstrip("/")) for output in op.outputs):
        return True
    is_scratch = compile_patterns(op.scratch)
    binds = (mount.target.rstrip("/") for mount in op.mounts if isinstance(mount, BindMount))
    return any(is_scratch(path[len(target) + 1 :]) for target in binds if _is_below(path, target))


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")
