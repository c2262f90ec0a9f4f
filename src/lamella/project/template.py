"""Templates in strings: ``{version} {date:FMT} {AXIS} {args.X} {base.ENV}``; ``{{`` and ``}}`` are plain braces.

A ``Template`` is a parsed string. ``render`` fills it in from a ``Scope``. ``{base.X}`` is known only when the image is
composed, so a rendered text that holds one is a ``Deferred``; every other variable must have a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from lamella.canonical import FrozenMap

__all__ = [
    "RESERVED",
    "Deferred",
    "Scope",
    "Template",
    "TemplateError",
    "TemplateFacts",
    "Variable",
    "parse_template",
    "platform_variables",
    "render",
]

RESERVED = frozenset(
    {"version", "major", "minor", "commit", "date", "arch", "machine", "target", "cwd", "uid", "args", "base"}
)
"""Names an axis may not have."""

_MACHINES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "arm": "armv7l",
    "386": "i686",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_TARGETS = {
    "amd64": "x86_64-unknown-linux-gnu",
    "arm64": "aarch64-unknown-linux-gnu",
    "arm": "armv7-unknown-linux-gnueabihf",
    "386": "i686-unknown-linux-gnu",
    "ppc64le": "powerpc64le-unknown-linux-gnu",
    "s390x": "s390x-unknown-linux-gnu",
    "riscv64": "riscv64gc-unknown-linux-gnu",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)?\Z")
_DATE_FORMAT = re.compile(r"(?:%[YymdHMSjVGu%]|[A-Za-z0-9._ :/+-])+\Z")
_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:[.+-].*)?\Z")
DEFAULT_DATE_FORMAT = "%Y-%m-%d"


class TemplateError(ValueError):
    """A template is malformed or one of its variables has no value; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Variable:
    """One ``{name}`` or ``{date:FMT}``; ``name`` keeps its dot (``args.rust``, ``base.PATH``)."""

    kind: ClassVar[str] = "variable"
    name: str
    format: str = ""

    @property
    def text(self) -> str:
        """The variable as it is written."""
        return f"{{{self.name}:{self.format}}}" if self.format else f"{{{self.name}}}"


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed string: literal pieces and variables in order."""

    parts: tuple[str | Variable, ...]

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables in order of appearance."""
        return tuple(part for part in self.parts if isinstance(part, Variable))


@dataclass(frozen=True, slots=True)
class Deferred:
    """A text that waits for the base's environment; its only variables are ``base.X``."""

    kind: ClassVar[str] = "deferred"
    parts: tuple[str | Variable, ...]

    def resolve(self, environment: Mapping[str, str]) -> str:
        """The text with ``{base.X}`` taken from ``environment``; KeyError names a variable the base does not set."""
        return "".join(
            part if isinstance(part, str) else environment[part.name.removeprefix("base.")] for part in self.parts
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the base's environment variables that are used."""
        return tuple(part.name.removeprefix("base.") for part in self.parts if isinstance(part, Variable))

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """What the caller knows at the time of the command. ``epoch`` is in seconds (UTC). None is "not known"."""

    version: str | None = None
    commit: str | None = None
    epoch: int | None = None
    cwd: str | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Values of all variables at one place: facts, the cell's axes (profile and platform too) and args."""

    facts: TemplateFacts = TemplateFacts()
    axes: FrozenMap[str, str] = field(default_factory=FrozenMap)
    args: FrozenMap[str, str] = field(default_factory=FrozenMap)
