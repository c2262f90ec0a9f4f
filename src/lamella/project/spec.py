"""Values of one expanded cell: layers, images, and the kinds a layer can be.

Everything here is frozen and fully resolved for one cell: templates are filled in (only ``{base.X}`` waits for the
base's configuration, as ``Deferred``), ``when`` and ``add`` are merged, durations are seconds, sizes are bytes, modes
are numbers. Field names are the key names of SCHEMA.md; ``from`` and ``as`` are Python words and end in ``_`` here.
``None`` stands for "not written, found out later from the tree, the lock or the base" and is named at each field.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.project.cells import Cell
from lamella.project.settings import SecretSpec
from lamella.project.template import Deferred, Template
from lamella.values import dataclass, field

__all__ = [
    "WHOLE",
    "BaseSpec",
    "CargoSpec",
    "CellSpec",
    "DefaultsSpec",
    "FetchItem",
    "FetchSpec",
    "FileItem",
    "FilesSpec",
    "HealthcheckSpec",
    "ImageSpec",
    "IndexSpec",
    "KindSpec",
    "LayerSpec",
    "ModelSpec",
    "Need",
    "NodeSpec",
    "PlainValue",
    "Position",
    "PythonSpec",
    "RepoSpec",
    "RunOptions",
    "RunSpec",
    "Text",
    "ToolSpec",
    "UserSpec",
]

WHOLE = "."
"""The source path in a ``Need`` that stands for the other layer's whole product."""

Text: TypeAlias = str | Deferred
"""A resolved string, or one that still waits for ``{base.X}``."""

PlainValue: TypeAlias = "str | int | float | bool | tuple[PlainValue, ...] | FrozenMap[str, PlainValue]"
"""A free value of ``image.N.defaults.values``. A float has no canonical JSON: digest the rendered file instead."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the project file; ``line`` and ``column`` count from 1."""

    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """Products of another layer that a step (or, for a files layer, the image) gets.

    ``paths`` maps a path in that layer's product to the path where it shall stand. ``WHOLE`` as source is the whole
    product. In a step a relative target is below the project's root; in a files layer targets are absolute.
    """

    layer: str
    paths: FrozenMap[str, str]


@dataclass(frozen=True, slots=True)
class UserSpec:
    """A user that the layer writes into passwd and group."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str = "/bin/sh"
    sudo: bool = False


@dataclass(frozen=True, slots=True)
class RepoSpec:
    """A signed package source beyond those of the base. ``key`` is a key file in the project."""

    url: str
    key: str
    name: str | None = None
    suite: str | None = None
    components: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool installed into a base: ``[cargo:|npm:|uv:]NAME[@VERSION]``. ``None`` is decided by the lock."""

    name: str
    version: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """A root file system. Without ``from_``, ``bootstrap`` and ``host`` the planner takes the default base."""

    kind: ClassVar[str] = "base"
    from_: str | None = None
    bootstrap: str | None = None
    host: bool = False
    apt: tuple[str, ...] = ()
    dnf: tuple[str, ...] = ()
    zypper: tuple[str, ...] = ()
    apk: tuple[str, ...] = ()
    repos: tuple[RepoSpec, ...] = ()
    users: tuple[UserSpec, ...] = ()
    tools: tuple[ToolSpec, ...] = ()

    @property
    def is_root(self) -> bool:
        """True when the layer names a root file system of its own, False for packages on top of another base."""
        return self.from_ is not None or self.bootstrap is not None or self.host


