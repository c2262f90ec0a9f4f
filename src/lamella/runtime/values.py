"""A container as a value: everything that starting it needs, and where each setting comes from. Pure."""

from __future__ import annotations

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.images.stored import StoredImage
from lamella.values import dataclass

__all__ = ["Container", "Health", "Port", "Variable", "Volume"]


@dataclass(frozen=True, slots=True)
class Port:
    """A published port: ``host`` is 0 where the engine may choose; ``address`` empty for all interfaces."""

    host: int
    container: int
    protocol: str = "tcp"
    address: str = ""

    def __str__(self) -> str:
        front = f"{self.address}:{self.host or ''}" if self.address else str(self.host or "")
        return f"{front}:{self.container}/{self.protocol}" if front else f"{self.container}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Volume:
    """``source`` is an absolute path of the host, or the name of a volume that outlives the container."""

    source: str
    target: str
    read_only: bool = False

    @property
    def is_named(self) -> bool:
        """Whether it is a volume with a name and no path."""
        return not self.source.startswith("/")


@dataclass(frozen=True, slots=True)
class Variable:
    """A value of the environment; ``origin`` says in words who set it."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Health:
    """What is asked from outside to know that a program is well: ``path`` over HTTP, or a connection when empty."""

    port: int
    path: str = ""
    interval: int = 30
    timeout: int = 10
    start: int = 5
    retries: int = 3

    def __str__(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}" if self.path else f"127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Container:
    """One container to start.

    ``argv`` is what runs: the image's entrypoint with the arguments given, else with its cmd; ``arguments`` are those
    given. ``memory`` in bytes (0: no limit), ``cpus`` decimal text. ``stop_signal`` is a number. ``defaults`` are the
    project's runtime defaults with the variable that would change each, for ``--show-config``.
    """

    image: StoredImage
    argv: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    env: FrozenMap[str, Variable] = EMPTY_MAP
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    user: str = ""
    workdir: str = "/"
    network: str = "bridge"
    memory: int = 0
    cpus: str = ""
    read_only: bool = False
    init: bool = False
    interactive: bool = False
    stop_signal: int = 15
    health: Health | None = None
    origins: FrozenMap[str, str] = EMPTY_MAP

    @property
    def name(self) -> str:
        """The image's name."""
        return self.image.names[0]

    @property
    def environment(self) -> dict[str, str]:
        """The variables alone."""
        return {name: variable.value for name, variable in self.env.items()}
