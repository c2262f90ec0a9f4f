"""The source tree over a directory: ``graph.protocols.Tree`` (DESIGN 3b, "The source tree")."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lamella.canonical import digest_value
from lamella.errors import ConfigError
from lamella.graph.fileset import FileSet
from lamella.sources.cuts import Cuts
from lamella.sources.dockerignore import IgnoreRules, parse_dockerignore
from lamella.sources.git import Git
from lamella.sources.hashing import open_regular, unreadable
from lamella.sources.scan import Scanner

if TYPE_CHECKING:
    from lamella.graph.protocols import Clock

__all__ = ["READ_LIMIT", "WorkTree"]

READ_LIMIT = 16 << 20
"""Bytes of a file that :meth:`WorkTree.read` gives at most."""

_IGNORE_FILE = ".dockerignore"


class WorkTree:
    """The project's files as they are on disk, after git's, Docker's and the project's own ignore rules.

    ``ignore`` are globs of ``graph.patterns`` (``project.ignore``); ``declared`` globs (the layers' ``inputs``) that
    may name files which git ignores; ``contexts`` further roots by name (``--build-context``). ``env`` is the user's
    environment, for git. ``cache`` is a folder for the scan cache (the store's ``scan``), None for none.

    Thread-safe. The first question looks at the disk; all answers are of that moment until :meth:`refresh`.
    ``close`` stores what was hashed, so use it in a ``with`` block.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock,
        env: Mapping[str, str],
        ignore: tuple[str, ...] = (),
        declared: tuple[str, ...] = (),
        contexts: Mapping[str, Path] | None = None,
        cache: Path | None = None,
    ) -> None:
        git = Git(env)
        self._roots = {"": root, **(contexts or {})}
        self._roots = {name: _checked_root(path) for name, path in self._roots.items()}
        self._rules = {name: _read_rules(path) for name, path in self._roots.items()}
        self._scanners = {
            name: Scanner(
                path,
                cuts=Cuts(self._rules[name], () if name else ignore),
                declared=() if name else declared,
                git=git,
                clock=clock,
                cache=cache / _cache_name(path) if cache is not None else None,
            )
            for name, path in self._roots.items()
        }
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def look_ahead(self) -> None:
        """Starts looking at the project's files in the background, while the caller does something else."""

        def look() -> None:
            with self._lock, suppress(Exception):  # whoever asks next looks again and gets the error
                _ = self._scanners[""].listing

        threading.Thread(target=look, name="lamella-look-ahead", daemon=True).start()

    def close(self) -> None:
        """Stores what was learnt; the tree can still be used."""
        with self._lock:
            for scanner in self._scanners.values():
                scanner.save()

    def refresh(self) -> None:
        """Looks at the disk again with the next question."""
        with self._lock:
            for scanner in self._scanners.values():
                scanner.refresh()

    def root(self, context: str = "") -> Path:
        """The directory of the project or of a build context, absolute and without symlinks. Raises ConfigError."""
        self._scanner(context)
        return self._roots[context]

    def fileset(self, patterns: tuple[str, ...], *, context: str = "") -> FileSet:
        """See :class:`lamella.graph.protocols.Tree`."""
        with self._lock:
            scanner = self._scanner(context)
            listing = scanner.listing
            located = list(listing.located(listing.pick(patterns)))
            scanner.know(located)
            return FileSet.of(listing.entry(*at) for at in located)

    def digest(self, patterns: tuple[str, ...], *, context: str = "") -> str:
        """See :class:`lamella.graph.protocols.Tree`."""
        with self._lock:
            scanner = self._scanner(context)
            listing = scanner.listing
            key = digest_value(["digest", patterns])
            known = scanner.recall(key)
            if isinstance(known, str):
                return known
            picked = listing.pick(patterns)
            scanner.know(listing.located(picked))
            found = listing.selection_digest(picked)
            scanner.remember(key, found)
            return found

    def recall(self, key: str) -> str | None:
        """What was noted under ``key``, while the project's files are in exactly the state of that time."""
        with self._lock:
            known = self._scanner("").recall(digest_value(["note", key]))
            return known if isinstance(known, str) else None

    def note(self, key: str, text: str) -> bool:
        """Notes ``text`` for exactly the present state of the project's files; other contexts have no part in it.

        False, and nothing is noted, when a file changed so shortly before the look that its times may hide a later
        change, or was found changed since.
        """
        with self._lock:
            scanner = self._scanner("")
            if not scanner.is_settled():
                return False
            scanner.remember(digest_value(["note", key]), text)
            return True

    def paths(self, patterns: tuple[str, ...], *, context: str = "") -> tuple[str, ...]:
        """See :class:`lamella.graph.protocols.Tree`."""
        with self._lock:
            scanner = self._scanner(context)
            listing = scanner.listing
            key = digest_value(["paths", patterns])
            known = scanner.recall(key)
            if isinstance(known, list):
                return tuple(known)
            found = sorted(listing.path(*at) for at in listing.located(listing.pick(patterns)))
            scanner.remember(key, found)
            return tuple(found)

    def links(self, patterns: tuple[str, ...], *, context: str = "") -> dict[str, str]:
        """See :class:`lamella.graph.protocols.Tree`."""
        with self._lock:
            listing = self._scanner(context).listing
            if not listing.links:
                return {}
            located = listing.located(listing.pick(patterns))
            return {listing.path(*at): listing.links[at[1]] for at in located if at[1] in listing.links}

    def exists(self, path: str, *, context: str = "") -> bool:
        """See :class:`lamella.graph.protocols.Tree`."""
        with self._lock:
            listing = self._scanner(context).listing
            clean = _clean(path)
            return listing.has_files(clean) or listing.find(clean) is not None

    def read(self, path: str, *, context: str = "") -> bytes:
        """See :class:`lamella.graph.protocols.Tree`. A symlink is followed to another file of the tree, never out."""
        with self._lock:
            listing = self._scanner(context).listing
            root = self._roots[context]
            clean = _clean(path)
            if listing.find(clean) is None or listing.is_link(listing.find(clean) or 0):
                clean = self._followed(clean, root, context)
            if listing.find(clean) is None:
                raise self._absent(clean, root, context)
        return _read_file(f"{root}/{clean}", path)

    def _scanner(self, context: str) -> Scanner:
        if context not in self._scanners:
            raise ConfigError(
                f"build context {context!r} is not given", hint=f"name it: --build-context {context}=DIRECTORY"
            )
        return self._scanners[context]

    def _followed(self, path: str, root: Path, context: str) -> str:
        """What a path leads to, relative to the root. Raises ConfigError when that is outside or not there."""
        try:
            real = os.path.realpath(root / path, strict=True)
        except (FileNotFoundError, NotADirectoryError):
            raise self._absent(path, root, context) from None
        except OSError as error:
            raise unreadable(path, error) from error
        if not real.startswith(f"{root}/"):
            raise ConfigError(
                f"{path} is a symlink that leads out of the project, to {real}",
                hint="put the file into the project, or give its directory as a --build-context",
            )
        return real[len(str(root)) + 1 :]

    def _absent(self, path: str, root: Path, context: str) -> ConfigError:
        """Why a path cannot be read: not there, a directory, or ignored by what."""
        where = f"in build context {context!r}" if context else "in the project"
        if not os.path.lexists(root / path):
            return ConfigError(f"{path}: no such file {where}")
        if os.path.isdir(root / path):
            return ConfigError(f"{path}: a directory, where a file is wanted")
        rule = self._rules[context].reason(path)
        if rule:
            return ConfigError(f"{path} is ignored ({rule})", hint=f"take it back there with a line !{path}")
        return ConfigError(
            f"{path} is ignored by git or by `ignore` in lamella.toml",
            hint="name it in the layer's `inputs` without a wildcard, or stop ignoring it",
        )


def _checked_root(path: Path) -> Path:
    real = Path(os.path.realpath(path))
    if not real.is_dir():
        raise ConfigError(f"{path} is not a directory")
    return real


def _read_rules(root: Path) -> IgnoreRules:
    path = root / _IGNORE_FILE
    if not os.path.lexists(path):
        return IgnoreRules()
    real = os.path.realpath(path)
    if not real.startswith(f"{root}/"):
        raise ConfigError(f"{_IGNORE_FILE} is a symlink that leads out of the project, to {real}")
    return parse_dockerignore(_read_file(real, _IGNORE_FILE), file=_IGNORE_FILE)


def _read_file(absolute: str, path: str) -> bytes:
    fd = open_regular(absolute)
    with os.fdopen(fd, "rb") as file:
        try:
            data = file.read(READ_LIMIT + 1)
        except OSError as error:
            raise unreadable(path, error) from error
    if len(data) > READ_LIMIT:
        raise ConfigError(f"{path} is larger than {READ_LIMIT >> 20} MiB, too large to be read as configuration")
    return data


def _clean(path: str) -> str:
    """``path`` without ``.`` parts; ``..`` is left to the disk, which says where it leads."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _cache_name(root: Path) -> str:
    return digest_value(str(root)).removeprefix("sha256:")
