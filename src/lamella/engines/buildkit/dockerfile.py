"""The one place where values become Dockerfile text: everything is quoted here, and control characters are refused.

The text is read in layers (BuildKit's ``frontend/dockerfile``): lines, flags of an instruction
(``extractBuilderFlags``), fields of a mount (``encoding/csv``), shell words within a field. Each layer has its own
quoting, applied innermost first.
"""

from __future__ import annotations

import json
import re

from lamella.engines.buildkit.levels import Level
from lamella.errors import HostileInputError, SandboxError
from lamella.values import dataclass

__all__ = ["Add", "Copy", "From", "Instruction", "MountOption", "Run", "User", "Workdir", "dockerfile_text"]

_STAGE = re.compile(r"[a-z][a-z0-9_.-]*")
_BASE = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:/@\[\]-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?::[A-Za-z0-9_][A-Za-z0-9._-]*)?")


@dataclass(frozen=True, slots=True)
class From:
    """A new stage ``name`` on ``base``: another stage, a reference, or ``scratch``."""

    base: str
    name: str


@dataclass(frozen=True, slots=True)
class User:
    """Who runs what follows: ``name``, numbers, or both parts of ``user:group``."""

    user: str


@dataclass(frozen=True, slots=True)
class Workdir:
    """The directory in which what follows runs."""

    path: str


@dataclass(frozen=True, slots=True)
class Add:
    """A tar of the context, unpacked with its owners at ``target``."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A path of another stage (of the context when ``stage`` is empty), with its owners, at ``target``."""

    stage: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class MountOption:
    """One mount of a RUN: ``options`` as (name, value); a value of None is a flag."""

    options: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A program with mounts. ``network`` is empty for what the target says, or ``none``."""

    argv: tuple[str, ...]
    mounts: tuple[MountOption, ...] = ()
    network: str = ""


Instruction = From | User | Workdir | Add | Copy | Run


def dockerfile_text(instructions: tuple[Instruction, ...], level: Level) -> str:
    """The Dockerfile, one instruction a line, for the front end of ``level``.

    Raises HostileInputError for control characters and malformed names, SandboxError for a mount that BuildKit's
    syntax cannot name. Without a ``# syntax`` line no other front end is fetched.
    """
    lines = ["# Made by Lamella; each stage carries the start of a definition key."]
    for instruction in instructions:
        if isinstance(instruction, From):
            lines.append("")
        lines.append(_checked(_line(instruction, level)))
    return "\n".join(lines) + "\n"


def _line(instruction: Instruction, level: Level) -> str:
    match instruction:
        case From():
            base = _named(instruction.base, _BASE, "base image")
            return f"FROM {base} AS {_named(instruction.name, _STAGE, 'stage')}"
        case User():
            return f"USER {_named(instruction.user, _USER, 'user')}"
        case Workdir():
            return f"WORKDIR {_word(instruction.path)}"
        case Add():
            return f"ADD {_json([_literal(instruction.source), _word(instruction.target)])}"
        case Copy():
            stage = f"--from={_named(instruction.stage, _STAGE, 'stage')} " if instruction.stage else ""
            return f"COPY {stage}{_json([_literal(instruction.source), _word(instruction.target)])}"
        case Run():
            flags = [f"--network={instruction.network}"] if instruction.network else []
            flags += [_mount(mount, level) for mount in instruction.mounts]
            return " ".join(["RUN", *flags, _json(instruction.argv)])


def _mount(mount: MountOption, level: Level) -> str:
    fields = [name if value is None else f"{name}={_option(name, value, level)}" for name, value in mount.options]
    text = ",".join(_csv_field(field) for field in fields)
    if not text.isascii():
        raise SandboxError(
            f"BuildKit cannot mount {dict(mount.options).get('target')}: its Dockerfiles take only ASCII in mounts",
            hint="rename the path, or use --engine local",
        )
    return "--mount=" + "".join(f"\\{char}" if char in "\\'\" \t" else char for char in text)


def _option(name: str, value: str, level: Level) -> str:
    """``from`` is never expanded; older front ends expand nothing but the id, which is ours."""
    return _word(value) if level.mount_words and name != "from" else value


def _word(text: str) -> str:
    """Quoted for BuildKit's shell lexer (``frontend/dockerfile/shell``), which looks for variables and quotes."""
    return "".join(f"\\{char}" if char in "\\'\"$" else char for char in text)


def _literal(text: str) -> str:
    """A source of COPY or ADD, which is a pattern (Go's filepath.Match): it must match itself alone."""
    if any(char in "*?[\\" for char in text):
        raise HostileInputError(f"{text!r} is a pattern, and would be taken for one in a Dockerfile")
    return _word(text)


def _csv_field(text: str) -> str:
    """One field as Go's encoding/csv reads it."""
    needs_quotes = any(char in ',"' for char in text) or text[:1].isspace()
    return '"' + text.replace('"', '""') + '"' if needs_quotes else text


def _json(items: list[str] | tuple[str, ...]) -> str:
    return json.dumps(items, ensure_ascii=False, separators=(",", ":"))


def _named(text: str, form: re.Pattern[str], what: str) -> str:
    if form.fullmatch(text) is None:
        raise HostileInputError(f"{text!r} is no name of a {what} that a Dockerfile can hold")
    return text


def _checked(line: str) -> str:
    """The line, when it is one: a line break in a path must not become an instruction (RELIABILITY C2)."""
    for char in line:
        if ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char in "\u2028\u2029" or 0xD800 <= ord(char) < 0xE000:
            raise HostileInputError(
                f"the control character {char!r} cannot stand in a Dockerfile: {line[:60]!r}",
                hint="rename the path, or use --engine local",
            )
    return line
