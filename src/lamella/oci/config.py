"""The image config (image-spec config.md) with Docker's health check extension."""

from __future__ import annotations

import json
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap, canonical_json
from lamella.errors import HostileInputError
from lamella.oci.digest import check_digest
from lamella.oci.platform import Platform
from lamella.values import dataclass

__all__ = ["EPOCH", "Healthcheck", "History", "ImageConfig", "RuntimeConfig", "parse_config"]

EPOCH = "1970-01-01T00:00:00Z"
"""Creation time of everything unless SOURCE_DATE_EPOCH says otherwise (DESIGN 7b.8)."""

StringMap = FrozenMap[str, str]


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Docker's ``Healthcheck``: ``test`` starts with CMD or CMD-SHELL; times in nanoseconds."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0

    def to_json(self) -> dict[str, Any]:
        """The JSON object; zero values are left out."""
        pairs = {
            "Interval": self.interval,
            "Timeout": self.timeout,
            "StartPeriod": self.start_period,
            "Retries": self.retries,
        }
        return {"Test": list(self.test), **{name: value for name, value in pairs.items() if value}}


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """The ``config`` object: how a container of the image starts."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: StringMap = EMPTY_MAP
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON object; empty parts are left out."""
        out: dict[str, Any] = {
            "User": self.user,
            "Env": list(self.env),
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "WorkingDir": self.working_dir,
            "ExposedPorts": {port: {} for port in sorted(self.exposed_ports)},
            "Volumes": {path: {} for path in sorted(self.volumes)},
            "Labels": dict(self.labels),
            "StopSignal": self.stop_signal,
        }
        out = {name: value for name, value in out.items() if value}
        if self.healthcheck is not None:
            out["Healthcheck"] = self.healthcheck.to_json()
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RuntimeConfig:
        """From a parsed ``config`` object; a null part counts as absent."""
        return cls(
            user=str(data.get("User") or ""),
            env=tuple(data.get("Env") or ()),
            entrypoint=tuple(data.get("Entrypoint") or ()),
            cmd=tuple(data.get("Cmd") or ()),
            working_dir=str(data.get("WorkingDir") or ""),
            exposed_ports=tuple(sorted(data.get("ExposedPorts") or ())),
            volumes=tuple(sorted(data.get("Volumes") or ())),
            labels=FrozenMap(data.get("Labels") or {}),
            stop_signal=str(data.get("StopSignal") or ""),
            healthcheck=_healthcheck(data.get("Healthcheck")),
        )


@dataclass(frozen=True, slots=True)
class History:
    """One line of an image's history; ``empty_layer`` lines have no layer."""

    created_by: str
    created: str = EPOCH
    comment: str = ""
    empty_layer: bool = False

    def to_json(self) -> dict[str, Any]:
        """The JSON object; empty parts are left out."""
        out: dict[str, Any] = {"created": self.created, "created_by": self.created_by}
        if self.comment:
            out["comment"] = self.comment
        if self.empty_layer:
            out["empty_layer"] = True
        return out


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The whole config document. ``diff_ids`` are of uncompressed layers, lowest first."""

    platform: Platform
    runtime: RuntimeConfig
    diff_ids: tuple[str, ...]
    history: tuple[History, ...] = ()
    created: str = EPOCH

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        out: dict[str, Any] = {
            "created": self.created,
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "config": self.runtime.to_json(),
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
            "history": [line.to_json() for line in self.history],
        }
        if self.platform.variant:
            out["variant"] = self.platform.variant
        return canonical_json(out)


def _healthcheck(data: Any) -> Healthcheck | None:
    if not isinstance(data, dict) or not data.get("Test"):
        return None
    numbers = {name: int(data.get(name) or 0) for name in ("Interval", "Timeout", "StartPeriod", "Retries")}
    return Healthcheck(
        tuple(data["Test"]), numbers["Interval"], numbers["Timeout"], numbers["StartPeriod"], numbers["Retries"]
    )


def parse_config(data: bytes) -> ImageConfig:
    """An image config from bytes; raises HostileInputError when it is malformed."""
    try:
        document = json.loads(data)
        rootfs = document.get("rootfs") or {}
        history = tuple(
            History(
                str(line.get("created_by", "")),
                str(line.get("created", EPOCH)),
                str(line.get("comment", "")),
                bool(line.get("empty_layer", False)),
            )
            for line in document.get("history") or ()
        )
        return ImageConfig(
            Platform(
                str(document.get("os", "linux")),
                str(document.get("architecture", "")),
                str(document.get("variant") or ""),
            ),
            RuntimeConfig.from_json(document.get("config") or {}),
            tuple(check_digest(item) for item in rootfs.get("diff_ids") or ()),
            history,
            str(document.get("created", EPOCH)),
        )
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise HostileInputError(f"image config is malformed: {error}") from error
