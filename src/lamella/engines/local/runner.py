"""The step runner: what the solver calls to execute steps on this machine."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lamella.canonical import FrozenMap
from lamella.engines.local.channel import from_plain
from lamella.engines.local.jobs import (
    BootstrapJob,
    ChainJob,
    ExportReply,
    RemoveJob,
    StepReply,
    UnpackJob,
)
from lamella.engines.local.masking import Masker
from lamella.engines.local.stepjob import StepContext, step_job
from lamella.engines.local.steplog import StepLog
from lamella.engines.local.values import (
    BaseLayer,
    BootstrapSpec,
    Chain,
    LayerBlob,
    OnLine,
    RunnerSettings,
    StepOutcome,
    StepSpec,
)
from lamella.errors import LamellaError, ResourceError, SandboxError, StepError
from lamella.graph.facts import BaseFacts
from lamella.graph.facts_format import parse_facts
from lamella.graph.fileset import FileSet, parse_fileset
from lamella.graph.protocols import HostTools
from lamella.graph.record import LayerResult
from lamella.host.probes import cpu_count, emulator, machine, platform_of
from lamella.oci.config import RuntimeConfig
from lamella.process import interrupts_left_to_programs, paste
from lamella.store.snapshots import StagedSnapshot, missing_snapshot
from lamella.store.store import Store

if TYPE_CHECKING:
    from lamella.engines.local.helper import Helper

__all__ = ["LocalRunner", "Runner", "check_platform"]

_ALSO_NATIVE = frozenset({("linux/amd64", "linux/386")})
"""Machine and platform whose programs its kernel runs as well."""
_LONGEST_SHOWN = 300


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

    def export_layer(self, snapshot: str, below: Chain, compressor: str = "gzip") -> LayerResult:
        """Writes the layer of one element of a chain in a compressor's form, blob and variant; ``below`` is the chain
        under it.
        """

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


class LocalRunner:
    """:class:`Runner` with a helper in namespaces of its own, started when it is first needed."""

    def __init__(self, store: Store, settings: RunnerSettings = RunnerSettings()) -> None:  # noqa: B008 - frozen value
        self._store = store
        self._settings = settings
        self._helper: Helper | None = None
        self._closed = False
        self._lock = threading.Lock()

    def probe(self) -> None:
        """See :class:`Runner`."""
        self._call("probe", RemoveJob(()))

    def start(self) -> None:
        """Starts the helper, which tries what it needs of the kernel; raises SandboxError where that is missing."""
        self._get_helper()

    def run_step(self, spec: StepSpec, on_line: OnLine, cancelled: threading.Event | None = None) -> StepOutcome:
        """See :class:`Runner`."""
        check_platform(spec.platform)
        with ExitStack() as stack:
            staged = stack.enter_context(self._store.snapshots.stage())
            job, captures = step_job(spec, self._context(staged), stack)
            log = stack.enter_context(StepLog(self._store, spec.name, spec.key, on_line))
            try:
                reply = from_plain(self._call("step", job, log.line, cancelled), StepReply)
            except LamellaError as error:
                raise log.explain(error, spec.key) from error
            if reply.failed >= 0:
                raise _failure(spec, reply, log)
            fileset = _read_fileset(reply.fileset)
            captured = _captured(captures, job.masks)
            packages = Path(reply.packages).read_bytes() if reply.packages else b""
            outline = parse_facts(Path(reply.facts).read_bytes()) if reply.facts else None
            identity = fileset.digest if spec.op.outputs else spec.key
            staged.commit(identity, fileset)
            return StepOutcome(
                snapshot=identity,
                fileset=fileset,
                packages=packages,
                outline=outline,
                unchanged=reply.unchanged,
                captured=captured,
                wrote_sources=reply.wrote,
                log=log.keep(),
                hermetic=spec.op.network == "none",
                seconds=reply.seconds,
                warnings=reply.warnings,
            )

    def bootstrap(self, spec: BootstrapSpec, on_line: OnLine, cancelled: threading.Event | None = None) -> StepOutcome:
        """See :class:`Runner`."""
        from lamella.engines.local.bootstrap import prepare

        check_platform(spec.platform)
        with self._store.snapshots.stage() as staged, StepLog(self._store, spec.name, spec.key, on_line) as log:
            arguments, env = prepare(spec.op, self._settings, str(staged.folder / "merged"))
            job = BootstrapJob(str(staged.folder), str(staged.path), arguments, env)
            try:
                reply = self._call("bootstrap", job, log.line, cancelled)
            except LamellaError as error:
                raise log.explain(error, spec.key) from error
            fileset = _read_fileset(reply["fileset"])
            packages = Path(reply["packages"]).read_bytes()
            staged.commit(spec.key, fileset)
            hermetic = bool(spec.op.snapshot)
            return StepOutcome(spec.key, fileset, packages, log=log.keep(), hermetic=hermetic)

    def unpack_layers(self, layers: tuple[LayerBlob, ...]) -> tuple[BaseLayer, ...]:
        """See :class:`Runner`. Layers are elements of an overlay each, so they are unpacked beside each other."""
        wanted = {layer.diff_id: layer for layer in layers}
        if len(wanted) <= 1:
            return tuple(self._unpack(layer) for layer in layers)
        with ThreadPoolExecutor(min(len(wanted), cpu_count()), thread_name_prefix="lamella-unpack") as pool:
            made = dict(zip(wanted, pool.map(self._unpack, wanted.values()), strict=True))
        return tuple(made[layer.diff_id] for layer in layers)

    def export_layer(self, snapshot: str, below: Chain, compressor: str = "gzip") -> LayerResult:
        """See :class:`Runner`."""
        from lamella.engines.local.exports import export_job, keep_export

        found = self._store.snapshots.find(snapshot)
        if found is None:
            raise missing_snapshot(snapshot)
        with self._store.snapshots.stage() as staged:
            made = self._call("export", export_job(found, staged, compressor))
            return keep_export(self._store, from_plain(made, ExportReply), compressor)

    def facts(self, chain: Chain, platform: str, runtime: RuntimeConfig) -> BaseFacts:
        """See :class:`Runner`."""
        from lamella.values import replace

        return replace(parse_facts(self._look(chain, "facts", platform)), runtime=runtime)

    def packages(self, chain: Chain) -> bytes:
        """See :class:`Runner`."""
        return self._look(chain, "packages")

    def host_tools(self) -> HostTools:
        """See :class:`Runner`."""
        from lamella.engines.local.hosttools import find_host_tools

        return find_host_tools(self._settings.env)

    def shell(self, spec: StepSpec) -> int:
        """See :class:`Runner`."""
        from lamella.engines.local.stepjob import shell_spec

        check_platform(spec.platform)
        with ExitStack() as stack:
            staged = stack.enter_context(self._store.snapshots.stage())
            job, _ = step_job(shell_spec(spec), self._context(staged), stack, terminal=True)
            stack.enter_context(interrupts_left_to_programs())
            helper = self._new_helper(staged, terminal=True)
            stack.callback(helper.close)
            return int(helper.call("shell", job)["code"])

    def remove(self, paths: Iterable[Path]) -> None:
        """See :class:`Runner`. What this user may remove by himself needs no helper."""
        left = tuple(path for path in paths if not _removed(path))
        if not left:
            return
        job = RemoveJob(tuple(str(path) for path in left))
        if not self._closed:
            self._call("remove", job)
            return
        with self._store.snapshots.stage() as trial:
            helper = self._new_helper(trial)
        try:
            helper.call("remove", job)
        finally:
            helper.close()

    def close(self) -> None:
        """See :class:`Runner`."""
        with self._lock:
            self._closed = True
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.close()

    # -- parts -------------------------------------------------------------------------------------------------------

    def _get_helper(self) -> Helper:
        with self._lock:
            if self._helper is not None and not self._helper.alive:
                self._helper.close()
                self._helper = None
            if self._helper is None:
                with self._store.snapshots.stage() as trial:  # staged, so that nobody sweeps it away meanwhile
                    self._helper = self._new_helper(trial)
            return self._helper

    def _new_helper(self, trial: StagedSnapshot, *, terminal: bool = False) -> Helper:
        """A helper that has tried the kernel in a staged folder. Linux's own calls are imported now and not before."""
        if sys.platform != "linux":
            raise SandboxError(
                "steps run in namespaces of the Linux kernel, which this system has not",
                hint="let a builder run them: --engine buildkit",
            )
        from lamella.engines.local.helper import Helper

        return Helper(self._settings.env, trial.folder, terminal=terminal)

    def _call(
        self, kind: str, job: object, on_line: OnLine = lambda *_: None, cancelled: threading.Event | None = None
    ) -> dict[str, Any]:
        return self._get_helper().call(kind, job, on_line, cancelled)

    def _context(self, staged: StagedSnapshot) -> StepContext:
        return StepContext(self._store, self._settings, staged.folder, staged.path)

    def _look(self, chain: Chain, want: str, platform: str = "") -> bytes:
        lowers = tuple(str(self._tree(identity)) for identity in chain.snapshots)
        with self._store.snapshots.stage() as staged:
            reply = self._call("chain", ChainJob(str(staged.folder), lowers, want, platform))
            return Path(str(reply["answer"])).read_bytes()

    def _tree(self, identity: str) -> Path:
        found = self._store.snapshots.find(identity)
        if found is None:
            raise missing_snapshot(identity)
        return found.path

    def _unpack(self, layer: LayerBlob) -> BaseLayer:
        found = self._store.snapshots.find(layer.diff_id)
        if found is not None:
            return BaseLayer(layer.diff_id, found.fileset())
        blob = self._store.blobs.checked_path(layer.digest)
        with self._store.snapshots.stage() as staged:
            job = UnpackJob(
                str(staged.folder), str(staged.path), str(blob), layer.media_type, layer.diff_id, layer.size
            )
            fileset = _read_fileset(str(self._call("unpack", job)["fileset"]))
            staged.commit(layer.diff_id, fileset)
        return BaseLayer(layer.diff_id, fileset)


