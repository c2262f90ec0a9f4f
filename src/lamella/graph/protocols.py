"""What pure code is handed instead of doing I/O (DESIGN section 4, room 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.values import dataclass

if TYPE_CHECKING:  # nearly everything imports a Protocol, and a no-op build needs none of these
    from collections.abc import Callable

    from lamella.graph.facts import BaseFacts
    from lamella.graph.fileset import FileSet
    from lamella.graph.record import Record

__all__ = ["BlobSink", "Clock", "Host", "HostTools", "Lookup", "Tree", "Vcs"]


class Tree(Protocol):
    """The source tree after ignore rules: work tree or commit. Modes are 0644 or 0755, owners 0.

    Patterns are globs of ``graph.patterns`` relative to the project. ``context`` names a
    ``--build-context``; empty is the project. Directories have no entries, so an empty one does not exist.
    """

    def fileset(self, patterns: tuple[str, ...], *, context: str = "") -> FileSet:
        """The selected files with digests. Raises ConfigError for a file that cannot be read or keeps changing."""

    def digest(self, patterns: tuple[str, ...], *, context: str = "") -> str:
        """``merkle_digest(self.fileset(...))``, from the scan cache where nothing changed."""

    def paths(self, patterns: tuple[str, ...], *, context: str = "") -> tuple[str, ...]:
        """The selected paths, sorted, without reading any file."""

    def links(self, patterns: tuple[str, ...], *, context: str = "") -> dict[str, str]:
        """The symlinks among the selected paths with their targets, without reading any file."""

    def read(self, path: str, *, context: str = "") -> bytes:
        """The bytes of one file (at most 16 MiB); raises ConfigError when it is not there or ignored."""

    def exists(self, path: str, *, context: str = "") -> bool:
        """Whether a file, or a directory with files, is there and not ignored."""


class Vcs(Protocol):
    """Version control of the tree; every answer is empty where there is none."""

    def commit(self) -> str:
        """The full commit id of HEAD."""

    def tags(self, pattern: str) -> tuple[str, ...]:
        """Tags that match a glob and are reachable from HEAD, newest version first."""

    def is_dirty(self) -> bool:
        """Whether tracked files differ from HEAD."""


class Lookup(Protocol):
    """Where records and small artefacts are found: the local store, then cache repositories."""

    def prefetch(self, keys: tuple[str, ...], worth: Callable[[str], bool]) -> None:
        """Looks for several records at once that are asked for next.

        ``worth`` says of a key that is not here whether another place should be asked for it: what is made again in
        less time than a request takes counts as missing in this run.
        """

    def record(self, key: str) -> Record | None:
        """The record of a resolved key whose objects are all there; a broken one counts as a miss."""

    def latest(self, project: str, name: str) -> Record | None:
        """The newest record of a vertex name in a project: for explanations and costs."""

    def fileset(self, digest: str) -> FileSet | None:
        """A stored file set."""

    def facts(self, digest: str) -> BaseFacts | None:
        """Stored base facts."""


@dataclass(frozen=True, slots=True)
class HostTools:
    """The host's tools as a root file system: what its key holds and where they are.

    ``parts`` go into the identity (``rustc -vV``, linker, os-release, package database digest).
    ``binds`` are absolute host paths to show read-only at the same place; ``env`` what steps need (PATH).
    """

    identity: str
    parts: FrozenMap[str, str] = EMPTY_MAP
    binds: tuple[str, ...] = ()
    env: FrozenMap[str, str] = EMPTY_MAP


class Host(Protocol):
    """Facts of the machine that planning may need."""

    def platform(self) -> str:
        """This machine's platform, ``linux/amd64``."""

    def tools(self) -> HostTools:
        """The host's tools for ``host = true``; raises SandboxError where they cannot be used."""

    def facts(self) -> BaseFacts:
        """Base facts of the host's own system (libc, interpreters)."""


class Clock(Protocol):
    """Injected time."""

    def now(self) -> int:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""


class BlobSink(Protocol):
    """Where small artefacts (file sets, facts, package sets) go."""

    def put_bytes(self, data: bytes) -> str:
        """Stores bytes and returns their digest."""
