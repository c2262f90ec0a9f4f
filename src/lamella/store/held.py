"""States and caches: mutable directories that outlive a step, each under a kernel lock while somebody has it.

An id is whatever the caller likes; its hash is the name on disk. The lock file lies outside the directory, so a
step that deletes everything in its mount does not delete the lock (buildah issue 4342).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lamella.canonical import canonical_json
from lamella.commit import disk_errors, replace_file
from lamella.errors import InternalError
from lamella.host.locks import OnWait, hold, try_lock
from lamella.store.context import Context
from lamella.store.layout import id_name

__all__ = ["HOLD_TIMEOUT", "Caches", "States"]

HOLD_TIMEOUT = 6 * 3600.0
"""Seconds that one waits for a state or a key that another build works on."""


class States:
    """Mutable build state (a Cargo target directory), one holder at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @contextmanager
    def hold(
        self, identity: str, *, label: str = "", timeout: float | None = HOLD_TIMEOUT, on_wait: OnWait | None = None
    ) -> Iterator[Path]:
        """The directory of a state, exclusively; empty when it is new. ``label`` says to people what it is.

        Raises StoreBusyError when another holder does not let go within ``timeout`` seconds.
        """
        context = self._context
        context.check_writable()
        what = f"state {label or identity[:60]!r}"
        with hold(_lock(context, "state", identity), timeout=timeout, on_wait=on_wait or context.on_wait, what=what):
            yield _directory(context, "states", identity, label)

    def is_empty(self, identity: str) -> bool:
        """Whether a state is new or has nothing in it; asked without holding it."""
        try:
            return not os.listdir(self._context.layout.folder("states") / id_name(identity) / "data")
        except (FileNotFoundError, NotADirectoryError):
            return True

    def remove(self, identity: str) -> bool:
        """Deletes a state; false when there is none or somebody holds it."""
        return _remove(self._context, "state", id_name(identity))

    def remove_named(self, name: str) -> bool:
        """The same by its name on disk."""
        return _remove(self._context, "state", name)


class Caches:
    """Directories whose content cannot change a result (package downloads), with BuildKit's three ways of sharing."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @contextmanager
    def hold(
        self,
        identity: str,
        sharing: str = "shared",
        *,
        label: str = "",
        timeout: float | None = HOLD_TIMEOUT,
        on_wait: OnWait | None = None,
    ) -> Iterator[Path]:
        """The directory of a cache. ``shared``: many at once; ``locked``: one after the other; ``private``: each
        holder at one time has a directory of its own. Raises StoreBusyError as states do.
        """
        self._context.check_writable()
        if sharing == "private":
            with self._private(identity, label) as path:
                yield path
            return
        if sharing not in ("shared", "locked"):
            raise InternalError(f"cache sharing {sharing!r} is not shared, private or locked")
        with hold(
            _lock(self._context, "cache", identity),
            shared=sharing == "shared",
            timeout=timeout,
            on_wait=on_wait or self._context.on_wait,
            what=f"cache {label or identity[:60]!r}",
        ):
            yield _directory(self._context, "caches", identity, label)

    @contextmanager
    def _private(self, identity: str, label: str) -> Iterator[Path]:
        """The first directory of this id that nobody has."""
        number = 0
        while True:
            own = f"{identity}\0{number}" if number else identity
            fd = try_lock(_lock(self._context, "cache", own))
            if fd is not None:
                break
            number += 1
        try:
            yield _directory(self._context, "caches", own, label)
        finally:
            os.close(fd)

    def remove(self, identity: str) -> bool:
        """Deletes a cache; false when there is none or somebody holds it."""
        return _remove(self._context, "cache", id_name(identity))

    def remove_named(self, name: str) -> bool:
        """The same by its name on disk."""
        return _remove(self._context, "cache", name)


def _lock(context: Context, kind: str, identity: str) -> Path:
    return context.layout.lock(f"{kind}-{id_name(identity)}")


def _directory(context: Context, folder: str, identity: str, label: str) -> Path:
    """``<folder>/<hash>/data``; ``about`` beside it says what it is, its time when it was used last."""
    home = context.layout.folder(folder) / id_name(identity)
    about, data = home / "about", home / "data"
    with disk_errors(f"making a directory in {folder}", home):
        home.mkdir(mode=0o755, exist_ok=True)
        with suppress(FileExistsError):
            data.mkdir()
            data.chmod(0o755)
    if not about.exists():
        shown = identity.partition("\0")[0].encode("utf-8", "backslashreplace").decode()
        document = {"id": shown, "label": label}
        replace_file(about, canonical_json(document), staging=context.layout.staging)
    context.mark_used(about)
    return data


def _remove(context: Context, kind: str, name: str) -> bool:
    context.check_writable()
    fd = try_lock(context.layout.lock(f"{kind}-{name}"))
    if fd is None:
        return False
    try:
        trash = context.discard(context.layout.folder(f"{kind}s") / name)
        with suppress(FileNotFoundError):
            os.unlink(context.layout.lock(f"{kind}-{name}"))
    finally:
        os.close(fd)
    context.empty(trash)
    return trash is not None
