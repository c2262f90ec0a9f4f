"""What a session takes from its caller's surroundings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.clock import SystemClock
from lamella.store.store import Store
from lamella.values import dataclass

__all__ = ["EngineOptions", "SessionOptions", "Warn", "open_store"]

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Where steps run.

    ``name`` is ``local``, ``buildkit``, ``auto`` or empty for what the project says. ``builder`` names one of
    buildx's, empty for its own choice. ``network`` is what steps with an open network get on a builder: ``default``
    (its own) or ``host``. ``allow_network`` accepts that steps which ask for none have it where a builder cannot
    close it; ``emulate`` that a builder emulates a foreign platform.
    """

    name: str = ""
    builder: str = ""
    network: str = "default"
    allow_network: bool = False
    emulate: bool = False


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the caller's environment gives: see ``lamella.cli.settings``.

    ``store`` is the store's directory, ``ca_bundle`` a PEM file that steps and downloads trust too,
    ``insecure_registries`` hosts where plain HTTP is allowed, ``environ`` what programs of the host are started with.
    ``cache_from`` and ``cache_to`` are repositories of records besides the project's; ``channel`` is the one that is
    published, whose trust domain counts.
    """

    store: Path
    ca_bundle: Path | None = None
    snapshot_mirror: str = ""
    docker_config: Path | None = None
    insecure_registries: tuple[str, ...] = ()
    environ: FrozenMap[str, str] = EMPTY_MAP
    offline: bool = False
    engine: EngineOptions = EngineOptions()
    cache_from: tuple[str, ...] = ()
    cache_to: str = ""
    channel: str = ""


def open_store(options: SessionOptions, *, warn: Warn = lambda text: None) -> Store:
    """The store of the options; raises ConfigError and ResourceError as ``Store.open`` does. ``warn`` also hears what
    is waited for because another run has it.
    """
    return Store.open(options.store, clock=SystemClock(), warn=warn, on_wait=_impatient(warn))


def _impatient(warn: Warn) -> Callable[[str, float], None]:
    """Tells each thing once, when a second went by."""
    told: set[str] = set()

    def on_wait(what: str, seconds: float) -> None:
        if seconds >= 1 and what not in told:
            told.add(what)
            warn(f"waiting for {what}, which another run has")

    return on_wait