@dataclass(frozen=True, slots=True)
class FileItem:
    """One copy out of the project. ``owner`` and ``mode`` are those of the layer when not written."""

    from_: str
    to: str
    owner: str = "0:0"
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class FilesSpec:
    """Plain copies, and products of the layers in ``needs``."""

    kind: ClassVar[str] = "files"
    files: tuple[FileItem, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchItem:
    """One way to get a file: a URL (with ``sha256`` or a ``sums`` list) or a file of the project."""

    to: str
    url: str | None = None
    file: str | None = None
    sha256: str | None = None
    sums: str | None = None
    extract: str | None = None
    mode: int | None = None
    secret: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class FetchSpec:
    """Ways to get a file, tried in order."""

    kind: ClassVar[str] = "fetch"
    fetch: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class CargoSpec:
    """A binary of a Cargo workspace. ``bin`` None: ``default-run`` or the only one. ``profile`` follows dev/prod."""

    kind: ClassVar[str] = "cargo"
    dir: str = "."
    package: str | None = None
    bin: str | None = None
    features: tuple[str, ...] = ()
    default_features: bool = True
    profile: str = "dev"
    target: str | None = None
    flags: tuple[str, ...] = ()
    linker: str | None = None
    wrapper: str | None = None
    volatile: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """A package index; with ``packages`` it is asked for these names only, and they are asked nowhere else."""

    url: str
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PythonSpec:
    """A set of wheels in a virtual environment, and the project's own package when ``project`` is given."""

    kind: ClassVar[str] = "python"
    requirements: tuple[str, ...] = ()
    project: str | None = None
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    python: str | None = None
    lock: str = "lamella.lock"
    indexes: tuple[IndexSpec, ...] = ()
    above: str | None = None
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A script of a JavaScript package and what it writes."""

    kind: ClassVar[str] = "node"
    dir: str = "."
    script: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model: a hub repository, a URL or a file of the project."""

    kind: ClassVar[str] = "model"
    hub: str | None = None
    url: str | None = None
    file: str | None = None
    revision: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Commands run one after the other, each an argv; there is no shell unless the argv names one."""

    kind: ClassVar[str] = "run"
    run: tuple[tuple[str, ...], ...] = ()


KindSpec: TypeAlias = BaseSpec | FilesSpec | FetchSpec | CargoSpec | PythonSpec | NodeSpec | ModelSpec | RunSpec


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer of one cell.

    ``on`` None: the stack's own toolchain (for ``run``: the image's base with the step layers listed before it).
    ``to`` None: the kind has no target (base, run), or cargo's binary is not named yet (then ``/app/BIN``).
    ``freshness`` is in seconds, None is never stale. ``mode`` None keeps the modes of the files.
    ``variables`` are the template variables the layer used; ``position`` is where its table begins. Neither of the
    two belongs into a key: the resolved strings already do.
    """

    name: str
    spec: KindSpec
    on: str | None = None
    needs: tuple[Need, ...] = ()
    inputs: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    env: FrozenMap[str, Text] = EMPTY_MAP
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    network: bool = False
    caches: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    to: str | None = None
    owner: str = "0:0"
    mode: int | None = None
    freshness: int | None = None
    missing: str = "build"
    advice: str | None = None
    variables: tuple[str, ...] = ()
    position: Position = field(default=Position(), compare=False)

    @property
    def kind(self) -> str:
        """``base``, ``files``, ``fetch``, ``cargo``, ``python``, ``node``, ``model`` or ``run``."""
        return self.spec.kind


@dataclass(frozen=True, slots=True)
class HealthcheckSpec:
    """How the image says whether it is well; durations in seconds.

    ``port`` is the first ``expose`` unless ``http`` names one; None: neither is known (the base may expose one).
    """

    http: str | None = None
    tcp: int | None = None
    cmd: tuple[str, ...] = ()
    interval: int = 30
    timeout: int = 10
    start: int = 5
    retries: int = 3
    device: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class DefaultsSpec:
    """Runtime defaults: written as YAML (``as_`` = ``file``) or as image environment (``env``)."""

    file: str | None = None
    env_prefix: str = ""
    values: FrozenMap[str, PlainValue] = EMPTY_MAP
    as_: str = "file"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What ``lamella run`` gives the container. ``memory`` in bytes, ``cpus`` as decimal text."""

    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    env: FrozenMap[str, Text] = EMPTY_MAP
    env_file: str | None = None
    memory: int | None = None
    cpus: str | None = None
    network: str = "bridge"
    user: str | None = None
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One image of one cell.

    ``tags`` are complete; those in ``manifest_tags`` name this platform's manifest, the others an index over the
    platforms; ``tag_templates`` has how each is written. ``repository`` None: the project has none, the image is
    local only. ``local_name`` is its name in local stores. ``expose`` holds ``PORT/PROTOCOL``. ``entrypoint`` None:
    the only binary or console script.
    ``user`` and ``workdir`` None: those of the base.
    """

    name: str
    layers: tuple[str, ...] = ()
    local_name: str = ""
    extends: str | None = None
    pin: str | None = None
    repository: str | None = None
    user: str | None = None
    workdir: str | None = None
    entrypoint: tuple[Text, ...] | None = None
    cmd: tuple[Text, ...] | None = None
    env: FrozenMap[str, Text] = EMPTY_MAP
    expose: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    dirs: FrozenMap[str, str] = EMPTY_MAP
    labels: FrozenMap[str, Text] = EMPTY_MAP
    tags: tuple[str, ...] = ()
    manifest_tags: tuple[str, ...] = ()
    tag_templates: FrozenMap[str, Template] = field(default=EMPTY_MAP, compare=False)
    stop_signal: str | None = None
    init: bool = False
    read_only: bool = False
    healthcheck: HealthcheckSpec | None = None
    defaults: DefaultsSpec | None = None
    run: RunOptions = field(default=RunOptions())
    allow_failure: bool = False
    variables: tuple[str, ...] = ()
    position: Position = field(default=Position(), compare=False)


@dataclass(frozen=True, slots=True)
class CellSpec:
    """Everything one cell needs: its images, and all layers they use, each after those it uses.

    ``layers`` is in a topological order (needs, on, above and image bases first), stable over runs.
    """

    cell: Cell
    project: str
    images: tuple[ImageSpec, ...]
    layers: tuple[LayerSpec, ...]
    secrets: FrozenMap[str, SecretSpec] = EMPTY_MAP

    def layer(self, name: str) -> LayerSpec:
        """The layer ``name``; KeyError when no image of the cell uses it."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def image(self, name: str) -> ImageSpec:
        """The image ``name``; KeyError when the cell is not one of its cells."""
        for image in self.images:
            if image.name == name:
                return image
        raise KeyError(name)
