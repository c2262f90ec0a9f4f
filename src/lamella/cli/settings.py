"""Settings of a run: the one place that reads the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError
from lamella.values import dataclass

__all__ = ["Settings", "read_settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    ``store`` is the store's directory. ``ca_bundle`` a file with certificates that steps and downloads shall
    trust besides the usual ones. ``epoch`` seconds of SOURCE_DATE_EPOCH. ``environ`` what may be handed to
    programs that Lamella starts itself (git, uv), never to steps.
    """

    store: Path
    ca_bundle: Path | None = None
    epoch: int | None = None
    ci: bool = False
    color: bool = False
    terminal: bool = False
    docker_host: str = ""
    docker_config: Path | None = None
    snapshot_mirror: str = ""
    insecure_registries: tuple[str, ...] = ()
    environ: FrozenMap[str, str] = EMPTY_MAP

    @property
    def created(self) -> str:
        """The epoch as RFC 3339, empty for none."""
        from datetime import UTC, datetime

        return "" if self.epoch is None else datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises ConfigError for values that make no sense."""
    env = os.environ if environ is None else environ
    home = Path(env.get("HOME") or "~").expanduser()
    cache = Path(env["XDG_CACHE_HOME"]) if env.get("XDG_CACHE_HOME") else home / ".cache"
    store = Path(env["LAMELLA_STORE"]) if env.get("LAMELLA_STORE") else cache / "lamella"
    terminal = sys.stderr.isatty() and env.get("TERM") != "dumb"
    docker_config = Path(env["DOCKER_CONFIG"]) if env.get("DOCKER_CONFIG") else home / ".docker"
    return Settings(
        store=store.absolute(),
        ca_bundle=_ca_bundle(env),
        epoch=_epoch(env),
        ci=env.get("CI", "").lower() in ("1", "true", "yes"),
        color=terminal and not env.get("NO_COLOR"),
        terminal=terminal,
        docker_host=env.get("DOCKER_HOST", ""),
        docker_config=docker_config,
        snapshot_mirror=env.get("LAMELLA_SNAPSHOT_MIRROR", ""),
        insecure_registries=tuple(env.get("LAMELLA_INSECURE_REGISTRIES", "").split(",")),
        environ=FrozenMap(dict(env)),
    )


def _ca_bundle(env: Mapping[str, str]) -> Path | None:
    """``LAMELLA_CA_BUNDLE``, else ``SSL_CERT_FILE`` as OpenSSL's programs read it."""
    text = env.get("LAMELLA_CA_BUNDLE") or env.get("SSL_CERT_FILE")
    if not text:
        return None
    path = Path(text).absolute()
    if not path.is_file():
        name = "LAMELLA_CA_BUNDLE" if env.get("LAMELLA_CA_BUNDLE") else "SSL_CERT_FILE"
        raise ConfigError(
            f"{name} names {text}, which is not a file", hint="unset it, or name a file of PEM certificates"
        )
    return path


def _epoch(env: Mapping[str, str]) -> int | None:
    text = env.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isdigit():
        raise ConfigError(f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds")
    return int(text)
