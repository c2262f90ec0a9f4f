"""Reads Dockerfiles for what their last stage says of the image. Nothing is executed, nothing is asked.

The grammar is the Dockerfile reference's as far as that needs: parser directives, continuations, comments, heredocs,
ARG and ENV substitution, stages that build on stages, exec and shell form. What depends on a shell is left out.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.values import dataclass, replace

__all__ = ["Copied", "DockerfileFacts", "read_dockerfile"]

_VARIABLE = re.compile(r"\\(\$)|\$(?:\{(\w+)(?::?([-+])([^}]*))?\}|(\w+))")
_HEREDOC = re.compile(r"<<-?(['\"]?)(\w+)\1")
_SHELL = re.compile(r"[$`|&;<>()*?{}~\[\]]")
_URL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::(\d+))?(/[\w./-]*)?")
_PACKAGE = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?:=\S+)?")
_CARGO = re.compile(r"(?:[\w-]+-)?cargo|cross")
_STEPS = re.compile(r"&&|\|\||;|\n")


@dataclass(frozen=True, slots=True)
class Copied:
    """One source that a COPY takes from the build context, and the absolute path it goes to."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class DockerfileFacts:
    """Of the last stage, with what it inherits from stages it builds on.

    ``base`` is the image under it, empty when it depends on an argument without a default. ``ports`` are TCP ports.
    ``entrypoint`` and ``cmd`` are empty in shell forms that need a shell. ``health`` is the path of an HTTP health
    check on this host, ``health_port`` its port or 0. ``apt`` are the packages that the stage installs, in order.
    ``cargo`` are the words of the last ``cargo build`` of any stage, empty when there is none.
    """

    base: str = ""
    ports: tuple[int, ...] = ()
    user: str = ""
    workdir: str = ""
    env: FrozenMap[str, str] = EMPTY_MAP
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    health: str = ""
    health_port: int = 0
    volumes: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    copies: tuple[Copied, ...] = ()
    cargo: tuple[str, ...] = ()


def read_dockerfile(data: bytes) -> DockerfileFacts:
    """The facts of a Dockerfile's last stage; what cannot be understood is left out."""
    reader = _Reader()
    for word, rest in _instructions(data.decode("utf-8", "replace")):
        reader.take(word, rest)
    return replace(reader.facts, cargo=reader.cargo)


class _Reader:
    """The stage being read; ``facts`` are its own at the end."""

    def __init__(self) -> None:
        self.facts = DockerfileFacts()
        self.cargo: tuple[str, ...] = ()
        self._global: dict[str, str] = {}
        self._arguments: dict[str, str] = {}
        self._stages: dict[str, DockerfileFacts] = {}
        self._name = ""
        self._started = False

    def take(self, word: str, rest: str) -> None:
        """One instruction."""
        handler = getattr(self, f"_{word.lower()}", None)
        if word == "FROM":
            self._begin(rest)
        elif word == "ARG":
            self._argument(rest)
        elif self._started and handler is not None and word in _TAKEN:
            handler(rest)
            if self._name:
                self._stages[self._name] = self.facts

    def _begin(self, rest: str) -> None:
        parts = [part for part in rest.split() if not part.startswith("--")]
        image = _expanded(parts[0], self._global) if parts else ""
        self._started, self._arguments = True, {}
        self.facts = self._stages.get(image.lower(), DockerfileFacts(base=image))
        self._name = parts[2].lower() if len(parts) == 3 and parts[1].lower() == "as" else ""
        self._stages[self._name or f"\0{len(self._stages)}"] = self.facts

    def _argument(self, rest: str) -> None:
        for word in _words(rest):
            name, sign, value = word.partition("=")
            if not self._started:
                if sign:
                    self._global[name] = _expanded(value, self._global)
            elif sign:
                self._arguments[name] = self._text(value)
            elif name in self._global:
                self._arguments[name] = self._global[name]

    def _text(self, text: str) -> str:
        return _expanded(text, {**self._arguments, **self.facts.env})

    def _env(self, rest: str) -> None:
        words = _words(rest)
        if not words:
            return
        if "=" not in words[0]:
            pairs = {words[0]: rest.partition(words[0])[2].strip()}
        else:
            pairs = dict(word.partition("=")[::2] for word in words if "=" in word)
        values = {name: self._text(value) for name, value in pairs.items()}
        self.facts = replace(self.facts, env=self.facts.env.with_items(values))

    def _expose(self, rest: str) -> None:
        found = []
        for word in self._text(rest).split():
            port, _, protocol = word.partition("/")
            if port.isdigit() and 0 < int(port) < 65_536 and protocol in ("", "tcp"):
                found.append(int(port))
        self.facts = replace(self.facts, ports=tuple(dict.fromkeys((*self.facts.ports, *found))))

    def _user(self, rest: str) -> None:
        self.facts = replace(self.facts, user=self._text(rest.strip()))

    def _workdir(self, rest: str) -> None:
        path = posixpath.normpath(posixpath.join(self.facts.workdir or "/", self._text(rest.strip().strip("\"'"))))
        self.facts = replace(self.facts, workdir=path)

    def _volume(self, rest: str) -> None:
        found = _exec_form(rest) or tuple(self._text(rest).split())
        paths = tuple(path.rstrip("/") for path in found if path.startswith("/") and path != "/")
        self.facts = replace(self.facts, volumes=tuple(dict.fromkeys((*self.facts.volumes, *paths))))

    def _entrypoint(self, rest: str) -> None:
        self.facts = replace(self.facts, entrypoint=self._command(rest), cmd=())

    def _cmd(self, rest: str) -> None:
        self.facts = replace(self.facts, cmd=self._command(rest))

    def _command(self, rest: str) -> tuple[str, ...]:
        words = _exec_form(rest)
        return words if words is not None else _plain_words(self._text(rest))

    def _healthcheck(self, rest: str) -> None:
        match = _URL.search(self._text(rest))
        if match:
            self.facts = replace(self.facts, health=match[2] or "/", health_port=int(match[1] or 0))
        elif rest.strip().upper() == "NONE":
            self.facts = replace(self.facts, health="", health_port=0)

    def _run(self, rest: str) -> None:
        self.cargo = _cargo_build(self._text(rest)) or self.cargo
        found = tuple(_apt_packages(rest))
        self.facts = replace(self.facts, apt=tuple(dict.fromkeys((*self.facts.apt, *found))))

    def _copy(self, rest: str) -> None:
        flags, words = [], list(_exec_form(rest) or _words(rest))
        while words and words[0].startswith("--"):
            flags.append(words.pop(0))
        if len(words) < 2 or any(flag.startswith("--from=") for flag in flags) or "<<" in rest:
            return
        *sources, target = (self._text(word) for word in words)
        place = posixpath.normpath(posixpath.join(self.facts.workdir or "/", target))
        several = target.endswith("/") or len(sources) > 1 or target in (".", "./")
        found = tuple(_copied(source, place, inside=several) for source in sources)
        self.facts = replace(self.facts, copies=(*self.facts.copies, *found))


