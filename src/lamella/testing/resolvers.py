"""Answers of the outside world for ``lamella lock``, made of the questions: no network, always the same."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lamella.canonical import FrozenMap, digest_value
from lamella.errors import RegistryError
from lamella.graph.facts import Interpreter
from lamella.graph.op import Wheel
from lamella.project.lock import BasePin, ToolPin
from lamella.sources.wheel_request import ResolveRequest
from lamella.values import dataclass, field

__all__ = ["FakeResolvers"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass
class FakeResolvers:
    """``lamella.build.lock.Resolvers``. ``asked`` lists every question in order.

    ``release`` stands for what a moving reference names now. ``pythons`` maps a part of a base's reference to the
    Python that is inside, ``tools`` a tool's name to its newest version (others have no client here). ``down`` makes
    every question fail.
    """

    release: str = "1"
    pythons: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    down: bool = False
    asked: list[str] = field(default_factory=list)

    def base(
        self, reference: str, platforms: tuple[str, ...], *, look: tuple[str, ...], known: BasePin | None = None
    ) -> BasePin:
        """A base whose family its name tells, with Python 3.10 unless ``pythons`` says another one."""
        self._ask(f"base {reference} {','.join(platforms)}" + (f" inside {','.join(look)}" if look else ""))
        minor = next((version for part, version in self.pythons.items() if part in reference), "3.10")
        place = "/usr/bin" if "cuda" in reference else "/usr/local/bin"
        python = Interpreter("python", f"{place}/python{minor}", minor, f"cpython-{minor.replace('.', '')}")
        family = next((name for name in ("fedora", "opensuse", "alpine", "ubuntu") if name in reference), "debian")
        stays = known is not None and not reference.startswith("oci:")
        chosen = known.index if known is not None and stays else digest_value([reference, self.release])
        return BasePin(
            chosen,
            FrozenMap({platform: digest_value([chosen, platform]) for platform in platforms}),
            family if look else "",
            FrozenMap(dict.fromkeys(look, (python,))),
        )

    def wheels(self, request: ResolveRequest) -> tuple[Wheel, ...]:
        """One pure wheel per requirement, at the version it is pinned to, else at ``release``.0."""
        self._ask(f"wheels {request.layer} {request.platform} {request.python}")
        found = {}
        for line in request.requirements:
            name = _NAME.match(line)
            pinned = re.search(r"==\s*([\w.]+)", line)
            if name is not None:
                found[name[0].lower().replace("_", "-")] = pinned[1] if pinned else f"{self.release}.0"
        return tuple(
            Wheel(name, version, f"{name.replace('-', '_')}-{version}-py3-none-any.whl", digest_value(name)[7:])
            for name, version in found.items()
        )

    def tool(self, source: str, name: str) -> ToolPin | None:
        """The version of ``tools``, None for others."""
        self._ask(f"tool {source}:{name}")
        return ToolPin(self.tools[name]) if name in self.tools else None

    def _ask(self, question: str) -> None:
        self.asked.append(question)
        if self.down:
            raise RegistryError(f"the network is down: {question}")