def check_platform(platform: str) -> None:
    """Raises SandboxError when programs of ``platform`` do not run here."""
    own = platform_of(machine())
    if platform in ("any", "", own) or (own, platform) in _ALSO_NATIVE or emulator(platform):
        return
    raise SandboxError(
        f"steps for {platform} do not run on this machine ({own})",
        hint="as root: apt-get install qemu-user-static; or use a builder of that platform",
    )


def _removed(path: Path) -> bool:
    """Whether a tree is gone; false when files of other ids are in it."""
    from lamella.engines.local.chains import remove

    try:
        remove(RemoveJob((str(path),)))
    except PermissionError:
        return False
    return True


def _read_fileset(path: str) -> FileSet:
    return parse_fileset(Path(path).read_bytes())


def _captured(files: dict[str, Path], masks: tuple[bytes, ...]) -> FrozenMap[str, bytes]:
    """Evidence by name, without secrets."""
    masker = Masker(masks)
    return FrozenMap({name: masker(path.read_bytes()) for name, path in files.items() if path.exists()})


def _failure(spec: StepSpec, reply: StepReply, log: StepLog) -> LamellaError:
    command = spec.op.commands[reply.failed]
    what = paste(command.argv)
    shown = what if len(what) <= _LONGEST_SHOWN else f"{what[:_LONGEST_SHOWN]}..."
    if reply.out_of:
        error: LamellaError = ResourceError(
            f"{spec.name}: {shown} used up the {reply.out_of} that a step may have",
            hint="raise --memory" if reply.out_of == "memory" else "start fewer processes in the step",
        )
    else:
        error = StepError(
            f"{spec.name}: {shown} ended with exit status {reply.code}",
            hint=f"look at its surroundings with: lamella shell {spec.name}",
        )
    return log.explain(error, spec.key)
