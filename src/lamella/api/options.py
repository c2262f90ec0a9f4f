"""What a session takes from its caller's surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lamella.canonical import EMPTY_MAP, FrozenMap

__all__ = ["SessionOptions"]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the caller's environment gives: see ``lamella.cli.settings``.

    ``store`` is the store's directory, ``ca_bundle`` a PEM file that steps and downloads trust too,
    ``insecure_registries`` hosts where plain HTTP is allowed, ``environ`` what programs of the host are started with.
    """

    store: Path
    ca_bundle: Path | None = None
    snapshot_mirror: str = ""
    docker_config: Path | None = None
    insecure_registries: tuple[str, ...] = ()
    environ: FrozenMap[str, str] = EMPTY_MAP
    offline: bool = False
