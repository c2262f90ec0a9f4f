"""Rows of the tables around layers and images: devices, services, gates, channels, caches, CI, cycles."""

from __future__ import annotations

from typing import Any

from lamella.canonical import FrozenMap
from lamella.project.delivery import (
    BenchSpec,
    ChannelSpec,
    CheckSpec,
    CiSpec,
    CycleSpec,
    DeviceSpec,
    DevSpec,
    GenerateSpec,
    RetainSpec,
    ServiceHealth,
    ServiceSpec,
    StepKeys,
    WorkspaceSpec,
)
from lamella.project.events import CRON, EVENT
from lamella.project.formats import FORMATS
from lamella.project.schema.grammar import (
    Boolean,
    Choice,
    Integer,
    Later,
    ListOf,
    MapOf,
    Number,
    OneOf,
    Row,
    Table,
    TableOf,
    Text,
    Type,
    flag,
    text,
    texts,
)
from lamella.project.schema.image import AXIS_PATTERN, HEALTH_ROWS, PORTS, PROBES
from lamella.project.schema.layer import ARGV_LIST, STEP_ROWS
from lamella.values import replace

__all__ = ["CHANNEL", "ROWS"]

_FREE_FORMS = ("text", "argument")


def _settled(kind: Type) -> Type:
    """``kind`` without variables in strings of a strict form: these tables are read before any cell is known."""
    if isinstance(kind, Text):
        return replace(kind, constant=not kind.raw and kind.form.name not in _FREE_FORMS, deferred=False)
    if isinstance(kind, ListOf):
        return replace(kind, item=_settled(kind.item))
    if isinstance(kind, MapOf):
        return replace(kind, item=_settled(kind.item), templates=False)
    if isinstance(kind, OneOf):
        return replace(kind, options=tuple(_settled(option) for option in kind.options))
    return kind


def _rows(*rows: Row) -> tuple[Row, ...]:
    return tuple(replace(row, type=_settled(row.type)) for row in rows)


_STEP_NAMES = (*(row.key for row in STEP_ROWS), "dir")
_STEP = (*STEP_ROWS, Row("dir", text("path"), "folder the commands run in", default="."))


def _needs(value: FrozenMap[str, Any]) -> FrozenMap[str, FrozenMap[str, str]]:
    """``needs`` with a single path spelt as the whole product."""
    return FrozenMap({k: FrozenMap({".": v}) if isinstance(v, str) else v for k, v in value.items()})


def _step(values: dict[str, Any]) -> StepKeys:
    """The step keys, taken out of ``values``."""
    taken = {name: values.pop(name) for name in _STEP_NAMES}
    return StepKeys(**{**taken, "needs": _needs(taken["needs"])})


def _generate(**values: Any) -> GenerateSpec:
    return GenerateSpec(step=_step(values), **values)


def _check(**values: Any) -> CheckSpec:
    return CheckSpec(step=_step(values), **values)


def _channel(**values: Any) -> ChannelSpec:
    """A channel; only prod cells unless it names a profile."""
    only = values["only"]
    return ChannelSpec(**{**values, "only": only if "profile" in only else only.with_items({"profile": ("prod",)})})


