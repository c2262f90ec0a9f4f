"""What every part of a store is handed: paths, the store lock, the leases, the clock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamella.commit import disk_errors
from lamella.errors import ConfigError, LamellaError
from lamella.host.locks import OnWait, hold, try_lock
from lamella.store.layout import Layout
from lamella.store.leases import Leases
from lamella.values import dataclass, field

if TYPE_CHECKING:
    from lamella.graph.protocols import Clock

__all__ = ["LOCK_TIMEOUT", "Context", "Remover", "StoreLock", "random_name", "remove_tree"]

Remover = Callable[[Path], None]
"""Removes a tree. A rootless engine gives one that works inside its id mapping."""

LOCK_TIMEOUT = 120.0
"""Seconds that a short operation waits for the store lock; a sweep holds it for renames only."""


def remove_tree(path: Path) -> None:
    """The usual remover: by handles, never across a mount (RELIABILITY X3)."""
    from lamella.host.removal import remove_at

    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_at(parent, path.name)
    finally:
        os.close(parent)


def random_name() -> str:
    """A name that nothing else has."""
    return os.urandom(12).hex()


class StoreLock:
    """The store lock: shared around each check or commit of an object, exclusive for a sweep (RELIABILITY S6).

    Shared holds of the threads of one process share one kernel lock. The thread that holds it exclusively
    may do shared things meanwhile.
    """

    def __init__(self, path: Path, *, enabled: bool = True, on_wait: OnWait | None = None) -> None:
        self._path = path
        self._enabled = enabled
        self._on_wait = on_wait
        self._mutex = threading.Lock()
        self._users = 0
        self._fd = -1
        self._owner = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """For an operation that relies on an object staying where it is."""
        if not self._enabled or self._owner == threading.get_ident():
            yield
            return
        self._enter()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def exclusive(self, *, timeout: float | None = LOCK_TIMEOUT) -> Iterator[None]:
        """Keeps everybody else out. Raises StoreBusyError."""
        with hold(self._path, timeout=timeout, on_wait=self._on_wait, what="the store"):
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = 0

    def _enter(self) -> None:
        with self._mutex:
            if self._users == 0:
                fd = try_lock(self._path, shared=True)
                self._fd = self._wait() if fd is None else fd
            self._users += 1

    def _wait(self) -> int:
        with hold(self._path, shared=True, timeout=LOCK_TIMEOUT, on_wait=self._on_wait, what="the store") as fd:
            return os.dup(fd)  # the same open file, so the lock lives on

    def _leave(self) -> None:
        with self._mutex:
            self._users -= 1
            if self._users == 0:
                os.close(self._fd)
                self._fd = -1


@dataclass(slots=True)
class Context:
    """Shared by all parts of one open store."""

    layout: Layout
    lock: StoreLock
    leases: Leases
    clock: Clock
    remover: Remover
    warn: Callable[[str], None]
    on_wait: OnWait | None = None
    read_only: bool = False
    discarded: list[Path] = field(default_factory=list)

    def check_writable(self) -> None:
        """Raises ConfigError when the store may only be read."""
        if self.read_only:
            raise ConfigError(
                f"the store {self.layout.root} can only be read",
                hint="set LAMELLA_STORE to a place that you own",
            )

    def discard(self, path: Path) -> Path | None:
        """Takes something out of the store at once by renaming it into the trash; None when it is gone already."""
        return self._move(path, self.layout.trash)

    def quarantine(self, path: Path, kind: str) -> Path | None:
        """Puts a corrupt object aside for whoever wants to look at it; None when it is gone already."""
        return self._move(path, self.layout.folder("quarantine"), f"{kind}-{path.name}-")

    def _move(self, path: Path, folder: Path, prefix: str = "") -> Path | None:
        target = folder / f"{prefix}{random_name()}"
        with disk_errors(f"removing {path.name}", path):
            try:
                os.rename(path, target)
            except FileNotFoundError:
                return None
        return target

    def empty(self, path: Path | None) -> None:
        """Deletes one thing in the trash; what cannot be deleted stays there, with a warning."""
        if path is None:
            return
        try:
            self.remover(path)
        except FileNotFoundError:
            return
        except (OSError, LamellaError) as error:  # an engine's remover says it in its own way
            self.warn(f"{path} could not be deleted: {error}")

    def empty_trash(self) -> None:
        """Deletes what was taken out of the store; what another process is deleting is left to it."""
        fd = try_lock(self.layout.lock("trash"))
        if fd is None:
            return
        try:
            for name in sorted(os.listdir(self.layout.trash)):
                self.empty(self.layout.trash / name)
        finally:
            os.close(fd)

    def mark_used(self, path: Path | str) -> None:
        """Notes the time of use as modification time, at most once an hour (a no-op writes nothing)."""
        if self.read_only:
            return
        now = self.clock.now()
        with suppress(OSError):
            if now - os.stat(path).st_mtime >= 3600:
                os.utime(path, (now, now))
