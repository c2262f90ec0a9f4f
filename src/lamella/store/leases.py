"""Leases: what a running build holds on to (RELIABILITY S7).

A lease is a locked file with one line per object. A line is written before the object is looked for or gets its
name, so a collection that comes in between sees either the line or a miss. The kernel frees the lock when its
holder dies; a stopped holder keeps it. No wall clock is in the decision.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lamella.commit import disk_errors
from lamella.host.locks import try_lock

__all__ = ["Lease", "Leases", "live_leases", "live_objects"]

SUFFIX = ".lease"


class Lease:
    """One open lease. Thread-safe. Objects are (kind, id) with kind blob, snapshot or record."""

    def __init__(self, folder: Path, purpose: str) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._mutex = threading.Lock()
        self._path = folder / f"{os.urandom(12).hex()}{SUFFIX}"
        with disk_errors("opening a lease", folder):
            while (fd := try_lock(self._path)) is None:
                time.sleep(0)  # a collection took the new file for a dead one and is about to remove it
            self._fd = fd
            os.write(fd, f"# {os.getpid()} {' '.join(purpose.split())}\n".encode("utf-8", "backslashreplace"))

    def add(self, *objects: tuple[str, str]) -> None:
        """Holds on to objects that exist or are about to."""
        with self._mutex:
            new = [item for item in objects if item not in self._seen]
            if not new or self._fd < 0:
                return
            data = "".join(f"{kind} {identity}\n" for kind, identity in new).encode()
            with disk_errors("writing a lease", self._path, needed=len(data)):
                os.write(self._fd, data)
            self._seen.update(new)

    def close(self) -> None:
        """Lets go of everything."""
        with self._mutex:
            if self._fd >= 0:
                fd, self._fd = self._fd, -1
                os.unlink(self._path)
                os.close(fd)


class Leases:
    """The leases of one open store. Work outside any lease is held until the store is closed."""

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self._folder = folder
        self._enabled = enabled
        self._mutex = threading.Lock()
        self._open: tuple[Lease, ...] = ()
        self._implicit: Lease | None = None

    @contextmanager
    def lease(self, purpose: str) -> Iterator[Lease | None]:
        """Opens a lease; None in a store that can only be read, where nothing is ever collected."""
        if not self._enabled:
            yield None
            return
        lease = Lease(self._folder, purpose)
        with self._mutex:
            self._open = (*self._open, lease)
        try:
            yield lease
        finally:
            with self._mutex:
                self._open = tuple(item for item in self._open if item is not lease)
            lease.close()

    def add(self, *objects: tuple[str, str]) -> None:
        """Puts objects under every open lease."""
        if not self._enabled:
            return
        for lease in self._open or (self._fallback(),):
            lease.add(*objects)

    def close(self) -> None:
        """Ends the lease of work outside any lease."""
        with self._mutex:
            lease, self._implicit = self._implicit, None
        if lease is not None:
            lease.close()

    def _fallback(self) -> Lease:
        with self._mutex:
            if self._implicit is None:
                self._implicit = Lease(self._folder, "outside a lease")
            return self._implicit


def live_leases(folder: Path) -> tuple[Path, ...]:
    """The files of live leases. Those of dead holders are removed on the way."""
    live = []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(SUFFIX):
            continue
        path = folder / name
        try:
            fd = try_lock(path, create=False)
            if fd is None:
                live.append(path)
                continue
            os.unlink(path)
            os.close(fd)
        except FileNotFoundError:
            continue
    return tuple(live)


def live_objects(folder: Path) -> set[tuple[str, str]]:
    """Everything under a live lease."""
    held: set[tuple[str, str]] = set()
    for path in live_leases(folder):
        with suppress(FileNotFoundError):
            held.update(_lines(path))
    return held


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, _, identity = line.partition(" ")
        if identity and not line.startswith("#"):
            yield kind, identity
