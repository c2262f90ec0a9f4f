"""What translating one image of one cell and platform works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.eject.context import Context
from lamella.eject.stages import Stages
from lamella.eject.values import CONTEXT, Mount, Part
from lamella.errors import ConfigError
from lamella.graph.definition import Definition
from lamella.graph.facts import BaseFacts
from lamella.graph.vertex import Vertex
from lamella.planning.lowering import LoweredLayer
from lamella.project.lock import Lock
from lamella.project.settings import SecretSpec
from lamella.values import dataclass, field

__all__ = ["OUT", "Beside", "Product", "Root", "Shared", "Work", "refused"]

OUT = "/out"
"""Where a build stage leaves what the image takes."""

Product = tuple[tuple[str, Part], ...]
"""A product: relative path in it (empty: all of it) → where that is."""


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system: its stage and the environment that steps on it have."""

    stage: int
    env: FrozenMap[str, str] = EMPTY_MAP


@dataclass
class Beside:
    """Small files that the Dockerfile needs beside it, by name. ``folder`` is theirs, seen from the context."""

    folder: str = ""
    files: dict[str, str] = field(default_factory=dict)
    inline: bool = False

    def add(self, name: str, suffix: str, data: str) -> str:
        """Keeps a file and returns its path in the context; ``suffix`` tells it from another one of its name."""
        stem, dot, ending = name.partition(".")
        found = name
        if self.files.get(found, data) != data:
            found = f"{stem}-{suffix}{dot}{ending}"
        number = 2
        while self.files.get(found, data) != data:
            found, number = f"{stem}-{suffix}-{number}{dot}{ending}", number + 1
        self.files[found] = data
        return f"{self.folder}/{found}" if self.folder else found


@dataclass(frozen=True, slots=True)
class Shared:
    """What all images of one run share."""

    project: str
    lock: Lock
    stages: Stages
    context: Context
    beside: Beside
    secrets: FrozenMap[str, SecretSpec] = EMPTY_MAP


@dataclass
class Work:
    """One image's translation. ``in_image`` are the vertices of root file systems that images stand on."""

    shared: Shared
    definition: Definition
    layers: Mapping[str, LoweredLayer]
    cell: FrozenMap[str, str]
    facts: BaseFacts
    in_image: frozenset[str]
    make_product: Callable[[Work, str], Product]
    roots: dict[tuple[str, bool], Root] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)

    @property
    def stages(self) -> Stages:
        """Where stages go."""
        return self.shared.stages

    @property
    def context(self) -> Context:
        """The build context."""
        return self.shared.context

    def product(self, key: str) -> Product:
        """Where the product of a vertex is; made when it is first asked for."""
        if key not in self.products:
            self.products[key] = self.make_product(self, key)
        return self.products[key]

    @property
    def suffix(self) -> str:
        """The cell as a part of a file's name."""
        return "-".join(value.replace("/", "-") for value in self.cell.values())

    def kind(self, vertex: Vertex) -> str:
        """The kind of layer a vertex belongs to; empty for one that no layer of the project names."""
        found = self.layers.get(vertex.info.layer)
        return found.layer.kind if found is not None else ""

    def cache(self, name: str, target: str, *, by_arch: bool = False, locked: bool = False) -> Mount:
        """A cache mount; its id is the project's, so that other projects on the builder have their own."""
        identity = f"{self.shared.project}-{name}" + ("-${TARGETARCH}" if by_arch else "")
        fields = [("type", "cache"), ("id", identity), ("target", target)]
        return Mount((*fields, ("sharing", "locked")) if locked else tuple(fields))

    def secret(self, name: str, *, target: str = "", env: str = "") -> Mount:
        """A secret of the project. It must be given to the build, unless the project calls it optional."""
        spec = self.shared.secrets.get(name)
        fields = [("type", "secret"), ("id", name)]
        fields += [("target", target)] if target and target != f"/run/secrets/{name}" else []
        fields += [("env", env)] if env else []
        fields += [] if spec is not None and spec.optional else [("required", "")]
        return Mount(tuple(fields))

    def bind(self, part: Part, target: str, *, writable: bool = False) -> Mount:
        """A part of the context or of a stage, seen by one RUN."""
        fields = [("type", "bind"), ("source", part.path), ("target", target)]
        if part.stage == CONTEXT and part.path == ".":
            del fields[1]
        return Mount((*fields, ("rw", "")) if writable else tuple(fields), part.stage)


def refused(layer: str, message: str, hint: str) -> ConfigError:
    """The error for what plain Docker has no way to do."""
    return ConfigError(f"layer {layer!r} cannot be ejected: {message}", hint=hint)
