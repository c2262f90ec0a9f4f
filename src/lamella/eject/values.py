"""A Dockerfile as values: stages, instructions, and what they are made of. Only ``dockerfile_text`` writes them.

Stages are named by number: two that are equal are one, whatever layer or cell asks for it, and people's names are
found when all of them are known (``stages``).
"""

from __future__ import annotations

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.oci.config import Healthcheck
from lamella.values import dataclass

__all__ = [
    "CONTEXT",
    "Add",
    "ArchSwitch",
    "Arg",
    "Cmd",
    "Copy",
    "Entrypoint",
    "Env",
    "Expose",
    "Health",
    "Inline",
    "Instruction",
    "Label",
    "Mount",
    "Part",
    "Prefixed",
    "Remark",
    "Run",
    "Script",
    "Stage",
    "StopSignal",
    "User",
    "Volume",
    "Workdir",
]

CONTEXT = -1
"""Instead of a stage's number: the build context."""


@dataclass(frozen=True, slots=True)
class Prefixed:
    """A value of ENV that puts ``front`` before what the variable holds already (``/opt/venv/bin:$PATH``)."""

    front: str


@dataclass(frozen=True, slots=True)
class Part:
    """Where a product is: ``path`` in a stage, or in the build context; ``folder`` when it is a directory."""

    stage: int
    path: str
    folder: bool


@dataclass(frozen=True, slots=True)
class ArchSwitch:
    """A stage that is another one on each architecture: TARGETARCH to stage."""

    stages: FrozenMap[str, int]


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment."""

    text: str


@dataclass(frozen=True, slots=True)
class Arg:
    """ARG without a default."""

    name: str


@dataclass(frozen=True, slots=True)
class Env:
    """ENV."""

    values: FrozenMap[str, str | Prefixed]


@dataclass(frozen=True, slots=True)
class Mount:
    """One ``--mount`` of RUN: ``fields`` in order; ``stage`` for ``from=``; flags without a value are empty."""

    fields: tuple[tuple[str, str], ...]
    stage: int = CONTEXT


@dataclass(frozen=True, slots=True)
class Script:
    """A piece of shell that this room wrote itself: everything foreign in it is quoted already."""

    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """RUN of one command or several joined by ``&&``; ``env`` is exported before them, and kept nowhere."""

    commands: tuple[tuple[str, ...] | Script, ...]
    mounts: tuple[Mount, ...] = ()
    env: FrozenMap[str, str] = EMPTY_MAP
    network: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY of paths of a stage or of the context. ``target`` ends with a slash when it is a directory to copy into."""

    sources: tuple[str, ...]
    target: str
    stage: int = CONTEXT
    link: bool = False
    chown: str = ""
    chmod: str = ""


@dataclass(frozen=True, slots=True)
class Inline:
    """COPY of a here-document."""

    data: str
    target: str
    link: bool = False
    chown: str = ""
    chmod: str = ""


@dataclass(frozen=True, slots=True)
class Add:
    """ADD of a URL with its checksum (hex sha256)."""

    url: str
    sha256: str
    target: str
    link: bool = False
    chown: str = ""
    chmod: str = ""


@dataclass(frozen=True, slots=True)
class Workdir:
    """WORKDIR."""

    path: str


@dataclass(frozen=True, slots=True)
class User:
    """USER."""

    name: str


@dataclass(frozen=True, slots=True)
class Expose:
    """EXPOSE of ``8080/tcp``."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """VOLUME, in JSON form."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """LABEL."""

    values: FrozenMap[str, str]


@dataclass(frozen=True, slots=True)
class Health:
    """HEALTHCHECK."""

    check: Healthcheck


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """ENTRYPOINT in exec form."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cmd:
    """CMD in exec form."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopSignal:
    """STOPSIGNAL."""

    name: str


Instruction = (
    Remark
    | Arg
    | Env
    | Run
    | Copy
    | Inline
    | Add
    | Workdir
    | User
    | Expose
    | Volume
    | Label
    | Health
    | Entrypoint
    | Cmd
    | StopSignal
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: ``base`` is a reference, another stage's number, or a switch; ``native`` runs it on the builder's
    own platform because its result is the same on every one.
    """

    base: str | int | ArchSwitch
    instructions: tuple[Instruction, ...] = ()
    remark: str = ""
    native: bool = False
