"""Platforms: ``os/architecture[/variant]`` with Go's names (image-spec, image-index.md)."""

from __future__ import annotations

from lamella.errors import ConfigError
from lamella.values import dataclass

__all__ = ["ANY", "Platform", "machine_name", "parse_platform"]

ANY = "any"
"""Stands for a result that does not depend on a platform."""

_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386"}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l", "riscv64": "riscv64"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """One platform. ``str(Platform("linux", "arm64"))`` is ``linux/arm64``."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @property
    def machine(self) -> str:
        """The kernel's machine name, as ``uname -m`` prints it."""
        return machine_name(self.architecture)


def machine_name(architecture: str) -> str:
    """``x86_64`` for ``amd64`` and so on; an unknown architecture is returned as it is."""
    return _MACHINES.get(architecture, architecture)


def parse_platform(text: str) -> Platform:
    """A platform from text; ``arm64`` alone means linux, kernel names are understood.

    Raises ConfigError for anything else.
    """
    parts = text.strip().lower().split("/")
    if len(parts) == 1:
        parts = ["linux", parts[0]]
    if len(parts) > 3 or not all(part.replace("_", "").replace("-", "").isalnum() for part in parts):
        raise ConfigError(f"platform {text!r} is not of the form os/architecture[/variant]", hint="write linux/amd64")
    architecture = _ALIASES.get(parts[1], parts[1])
    variant = parts[2] if len(parts) == 3 else ""
    if architecture == "arm64" and variant == "v8":  # v8 is arm64's only variant; containerd normalises it away too
        variant = ""
    return Platform(parts[0], architecture, variant)
