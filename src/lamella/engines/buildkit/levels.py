"""What a BuildKit version can do, and which one a Docker Engine carries (ADR 15 has the measurements).

A Docker Engine parses Dockerfiles with the front end that was compiled into it, and we never ask for another one, so
the version of BuildKit decides alone. Thresholds marked *read* come from the sources of those versions, the others
were tried on real engines.
"""

from __future__ import annotations

import re

from lamella.errors import SandboxError
from lamella.values import dataclass

__all__ = ["OLDEST", "Level", "buildkit_of_engine", "level_of", "parse_version"]

Version = tuple[int, int]

OLDEST: Version = (0, 8)

RUN_NETWORK: Version = (0, 9)
"""``RUN --network`` outside the labs channel (Dockerfile 1.3); older ones have one mode for a whole target."""
MOUNT_WORDS: Version = (0, 9)
"""Mount options are shell words, in which a dollar sign must be quoted (read: ``parseMount`` with an expander)."""
TMPFS_SIZE: Version = (0, 10)
"""``size`` of a tmpfs mount (read)."""
NAMED_CONTEXTS: Version = (0, 10)
"""A stage may come from another target of the bake file (Dockerfile 1.4)."""
FIRM_READONLY: Version = (0, 10)
"""A read-only bind of one file is read-only in the step; on 0.8 the step could write into the builder's copy."""

_LEVELS: tuple[tuple[Version, str], ...] = (
    ((0, 8), "L0"),
    ((0, 10), "L1"),
    ((0, 11), "L2"),
    ((0, 13), "L3"),
    ((0, 20), "L4"),
)

_ENGINES: tuple[tuple[Version, Version], ...] = (
    ((20, 10), (0, 8)),
    ((23, 0), (0, 10)),
    ((24, 0), (0, 11)),
    ((25, 0), (0, 12)),
    ((26, 0), (0, 13)),
    ((27, 0), (0, 14)),
    ((27, 1), (0, 15)),
    ((27, 3), (0, 16)),
    ((27, 4), (0, 17)),
    ((27, 5), (0, 18)),
    ((28, 0), (0, 20)),
    ((28, 1), (0, 21)),
    ((28, 2), (0, 22)),
    ((28, 3), (0, 23)),
    ((28, 4), (0, 24)),
    ((28, 5), (0, 25)),
    ((29, 1), (0, 26)),
    ((29, 2), (0, 27)),
    ((29, 3), (0, 28)),
    ((29, 4), (0, 29)),
    ((29, 5), (0, 30)),
    ((29, 6), (0, 31)),
    ((29, 7), (0, 32)),
)
"""Docker Engine to the BuildKit it vendors (moby's vendor files at each release), lowest first."""

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?![0-9])")


@dataclass(frozen=True, slots=True)
class Level:
    """One step of ability. ``name`` is L0 to L4, ``version`` BuildKit's own."""

    name: str
    version: Version

    @property
    def run_network(self) -> bool:
        """Whether each step can have the network closed or open by itself."""
        return self.version >= RUN_NETWORK

    @property
    def mount_words(self) -> bool:
        """Whether paths in mount options are expanded like shell words."""
        return self.version >= MOUNT_WORDS

    @property
    def tmpfs_size(self) -> bool:
        """Whether a tmpfs can be bounded."""
        return self.version >= TMPFS_SIZE

    @property
    def named_contexts(self) -> bool:
        """Whether a stage can be another target's result, so that its files are sent once for all targets."""
        return self.version >= NAMED_CONTEXTS

    @property
    def firm_readonly(self) -> bool:
        """Whether a read-only bind of one file cannot be written by the step."""
        return self.version >= FIRM_READONLY

    def __str__(self) -> str:
        return f"{self.name} (BuildKit {self.version[0]}.{self.version[1]})"


def parse_version(text: str) -> Version:
    """Major and minor of ``v0.25.1``, ``28.5.2+dfsg4`` and the like. Raises SandboxError for anything else."""
    found = _VERSION.match(text.strip())
    if found is None:
        raise SandboxError(
            f"the builder's version {text[:40]!r} cannot be read",
            hint="run: docker buildx inspect; or use --engine local",
        )
    return int(found[1]), int(found[2])


def level_of(version: str | Version) -> Level:
    """The level of a BuildKit version; newer ones than we know count as the newest. Raises SandboxError below 0.8."""
    wanted = parse_version(version) if isinstance(version, str) else version
    if wanted < OLDEST:
        raise SandboxError(
            f"BuildKit {wanted[0]}.{wanted[1]} is too old: steps need at least {OLDEST[0]}.{OLDEST[1]}",
            hint="use Docker Engine 20.10 or newer, another --builder, or --engine local",
        )
    return Level([name for lowest, name in _LEVELS if lowest <= wanted][-1], wanted)


def buildkit_of_engine(engine: str | Version) -> Version:
    """The BuildKit inside a Docker Engine. Raises SandboxError for one before 20.10."""
    wanted = parse_version(engine) if isinstance(engine, str) else engine
    found = [buildkit for lowest, buildkit in _ENGINES if lowest <= wanted]
    if not found:
        raise SandboxError(
            f"Docker Engine {wanted[0]}.{wanted[1]} is too old for BuildKit builds",
            hint="use Docker Engine 20.10 or newer, another --builder, or --engine local",
        )
    return found[-1]
