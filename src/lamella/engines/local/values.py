"""What the step runner is handed and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.graph.facts import BaseFacts
from lamella.graph.fileset import FileSet
from lamella.graph.op import BootstrapOp, ExecOp
from lamella.graph.protocols import HostTools
from lamella.values import dataclass, field

__all__ = [
    "BaseLayer",
    "BootstrapSpec",
    "Chain",
    "LayerBlob",
    "OnLine",
    "Rootfs",
    "RunnerSettings",
    "SnapshotInput",
    "SourceInput",
    "StepInput",
    "StepOutcome",
    "StepSpec",
]

OnLine = Callable[[int, str], None]
"""Takes one line of a step's output (stream 1 or 2), secrets masked. Called from the thread that runs the step."""


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """What the user configured for steps. Nothing of it is in a key.

    ``env`` is the caller's environment as far as programs of the host need it (PATH, for mmdebstrap proxies);
    steps never see it. ``step_env`` goes to commands that have the network (``http_proxy`` and the like).
    ``ca_bundle`` is a PEM file that programs in steps trust beside their own. ``memory`` bytes and ``processes``
    bound each step, 0: no bound. ``snapshot_mirror`` is the base URL of a snapshot archive; a suite's archive is
    expected at ``<snapshot_mirror>/<distribution>/<timestamp>``.
    """

    env: FrozenMap[str, str] = EMPTY_MAP
    step_env: FrozenMap[str, str] = EMPTY_MAP
    ca_bundle: Path | None = None
    memory: int = 0
    processes: int = 16384
    snapshot_mirror: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """A root file system as snapshot ids, lowest first; without any it is empty."""

    snapshots: tuple[str, ...] = ()


Rootfs = Chain | HostTools


@dataclass(frozen=True, slots=True)
class SnapshotInput:
    """An input that is a product of the store, by its snapshot's id."""

    id: str


@dataclass(frozen=True, slots=True)
class SourceInput:
    """An input that is a selection of a directory's files: ``fileset`` names and proves what is copied."""

    root: Path
    fileset: FileSet


StepInput = SnapshotInput | SourceInput


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step. ``key`` is the resolved key, ``name`` the vertex's name for people.

    ``inputs`` are by input number, for those that a ``BindMount`` of the op names. ``secrets`` are by id.
    ``fresh_states`` gives the step empty states and caches, which are thrown away (``--no-cache``). ``memory`` are
    the bytes that it may have, 0 for the runner's setting.
    """

    key: str
    name: str
    op: ExecOp
    platform: str
    rootfs: Rootfs
    inputs: FrozenMap[int, StepInput] = EMPTY_MAP
    secrets: FrozenMap[str, bytes] = field(default=EMPTY_MAP, repr=False)
    fresh_states: bool = False
    memory: int = 0


@dataclass(frozen=True, slots=True)
class BootstrapSpec:
    """One bootstrap: ``key`` is the resolved key and becomes the snapshot's id."""

    key: str
    name: str
    op: BootstrapOp
    platform: str


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What came out.

    ``snapshot`` is the id under which the store has it: the resolved key for changes of a root file system (whose
    ``packages`` are the canonical bytes of the recorded package set, and ``outline`` the facts of the whole chain but
    its paths, where the runner has looked; with ``unchanged`` both are those of the chain below and not given), the
    file set's digest for a product.
    ``captured`` holds evidence by name, ``wrote_sources`` paths below binds that were written and are no scratch,
    as absolute paths of the step. ``log`` is the digest of the stored output. ``hermetic`` is false when the
    network was open to all commands.
    """

    snapshot: str
    fileset: FileSet
    packages: bytes = b""
    outline: BaseFacts | None = None
    unchanged: bool = False
    captured: FrozenMap[str, bytes] = EMPTY_MAP
    wrote_sources: tuple[str, ...] = ()
    log: str = ""
    hermetic: bool = True
    seconds: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer of a base image as stored: ``media_type`` says how it is compressed."""

    digest: str
    size: int
    media_type: str
    diff_id: str


@dataclass(frozen=True, slots=True)
class BaseLayer:
    """An unpacked layer: its snapshot has the id ``diff_id``, or without a tree that of its contents."""

    diff_id: str
    fileset: FileSet
    is_tree: bool = True