WORKSPACE = Table(
    "workspace",
    "Projects that share lock, cache and engine; a layer or image of one is addressed FOLDER:NAME.",
    _rows(Row("projects", texts("path", at_least=1), "folders with a project file", required=True)),
    WorkspaceSpec,
    later=Later("workspace", "workspaces"),
)
DEVICE = Table(
    "device.VALUE",
    "What a container needs for an accelerator. cuda, rocm, vulkan, intel, cann and musa are built in.",
    _rows(
        Row("gpus", text("text", constant=True), "value of --gpus"),
        Row("devices", texts("absolute"), "device files"),
        Row("groups", texts("owner"), "groups of the program"),
        Row("runtime", text("name"), "container runtime"),
        Row("env", MapOf(FORMATS["env_name"], text("text")), "environment"),
        Row("probe", texts("argument"), "command that shows the device is there"),
        Row("title", text("text"), "name for people"),
        Row("hardware", text("text"), "what is needed, for people"),
        Row("note", text("argument"), "a remark for people"),
        Row("fallback", text("axis_value"), "value to degrade to", default="none"),
    ),
    DeviceSpec,
    later=Later("run", "device flags"),
)
_DEV = Table(
    "service.N.dev",
    "How `lamella dev` treats the service.",
    _rows(
        Row("mode", Choice(("sync", "compile", "server")), "what an edit leads to", default="compile"),
        Row("watch", texts("glob"), "files to watch", shown="the inputs of its layers"),
        Row("command", texts("argument"), "command of a development server"),
        Row("on", text("name"), "layer the command runs on"),
        Row("dir", text("path"), "folder the command runs in", default="."),
        Row("port", Integer(1, 65_535), "port of the development server"),
    ),
    DevSpec,
)
_SERVICE_HEALTH = Table(
    "service.N.healthcheck", "When the service is ready.", _rows(*HEALTH_ROWS), ServiceHealth, one_of=(PROBES,)
)
SERVICE = Table(
    "service.N",
    "A container that runs beside others.",
    _rows(
        Row("image", text("image_name"), "image of this project"),
        Row("from", Text(FORMATS["text"]), "foreign image"),
        Row("ports", PORTS, "published ports"),
        Row("env", MapOf(FORMATS["env_name"], text("text")), "environment"),
        Row("env_file", text("path"), "file with environment"),
        Row("volumes", ListOf(Text(FORMATS["text"])), "mounts SOURCE:/TARGET[:ro]"),
        Row("after", texts("name"), "services that must be well first"),
        Row("healthcheck", TableOf(_SERVICE_HEALTH), "when it is ready", nullable=True),
        Row("dev", TableOf(_DEV), "how `lamella dev` treats it", nullable=True),
    ),
    ServiceSpec,
    one_of=(("image", "from"),),
    later=Later("service", "services"),
)
GENERATE = Table(
    "generate.N",
    "Commands whose outputs are committed; each is a drift gate too.",
    _rows(
        *_STEP,
        Row("run", ARGV_LIST, "commands", required=True),
        Row("outputs", texts("glob", at_least=1), "files written back", required=True),
        Row("after", texts("name"), "generators that run first"),
    ),
    _generate,
    later=Later("generate", "generators"),
)
CHECK = Table(
    "check.N",
    "A gate.",
    _rows(
        *_STEP,
        Row("run", ARGV_LIST, "commands, in the image or on a layer"),
        Row("tool", text("name"), "a tool Lamella knows how to call"),
        Row(
            "audit",
            ListOf(Choice(("unused", "uncached", "test-features", "duplicates", "misplaced", "secrets")), 1),
            "audits of the project's dependencies and context",
        ),
        Row("build", texts("image_name", at_least=1), "images that must build"),
        Row("image", text("image_or_all"), "image the gate looks at; * is every one"),
        Row("only", AXIS_PATTERN, "cells the gate looks at"),
        Row("severity", text("severity"), "findings that count"),
        flag("sarif", "write the findings as SARIF"),
    ),
    _check,
    one_of=(("run", "tool", "audit", "build"),),
    later=Later("check", "gates"),
)
BENCH = Table(
    "bench",
    "Thresholds of timings; LAMELLA_BENCH_* overrides them.",
    _rows(
        Row("cold", text("duration"), "build from nothing"),
        Row("noop", text("duration"), "build without a change"),
        Row("code", text("duration"), "build after an edit of code"),
        Row("bump", text("duration"), "build after a new version of a dependency"),
        Row("reload", text("duration"), "edit to running program"),
        Row("health", text("duration"), "start to healthy"),
        Row("edits", MapOf(FORMATS["name"], text("text", constant=True)), "what each timing edits"),
        Row("reuse", MapOf(FORMATS["name"], Number(0, 1)), "least part of a layer or image that must be reused"),
    ),
    BenchSpec,
    later=Later("bench", "timings with thresholds"),
)
CHANNEL = Table(
    "channel.N",
    "A way to publish.",
    _rows(
        Row("on", ListOf(Text(EVENT, raw=True), 1), "what starts it", required=True),
        Row("images", texts("image_name"), "images", shown="all"),
        Row("only", AXIS_PATTERN, "cells", shown="prod"),
        Row("tags", texts("text"), "tags beside those of the images"),
        Row("stable_tags", texts("text"), "tags that a prerelease does not get"),
        Row("publish", Boolean(), "publish the result", shown="true, but not for pull_request"),
        Row("promote", text("name"), "channel whose tested result is tagged again"),
        Row("checks", texts("name"), "gates that must pass"),
        Row("inputs", texts("arg_name"), "arguments a person may set"),
        Row("next", Choice(("git", "registry")), "where the next version is looked up", default="git"),
        Row("require", Choice(("all", "any")), "which cells a release record needs", default="all"),
        flag("prerelease", "the result is a prerelease"),
        Row(
            "attest",
            ListOf(Choice(("sbom", "provenance", "cosign"))),
            "attestations and signatures",
            default=("sbom", "provenance"),
        ),
        Row("trust", text("name"), "trust domain", shown="by event"),
    ),
    _channel,
    varied=True,
)
RETAIN = Table(
    "retain.N",
    "Which old tags or untagged manifests may go.",
    _rows(
        Row("tags", texts("tag_glob", at_least=1), "tags"),
        flag("untagged", "manifests without a tag"),
        Row("keep", Integer(0), "newest to keep"),
        Row("min_age", text("duration"), "age before which nothing goes"),
        Row("max_age", text("duration"), "age after which it goes"),
        Row("protect", texts("tag_glob"), "tags that never go"),
    ),
    RetainSpec,
    one_of=(("tags", "untagged"),),
)
CI = Table(
    "ci",
    "Workflow files.",
    _rows(
        Row("provider", Choice(("github",)), "provider", default="github"),
        Row("runners", MapOf(FORMATS["platform"], text("text", constant=True)), "runner label by platform"),
        Row("timeout", text("duration"), "time limit of a job"),
        flag("submodules", "check submodules out"),
        flag("issue", "open an issue when a scheduled run fails"),
        Row("retain", Text(CRON), "when retention runs"),
    ),
    CiSpec,
    later=Later("ci", "workflow files"),
)
CYCLE = Table(
    "cycle",
    "Commands around an edit-to-running cycle.",
    _rows(
        Row("before", ListOf(ListOf(Text(FORMATS["argument"]), 1)), "commands before the build"),
        Row("after", ListOf(ListOf(Text(FORMATS["argument"]), 1)), "commands after it"),
        Row("export", MapOf(FORMATS["name"], text("text")), "layer = path on the host its product is copied to"),
        Row("vars", texts("variable"), "variables that --var must give; used as {NAME}"),
    ),
    CycleSpec,
    later=Later("cycle", "cycles"),
)

ROWS: tuple[Row, ...] = (
    Row("workspace", TableOf(WORKSPACE), "projects that share lock, cache and engine", nullable=True),
    Row("device", MapOf(FORMATS["axis_value"], TableOf(DEVICE)), "devices by axis value"),
    Row("service", MapOf(FORMATS["name"], TableOf(SERVICE)), "services"),
    Row("generate", MapOf(FORMATS["name"], TableOf(GENERATE)), "generators"),
    Row("check", MapOf(FORMATS["name"], TableOf(CHECK)), "gates"),
    Row("bench", TableOf(BENCH), "thresholds of timings"),
    Row("channel", MapOf(FORMATS["name"], TableOf(CHANNEL)), "ways to publish"),
    Row("retain", MapOf(FORMATS["name"], TableOf(RETAIN)), "retention policies"),
    Row("ci", TableOf(CI), "workflow files"),
    Row("cycle", TableOf(CYCLE), "commands around an edit-to-running cycle"),
)
"""These tables as keys of the file."""
