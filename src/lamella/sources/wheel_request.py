"""What a Python layer asks the resolver for, as a value with a digest: the part of ``lamella.lock`` that can be stale.

Pure; the resolver itself is ``sources.wheels``. Adapters make requests, ``lamella lock`` answers them.
"""

from __future__ import annotations

from lamella.canonical import digest_value
from lamella.values import dataclass, field

__all__ = ["NamedIndex", "ResolveRequest"]


@dataclass(frozen=True, slots=True)
class NamedIndex:
    """An index by URL; with ``packages`` (canonical names) it serves these alone, and nobody else serves them."""

    url: str
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolveRequest:
    """Everything that decides one resolved set; two layers that ask the same share one answer.

    ``python`` is ``3.11`` or ``3.11.4``; ``platform`` an OCI platform; ``libc`` ``manylinux_2_36`` or
    ``musllinux_1_2``. ``requirements`` and ``constraints`` are PEP 508 lines, sorted. ``hashes`` are pairs of
    canonical name and ``sha256:HEX`` that artefacts must have where given. ``default_index`` is empty for the user's.
    ``options`` are ``(--pre|--no-binary|--only-binary, value)``. ``exclude`` names never enter the result.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    python: str
    platform: str
    libc: str
    default_index: str = ""
    indexes: tuple[NamedIndex, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    exclude: tuple[str, ...] = ()
    hashes: tuple[tuple[str, str], ...] = ()
    layer: str = field(default="", compare=False)

    @property
    def digest(self) -> str:
        """Digest of the request's meaning; the layer's name is not part of it."""
        return digest_value(
            {
                "requirements": self.requirements,
                "constraints": self.constraints,
                "python": self.python,
                "platform": self.platform,
                "libc": self.libc,
                "default_index": self.default_index,
                "indexes": self.indexes,
                "options": self.options,
                "exclude": self.exclude,
                "hashes": self.hashes,
            }
        )
