"""What ``init`` takes from an existing Dockerfile: the last stage's base, ports, user. Nothing is executed.

Grammar as far as needed: line continuations, comments, ARG defaults before the first FROM (Dockerfile reference).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DockerfileFacts", "read_dockerfile"]

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")


@dataclass(frozen=True, slots=True)
class DockerfileFacts:
    """Of the last stage: ``base`` image, ``expose`` first port (0: none), ``user``; of all stages ``apt`` packages."""

    base: str = ""
    expose: int = 0
    user: str = ""
    apt: tuple[str, ...] = ()


def read_dockerfile(data: bytes) -> DockerfileFacts:
    """The facts of a Dockerfile; what cannot be understood is left out."""
    args: dict[str, str] = {}
    stages: dict[str, str] = {}
    base, expose, user, apt = "", 0, "", []
    for word, rest in _instructions(data.decode("utf-8", "replace")):
        if word == "ARG" and not base:
            name, _, value = rest.partition("=")
            args[name.strip()] = value.strip().strip("\"'")
        elif word == "FROM":
            parts = [part for part in rest.split() if not part.startswith("--")]
            image = _expand(parts[0], args) if parts else ""
            base, expose, user, apt = stages.get(image, image), 0, "", []
            if len(parts) == 3 and parts[1].lower() == "as":
                stages[parts[2]] = base
        elif word == "EXPOSE" and not expose:
            port = rest.split()[0].partition("/")[0] if rest.split() else ""
            expose = int(port) if port.isdigit() else 0
        elif word == "USER":
            user = rest.strip()
        elif word == "RUN":
            apt += _apt_packages(rest)
    return DockerfileFacts(base, expose, user, tuple(dict.fromkeys(apt)))


def _instructions(text: str) -> list[tuple[str, str]]:
    lines, current = [], ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        current += line.removesuffix("\\") + " "
        if not line.endswith("\\"):
            lines.append(current.strip())
            current = ""
    split = (line.partition(" ") for line in [*lines, current.strip()] if line)
    return [(word.upper(), rest.strip()) for word, _, rest in split]


def _expand(text: str, args: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda m: args.get(m[1] or m[3]) or m[2] or "", text)


def _apt_packages(command: str) -> list[str]:
    """Names after ``apt-get install``, up to the end of that command."""
    found = []
    for part in re.split(r"&&|;|\|\|", command):
        words = part.split()
        if len(words) > 2 and words[0] in ("apt-get", "apt") and "install" in words:
            names = words[words.index("install") + 1 :]
            found += [word for word in names if re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", word)]
    return found
