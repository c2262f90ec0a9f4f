"""Values of the tables about the build itself: engine, cache, secrets."""

from __future__ import annotations

from lamella.values import dataclass

__all__ = ["CacheSpec", "EngineSpec", "SecretSpec"]


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """The cache repository (None: the project's with ``-cache``), whether states travel, the local bound in bytes."""

    repository: str | None = None
    state: bool = True
    size: int | None = None


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Which engine, how many steps at once (None: by cores), and how much memory for them in bytes."""

    name: str = "auto"
    jobs: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class SecretSpec:
    """Where a secret's value comes from: an environment variable or a file. Only ``version`` enters a key."""

    name: str
    env: str | None = None
    file: str | None = None
    optional: bool = False
    version: str | None = None
