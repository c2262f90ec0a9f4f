"""Values of the tables that are not layers or images: devices, services, gates, channels, caches, CI.

Strings that hold variables stay ``Template`` values here (``Raw``), because their values are known only when the
command that uses them runs; everything else is converted: durations to seconds, sizes to bytes.
"""

from __future__ import annotations

from typing import TypeAlias

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.project.cells import AxisPattern
from lamella.project.events import Event
from lamella.project.template import Template
from lamella.values import dataclass

__all__ = [
    "BenchSpec",
    "ChannelSpec",
    "CheckSpec",
    "CiSpec",
    "CycleSpec",
    "Delivery",
    "DevSpec",
    "DeviceSpec",
    "GenerateSpec",
    "Raw",
    "RetainSpec",
    "ServiceHealth",
    "ServiceSpec",
    "StepKeys",
    "WorkspaceSpec",
]

Raw: TypeAlias = str | Template
"""A string, or a template whose values come later."""


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """Folders of projects that share lock, cache and engine."""

    projects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What a container needs to reach an accelerator, and how the host shows that it has one."""

    gpus: str | None = None
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    runtime: str | None = None
    env: FrozenMap[str, Raw] = EMPTY_MAP
    probe: tuple[Raw, ...] = ()
    title: Raw | None = None
    hardware: Raw | None = None
    note: Raw | None = None
    fallback: str = "none"


@dataclass(frozen=True, slots=True)
class StepKeys:
    """The keys that any step has, in generate and check tables. ``needs``: layer to (source to target) paths."""

    on: str | None = None
    needs: FrozenMap[str, FrozenMap[str, str]] = EMPTY_MAP
    inputs: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    env: FrozenMap[str, Raw] = EMPTY_MAP
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    network: bool = False
    caches: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    dir: str = "."


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """How a service shows that it is ready; seconds."""

    http: Raw | None = None
    tcp: int | None = None
    cmd: tuple[Raw, ...] = ()
    interval: int = 30
    timeout: int = 10
    start: int = 5
    retries: int = 3
    device: Raw | None = None


@dataclass(frozen=True, slots=True)
class DevSpec:
    """How ``lamella dev`` treats a service."""

    mode: str = "compile"
    watch: tuple[str, ...] = ()
    command: tuple[Raw, ...] = ()
    on: str | None = None
    dir: str = "."
    port: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A container that runs beside: one of our images or a foreign one."""

    image: str | None = None
    from_: Raw | None = None
    ports: tuple[str, ...] = ()
    env: FrozenMap[str, Raw] = EMPTY_MAP
    env_file: str | None = None
    volumes: tuple[Raw, ...] = ()
    after: tuple[str, ...] = ()
    healthcheck: ServiceHealth | None = None
    dev: DevSpec | None = None


@dataclass(frozen=True, slots=True)
class GenerateSpec:
    """Commands whose outputs are committed; also a gate that says when they drift."""

    step: StepKeys = StepKeys()
    run: tuple[tuple[Raw, ...], ...] = ()
    outputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """A gate."""

    step: StepKeys = StepKeys()
    run: tuple[tuple[Raw, ...], ...] = ()
    tool: str | None = None
    audit: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    image: str | None = None
    only: AxisPattern = EMPTY_MAP
    severity: str | None = None
    sarif: bool = False


@dataclass(frozen=True, slots=True)
class BenchSpec:
    """Thresholds in seconds; ``edits`` name what is changed; ``reuse`` is the least reused part, 0 to 1."""

    cold: int | None = None
    noop: int | None = None
    code: int | None = None
    bump: int | None = None
    reload: int | None = None
    health: int | None = None
    edits: FrozenMap[str, str] = EMPTY_MAP
    reuse: FrozenMap[str, float] = EMPTY_MAP


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A way to publish: what starts it, which images and cells, under which tags. ``publish`` None: by event."""

    on: tuple[Event, ...] = ()
    images: tuple[str, ...] = ()
    only: AxisPattern = EMPTY_MAP
    tags: tuple[Raw, ...] = ()
    stable_tags: tuple[Raw, ...] = ()
    publish: bool | None = None
    promote: str | None = None
    checks: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    next: str = "git"
    require: str = "all"
    prerelease: bool = False
    attest: tuple[str, ...] = ("sbom", "provenance")
    trust: str | None = None


@dataclass(frozen=True, slots=True)
class RetainSpec:
    """Which old tags, or untagged manifests, may go; ages in seconds."""

    tags: tuple[str, ...] = ()
    untagged: bool = False
    keep: int | None = None
    min_age: int | None = None
    max_age: int | None = None
    protect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CiSpec:
    """Workflow files: provider, runner label by platform, time limit in seconds."""

    provider: str = "github"
    runners: FrozenMap[str, str] = EMPTY_MAP
    timeout: int | None = None
    submodules: bool = False
    issue: bool = False
    retain: str | None = None


@dataclass(frozen=True, slots=True)
class CycleSpec:
    """Commands around an edit-to-running cycle, layers copied to host paths, and variables that must be given."""

    before: tuple[tuple[Raw, ...], ...] = ()
    after: tuple[tuple[Raw, ...], ...] = ()
    export: FrozenMap[str, Raw] = EMPTY_MAP
    vars: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """All these tables of one project file."""

    workspace: WorkspaceSpec | None = None
    device: FrozenMap[str, DeviceSpec] = EMPTY_MAP
    service: FrozenMap[str, ServiceSpec] = EMPTY_MAP
    generate: FrozenMap[str, GenerateSpec] = EMPTY_MAP
    check: FrozenMap[str, CheckSpec] = EMPTY_MAP
    bench: BenchSpec = BenchSpec()
    channel: FrozenMap[str, ChannelSpec] = EMPTY_MAP
    retain: FrozenMap[str, RetainSpec] = EMPTY_MAP
    ci: CiSpec = CiSpec()
    cycle: CycleSpec = CycleSpec()
