"""Which node of a builder runs the steps of a platform, and what it can do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from lamella.engines.base import EngineUse
from lamella.engines.buildkit.buildx import Builder, Buildx, Node, find_builder, find_buildx, level_of_node
from lamella.engines.buildkit.levels import Level
from lamella.errors import SandboxError
from lamella.values import dataclass

__all__ = ["Connected", "Connection", "choose_node", "is_native"]

_SAME_KERNEL = {"linux/386": "linux/amd64", "linux/arm/v7": "linux/arm64", "linux/arm/v6": "linux/arm64"}
"""Platforms whose programs the kernel of another one runs by itself."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A node that answers, for one platform. ``emulated``: its programs are of another one."""

    buildx: Buildx
    builder: Builder
    node: Node
    level: Level
    emulated: bool = False

    def use(self, why: str = "") -> EngineUse:
        """What a build says of it."""
        return EngineUse("buildkit", self.builder.name, self.builder.driver, str(self.level), why)

    def __str__(self) -> str:
        return f"builder {self.builder.name!r} ({self.builder.driver}, {self.level})"


class Connection:
    """A builder by name, looked for when it is first needed. ``emulate`` allows foreign programs to be emulated."""

    def __init__(self, environ: Mapping[str, str], name: str, *, emulate: bool = False) -> None:
        self._environ = environ
        self._name = name
        self._emulate = emulate
        self._found: tuple[Buildx, Builder] | None = None
        self._looking = threading.Lock()

    def open(self, platform: str, warn: Callable[[str], None]) -> Connected:
        """The node for steps of ``platform``.

        Raises SandboxError (8) without buildx, for a builder that is too old or has no node for the platform,
        ConfigError (2) for an unknown name, RegistryError (6) when no daemon answers.
        """
        with self._looking:
            if self._found is None:
                buildx = find_buildx(self._environ)
                self._found = (buildx, find_builder(buildx, self._name))
            buildx, builder = self._found
        node = choose_node(builder, platform)
        emulated = not is_native(node, platform)
        if emulated and not self._emulate:
            raise SandboxError(
                f"builder {builder.name!r} has no node of its own for {platform}: it would emulate every program",
                hint=f"add a node: docker buildx create --append --name {builder.name} --platform {platform} ENDPOINT; "
                "or accept that steps take 5 to 20 times as long: --emulate",
            )
        if emulated:
            warn(f"steps for {platform} are emulated by node {node.name}: expect 5 to 20 times their usual time")
        return Connected(buildx, builder, node, level_of_node(node), emulated)


def choose_node(builder: Builder, platform: str) -> Node:
    """The node that buildx takes for a platform: one that was given it, one of its own kind, one that emulates it.

    Raises SandboxError when none has it.
    """
    having = [node for node in builder.nodes if platform in (*node.pinned, *node.platforms)]
    if not having:
        known = ", ".join(dict.fromkeys(one for node in builder.nodes for one in node.platforms)) or "none"
        raise SandboxError(
            f"builder {builder.name!r} has no node for {platform}; its platforms are {known}",
            hint=f"add one: docker buildx create --append --name {builder.name} --platform {platform} ENDPOINT; or "
            "install qemu-user-static where the builder runs, start that anew, and accept it: --emulate",
        )
    ranked = sorted(having, key=lambda node: (platform not in node.pinned, not is_native(node, platform)))
    return ranked[0]


def is_native(node: Node, platform: str) -> bool:
    """Whether a node's own processor runs programs of a platform: what its user said, else its first platform."""
    if platform in node.pinned:
        return True
    own = next((name for name in node.platforms if name not in node.pinned), "")
    return bool(own) and (_plain(own) == _plain(platform) or _SAME_KERNEL.get(platform) == _plain(own))


def _plain(platform: str) -> str:
    """Without the variant of an architecture whose variants are levels of one processor."""
    name, _, variant = platform.rpartition("/")
    return name if name in ("linux/amd64", "linux/arm64") and variant.startswith("v") else platform
