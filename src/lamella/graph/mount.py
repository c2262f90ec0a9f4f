"""Mounts of a step, in BuildKit's words: bind, cache, secret, tmpfs (and ``state``, our addition)."""

from __future__ import annotations

from typing import ClassVar

from lamella.values import dataclass

__all__ = ["BindMount", "CacheMount", "Mount", "SecretMount", "StateMount", "TmpfsMount"]


@dataclass(frozen=True, slots=True)
class BindMount:
    """A product or source tree (input number ``input``) at ``target``.

    The step sees a copy or an overlay whose writes are thrown away, never the original and never a hard
    link to it (DESIGN 7b.2). ``source`` is a path inside the product. ``touch`` gives every file a
    modification time newer than anything in the step's states, so that a tool which trusts times believes
    that all of it changed.
    """

    kind: ClassVar[str] = "bind"
    input: int
    target: str
    source: str = ""
    touch: bool = False


@dataclass(frozen=True, slots=True)
class CacheMount:
    """A directory that outlives the step and whose content cannot change the result (package downloads).

    ``sharing`` is ``shared``, ``private`` or ``locked`` as in BuildKit. The id is hashed, never a path part.
    """

    kind: ClassVar[str] = "cache"
    id: str
    target: str
    sharing: str = "shared"


@dataclass(frozen=True, slots=True)
class StateMount:
    """Mutable build state (a Cargo target directory), held exclusively while the step runs.

    ``id`` names everything that must be equal for the state to be usable: rootfs, flags, profile, paths.
    """

    kind: ClassVar[str] = "state"
    id: str
    target: str


@dataclass(frozen=True, slots=True)
class SecretMount:
    """A secret as a file of mode 0400 on tmpfs (``target``) or as a variable (``env``). Its value is in no key."""

    kind: ClassVar[str] = "secret"
    id: str
    target: str = ""
    env: str = ""
    version: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    """An empty in-memory directory; ``size`` in bytes, 0 for the kernel's default."""

    kind: ClassVar[str] = "tmpfs"
    target: str
    size: int = 0


Mount = BindMount | CacheMount | StateMount | SecretMount | TmpfsMount