_TAKEN = frozenset({"ENV", "EXPOSE", "USER", "WORKDIR", "VOLUME", "ENTRYPOINT", "CMD", "HEALTHCHECK", "RUN", "COPY"})


def _copied(source: str, place: str, *, inside: bool) -> Copied:
    """A file goes into the target when that is a folder; of a folder the content does, always."""
    clean = posixpath.normpath(source.lstrip("/") or ".")
    looks_like_file = "." in posixpath.basename(clean) and clean != "."
    target = posixpath.join(place, posixpath.basename(clean)) if inside and looks_like_file else place
    return Copied(clean, target)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """(WORD, rest) of each instruction; heredoc bodies of RUN are joined to it, those of others are dropped."""
    escape = "`" if re.match(r"(?:#[^\n]*\n)*#\s*escape\s*=\s*`", text) else "\\"
    lines, current, begun = iter(text.splitlines()), "", False
    for raw in lines:
        line = raw.strip()
        if line.startswith("#") or (not line and not begun):
            continue
        current += line.removesuffix(escape) + " "
        begun = line.endswith(escape) or (begun and not line)
        if begun:
            continue
        word, _, rest = current.strip().partition(" ")
        current = ""
        for match in _HEREDOC.finditer(rest) if word.upper() in ("RUN", "COPY", "ADD") else ():
            body = []
            for inner in lines:
                if inner.strip() == match[2]:
                    break
                body.append(inner.strip())
            rest += "\n" + "\n".join(body)
        yield word.upper(), rest.strip()
    if current.strip():
        word, _, rest = current.strip().partition(" ")
        yield word.upper(), rest.strip()


def _expanded(text: str, values: dict[str, str]) -> str:
    """``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``${NAME:+other}``; unknown names are empty."""

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        found = values.get(match[2] or match[5], "")
        if match[3] == "-":
            return found or match[4]
        return (match[4] if found else "") if match[3] == "+" else found

    return _VARIABLE.sub(value, text)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _exec_form(text: str) -> tuple[str, ...] | None:
    """The words of a JSON array, None for the shell form."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return tuple(found) if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _plain_words(text: str) -> tuple[str, ...]:
    """A command line that needs no shell; a leading ``exec`` and ``sh -c`` are looked through."""
    words = _words(text)
    if words[:1] == ["exec"]:
        words = words[1:]
    return () if _SHELL.search(text) else tuple(words)


def _cargo_build(command: str) -> tuple[str, ...]:
    """The words after ``cargo`` (or a wrapper around it) of a command that builds or installs."""
    for part in _STEPS.split(command):
        words = _words(part)
        at = next((i for i, word in enumerate(words) if _CARGO.fullmatch(posixpath.basename(word))), len(words))
        if {"build", "install", "rustc"} & set(words[at + 1 : at + 3]):
            return tuple(words[at + 1 :])
    return ()


def _apt_packages(command: str) -> Iterator[str]:
    """Names after ``apt-get install``, up to the end of that command."""
    for part in _STEPS.split(command):
        words = part.split()
        program = next((i for i, word in enumerate(words) if posixpath.basename(word) in ("apt-get", "apt")), None)
        if program is None or "install" not in words[program:]:
            continue
        for word in words[words.index("install", program) + 1 :]:
            match = _PACKAGE.fullmatch(word)
            if match:
                yield match[1]
