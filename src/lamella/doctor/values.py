"""What a check finds and what would repair it, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lamella.canonical import EMPTY_MAP
from lamella.values import dataclass, field

__all__ = ["Doctor", "Finding", "Fix", "State"]

State = str
"""``ok``; ``warning``: something works less well or only some projects need it; ``error``: builds cannot work."""


@dataclass(frozen=True, slots=True)
class Fix:
    """How to repair: ``words`` for people; Debian ``packages`` and ``commands`` (argv, as root) for ``--fix``."""

    words: str
    packages: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()

    @property
    def can_be_done(self) -> bool:
        """Whether ``--fix`` can do it."""
        return bool(self.packages or self.commands)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. ``needed_by`` is ``sandbox`` for what only the embedded engine needs, ``serves`` says that it does
    what the embedded engine would.
    """

    name: str
    state: State
    text: str
    fix: Fix | None = None
    needed_by: str = ""
    serves: bool = False


def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Doctor:
    """What the checks look at; all of it is handed in.

    ``find`` looks a program up and gives its path or None. ``open_store``, ``probe`` (starts the sandbox once),
    ``tools`` (the host's tools in words), ``builder`` (buildx's builder and its nodes in words) and ``project`` (the
    project at hand in words, empty without one) raise LamellaError. ``etc`` is ``/etc``.
    """

    store: Path
    environ: Mapping[str, str]
    find: Callable[[str], str | None]
    uid: int
    user: str
    linux: bool = True
    etc: Path = Path("/etc")
    keyrings: Path = Path("/usr/share/keyrings")
    want_free: int = 10 << 30
    release: Mapping[str, str] = field(default_factory=lambda: EMPTY_MAP)
    ca_bundle: Path | None = None
    docker_config: Path | None = None
    open_store: Callable[[], str] = _nothing
    probe: Callable[[], None] = lambda: None
    tools: Callable[[], str] = _nothing
    builder: Callable[[], str] = _nothing
    project: Callable[[], str] = _nothing
