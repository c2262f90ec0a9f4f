"""Templates in strings: ``{version} {date:FMT} {AXIS} {args.X} {base.ENV}``; ``{{`` and ``}}`` are plain braces.

A ``Template`` is a parsed string. ``render`` fills it in from a ``Scope``. ``{base.X}`` is known only when the image is
composed, so a rendered text that holds one is a ``Deferred``; every other variable must have a value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import ClassVar

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError
from lamella.oci.platform import parse_platform
from lamella.values import dataclass

__all__ = [
    "DEFAULT_DATE_FORMAT",
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
    "variable_axes",
    "variable_value",
]

RESERVED = frozenset(
    {"version", "major", "minor", "commit", "date", "arch", "machine", "target", "cwd", "uid", "args", "base"}
)
"""Names an axis may not have."""

_TARGETS = {
    "amd64": "x86_64-unknown-linux-gnu",
    "arm64": "aarch64-unknown-linux-gnu",
    "arm": "armv7-unknown-linux-gnueabihf",
    "386": "i686-unknown-linux-gnu",
    "ppc64le": "powerpc64le-unknown-linux-gnu",
    "s390x": "s390x-unknown-linux-gnu",
    "riscv64": "riscv64gc-unknown-linux-gnu",
}
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)?\Z")
_DATE_FORMAT = re.compile(r"(?:%[YymdHMSjVGu%]|[A-Za-z0-9._ :/+-])+\Z")
_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:[.+-].*)?\Z")
_PLATFORM_NAMES = frozenset({"platform", "arch", "machine", "target"})
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
    """What the caller knows at the time of the command. ``epoch`` is in seconds (UTC). None is "not known".

    ``host`` is this machine's platform: local names of cells for other platforms say which one they are for.
    """

    version: str | None = None
    commit: str | None = None
    epoch: int | None = None
    cwd: str | None = None
    uid: int | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Values of all variables at one place: facts, the cell's axes (profile and platform too) and args."""

    facts: TemplateFacts = TemplateFacts()
    axes: FrozenMap[str, str] = EMPTY_MAP
    args: FrozenMap[str, str] = EMPTY_MAP


@lru_cache(maxsize=1024)
def parse_template(text: str) -> Template:
    """The template in ``text``; TemplateError for a brace that opens no variable.

    >>> parse_template("v{version}").parts
    ('v', Variable(name='version', format=''))
    """
    if "{" not in text and "}}" not in text:
        return Template((text,))
    parts: list[str | Variable] = []
    literal, at = "", 0
    for token in _TOKEN.finditer(text):
        literal += text[at : token.start()]
        at = token.end()
        if token[0] in ("{{", "}}"):
            literal += token[0][0]
            continue
        variable = _variable(token[1])
        if literal:
            parts.append(literal)
        parts.append(variable)
        literal = ""
    literal += text[at:]
    if literal or not parts:
        parts.append(literal)
    return Template(tuple(parts))


def _variable(inner: str | None) -> Variable:
    """The variable between two braces; ``None`` when the opening brace is never closed."""
    if inner is None:
        raise TemplateError("'{' opens a variable that is not closed", "write '{{' for a plain brace")
    name, colon, form = inner.partition(":")
    shown = repr(f"{{{inner[:40]}}}")
    if not _NAME.match(name):
        raise TemplateError(f"{shown} is not a variable", "write '{{' for a plain brace")
    if colon and name != "date":
        raise TemplateError(f"{shown}: only date takes a format", f"write {{{name}}}, or '{{{{' for a plain brace")
    if colon and not _DATE_FORMAT.match(form):
        hint = "%Y %y %m %d %H %M %S %j %V %G %u and plain characters"
        raise TemplateError(f"{shown} has a format that is not understood", hint)
    if "." in name and name.split(".")[0] not in ("args", "base"):
        raise TemplateError(f"{shown} is not a variable", "only args.X and base.X have a dot")
    return Variable(name, form)


def variable_axes(text: str, axes: Collection[str]) -> frozenset[str]:
    """The axes on which a string depends by its variables; text that is no template depends on none."""
    try:
        names = {variable.name for variable in parse_template(text).variables}
    except TemplateError:
        return frozenset()
    found = names.intersection(axes)
    return frozenset(found | {"platform"} if names & _PLATFORM_NAMES else found)


def platform_variables(template: Template) -> bool:
    """Whether the text depends on the platform, so that it names one manifest and not an index."""
    return any(variable.name in _PLATFORM_NAMES for variable in template.variables)


def render(template: Template, scope: Scope) -> str | Deferred:
    """``template`` with its values from ``scope``; TemplateError names the first variable without a value."""
    parts: list[str | Variable] = []
    for part in template.parts:
        if isinstance(part, Variable) and part.name.startswith("base."):
            parts.append(part)
            continue
        text = part if isinstance(part, str) else variable_value(part, scope)
        if parts and isinstance(parts[-1], str):
            parts[-1] += text
        else:
            parts.append(text)
    if any(isinstance(part, Variable) for part in parts):
        return Deferred(tuple(parts))
    return "".join(part for part in parts if isinstance(part, str))


def variable_value(variable: Variable, scope: Scope) -> str:
    """The value of one variable; TemplateError when it has none."""
    name, facts = variable.name, scope.facts
    if name.startswith("args."):
        return _argument(name.removeprefix("args."), scope)
    if name in scope.axes:
        return scope.axes[name]
    if name in _PLATFORM_NAMES and "platform" in scope.axes:
        return _platform_value(name, scope.axes["platform"])
    if name in ("version", "major", "minor"):
        return _version_value(name, facts.version)
    if name == "date":
        if facts.epoch is None:
            raise TemplateError("{date} has no value here", "the build has no time; set SOURCE_DATE_EPOCH")
        return datetime.fromtimestamp(facts.epoch, UTC).strftime(variable.format or DEFAULT_DATE_FORMAT)
    known = {"commit": facts.commit, "cwd": facts.cwd, "uid": None if facts.uid is None else str(facts.uid)}
    value = known.get(name)
    if value is not None:
        return value
    if name in known:
        hint = "the project is not a git work tree" if name == "commit" else "only a command on this machine knows it"
        raise TemplateError(f"{{{name}}} has no value here", hint)
    raise TemplateError(f"there is no variable {{{name}}}", "write '{{' for a plain brace")


def _argument(name: str, scope: Scope) -> str:
    """The value of ``{args.NAME}``."""
    try:
        return scope.args[name]
    except KeyError:
        raise TemplateError(f"{{args.{name}}} has no value", f"declare {name} under [args]") from None


def _platform_value(name: str, platform: str) -> str:
    """``arch`` (OCI architecture), ``machine`` (``uname -m``) or ``target`` (the GNU target triple)."""
    try:
        parsed = parse_platform(platform)
    except ConfigError as error:
        raise TemplateError(error.message, error.hint) from None
    if name == "arch":
        return parsed.architecture
    if name == "machine":
        return parsed.machine
    triple = _TARGETS.get(parsed.architecture)
    if triple is None:
        raise TemplateError(f"{{target}} is not known for {platform}", "write the target triple")
    return triple


def _version_value(name: str, version: str | None) -> str:
    """``version``, or its first or second number."""
    if version is None:
        raise TemplateError(
            f"{{{name}}} has no value: no version is known",
            "set project.version; for git:PATTERN the commit needs a tag that matches, or one before it",
        )
    if name == "version":
        return version
    match = _VERSION.match(version)
    number = match and match[1 if name == "major" else 2]
    if not number:
        raise TemplateError(f"{{{name}}} has no value: version {version!r} has no such number", "use X.Y.Z")
    return number
