"""Ops: what a vertex does, as frozen values (DESIGN 3b).

``schema`` of an op class is raised by hand when the op's meaning changes; it is part of every key. All
fields of an op enter its keys; what must not (names, advice, freshness) belongs to the vertex.

Two families. *Rootfs ops* yield a root file system: ScratchOp, ImageOp, HostOp, BootstrapOp, and an ExecOp
with ``outputs == ()``. *Product ops* yield a file set: SourceOp, InlineOp, FetchOp, WheelsOp, and an ExecOp
with outputs. UsersOp and PlaceOp yield a layer. Executing ops are ExecOp and BootstrapOp; the rest only
hold files and are written in-process.
"""

from __future__ import annotations

from typing import ClassVar

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.graph.mount import Mount
from lamella.values import dataclass

__all__ = [
    "BootstrapOp",
    "Command",
    "ExecOp",
    "FetchOp",
    "FetchSource",
    "HostOp",
    "ImageOp",
    "InlineFile",
    "InlineOp",
    "NewUser",
    "Op",
    "OutputPath",
    "PlaceOp",
    "ScratchOp",
    "SourceOp",
    "UsersOp",
    "Wheel",
    "WheelsOp",
]


@dataclass(frozen=True, slots=True)
class ScratchOp:
    """An empty root file system."""

    kind: ClassVar[str] = "scratch"
    schema: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class ImageOp:
    """A base image by digest. ``location`` is a reference, or ``oci-layout:PATH`` / ``oci-archive:PATH``.

    ``digest`` is the manifest's for the vertex's platform, as ``lamella.lock`` holds it. The location is a
    place to look and no meaning, so keys are made of the digest alone (see ``graph.keys``).
    """

    kind: ClassVar[str] = "image"
    schema: ClassVar[int] = 1
    location: str
    digest: str


@dataclass(frozen=True, slots=True)
class HostOp:
    """The host's own tools, bound read-only; ``identity`` comes from the Protocol ``Host``."""

    kind: ClassVar[str] = "host"
    schema: ClassVar[int] = 1
    identity: str


@dataclass(frozen=True, slots=True)
class BootstrapOp:
    """A root file system made from a distribution's archive (mmdebstrap(1)).

    ``mirror`` and ``snapshot`` are empty for the host's configured mirror and for no pin. A snapshot is
    ``YYYYMMDDTHHMMSSZ``.
    """

    kind: ClassVar[str] = "bootstrap"
    schema: ClassVar[int] = 1
    distribution: str
    suite: str
    architecture: str
    variant: str = "minbase"
    include: tuple[str, ...] = ()
    mirror: str = ""
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run. ``network`` opens the network for a fetch whose result a lock checks.

    ``capture`` names a stream of evidence: standard output goes to that name instead of the log.
    ``optional`` failures do not end the step; ``unless`` is a command whose success skips this one.
    """

    argv: tuple[str, ...]
    network: bool = False
    cwd: str = ""
    capture: str = ""
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputPath:
    """One path of a step that becomes part of its product: ``source`` absolute, ``target`` relative or empty.

    A directory with an empty ``target`` becomes the product's root.
    """

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class ExecOp:
    """Commands in a sandbox on the root file system of input 0.

    ``network`` is ``none`` or ``host`` and counts for all commands. Without ``outputs`` the step's changes
    to the root file system are its result. ``scratch`` are globs below a bind that the step may write.
    ``observer`` names the stack whose ``observe`` judges the evidence; ``facts_for_observer`` is handed to it.
    """

    kind: ClassVar[str] = "exec"
    schema: ClassVar[int] = 1
    commands: tuple[Command, ...]
    env: FrozenMap[str, str] = EMPTY_MAP
    cwd: str = "/"
    user: str = "0:0"
    mounts: tuple[Mount, ...] = ()
    network: str = "none"
    outputs: tuple[OutputPath, ...] = ()
    scratch: tuple[str, ...] = ()
    observer: str = ""
    observed: FrozenMap[str, str] = EMPTY_MAP


@dataclass(frozen=True, slots=True)
class SourceOp:
    """Files of the project's tree: ``patterns`` are globs relative to ``root`` of ``context``.

    ``context`` is empty for the project itself or the name of a ``--build-context``. ``strip`` is cut off
    the front of the paths. A source vertex has no record; its file set comes from the ``Tree``.
    """

    kind: ClassVar[str] = "source"
    schema: ClassVar[int] = 1
    patterns: tuple[str, ...]
    context: str = ""
    strip: str = ""


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A small file that planning makes: ``link`` set makes it a symlink, ``directory`` an empty directory."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""
    directory: bool = False


@dataclass(frozen=True, slots=True)
class InlineOp:
    """Files that planning itself makes (skeletons, defaults, a venv's binding)."""

    kind: ClassVar[str] = "inline"
    schema: ClassVar[int] = 1
    files: tuple[InlineFile, ...]


@dataclass(frozen=True, slots=True)
class FetchSource:
    """One place to fetch from, tried in order: a ``url``, or a ``file`` of the project (its digest is an input).

    ``sha256`` (hex) or ``sums`` (URL of a checksum file) proves it. ``secret`` is sent as a bearer token.
    """

    url: str = ""
    file: str = ""
    sha256: str = ""
    sums: str = ""
    extract: str = ""
    secret: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class FetchOp:
    """An artefact from elsewhere, as a product with the one file or tree at ``name``."""

    kind: ClassVar[str] = "fetch"
    schema: ClassVar[int] = 1
    sources: tuple[FetchSource, ...]
    name: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Wheel:
    """One locked wheel. ``url`` is empty when it comes from the default index. ``size`` in bytes, 0 unknown."""

    name: str
    version: str
    filename: str
    sha256: str
    url: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class WheelsOp:
    """Wheels installed into a virtual environment's tree (PyPA binary distribution format).

    ``python`` is ``3.11``; ``venv`` the absolute path it will have, for scripts' first lines. Inputs are
    products that hold built wheels (``*.whl``), installed after ``wheels``.
    """

    kind: ClassVar[str] = "wheels"
    schema: ClassVar[int] = 1
    wheels: tuple[Wheel, ...]
    python: str
    venv: str


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user that a layer adds to passwd(5), group(5) and, with ``sudo``, to sudoers.d."""

    name: str
    uid: int
    gid: int
    home: str = ""
    shell: str = ""
    sudo: bool = False


@dataclass(frozen=True, slots=True)
class UsersOp:
    """passwd and group of input 0's facts with users added, as a layer; input 0 is the chain below."""

    kind: ClassVar[str] = "users"
    schema: ClassVar[int] = 1
    users: tuple[NewUser, ...]


@dataclass(frozen=True, slots=True)
class PlaceOp:
    """Input 0's product as a layer: below ``target``, with owner and mode, parents as input 1's facts say.

    ``target`` is absolute. A product that is one file named like the last part of ``target``, or any single
    file when ``rename`` is set, is placed as ``target`` itself. ``owner`` is ``user[:group]`` or numbers;
    ``mode`` an octal text for files or empty to keep them. ``source`` is the directory or file of the product
    that is taken, empty for all of it.
    """

    kind: ClassVar[str] = "place"
    schema: ClassVar[int] = 1
    target: str
    owner: str = "0:0"
    mode: str = ""
    source: str = ""
    rename: bool = False


Op = ScratchOp | ImageOp | HostOp | BootstrapOp | ExecOp | SourceOp | InlineOp | FetchOp | WheelsOp | UsersOp | PlaceOp
