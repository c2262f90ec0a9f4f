"""What moved since the locks were written: bases, resolved sets, tools, crates, wheels, packages of npm.

Nothing is written. ``lamella.lock``'s own pins are resolved anew as ``lamella lock --upgrade all`` would; the locks of
cargo, uv and npm are asked about through those programs, with the user's own configuration.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lamella.api.resolvers import OutsideResolvers
from lamella.build.lock import lock_project
from lamella.build.parts import expand_cells
from lamella.build.selection import Selection
from lamella.errors import ConfigError, RegistryError
from lamella.process import Completed, run, which
from lamella.project.spec import CargoSpec, LayerSpec, NodeSpec, PythonSpec
from lamella.sources.wheels import find_uv
from lamella.stacks.python.request import LAMELLA_LOCK
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.api.session import Session

__all__ = ["OutdatedReport", "OutdatedRow", "find_outdated", "newer_crates", "newer_npm", "newer_wheels", "npm_locked"]

_TIMEOUT = 600.0
_CRATE = re.compile(r"\s*Updating (\S+) v(\S+)(?: \([^)]*\))? -> v?(\S+)")
_WHEEL = re.compile(r"\s*Updated? (\S+) v(\S+) -> v(\S+)")


@dataclass(frozen=True, slots=True)
class OutdatedRow:
    """One thing that moved: ``where`` is the lock that names it, ``update`` the command that takes the new one."""

    where: str
    name: str
    locked: str
    newest: str
    update: str


@dataclass(frozen=True, slots=True)
class OutdatedReport:
    """All that moved, and what was not looked at, with the reason."""

    rows: tuple[OutdatedRow, ...]
    skipped: tuple[str, ...] = ()


def find_outdated(session: Session, *, say: Callable[[str], None] = lambda text: None) -> OutdatedReport:
    """Asks for everything that the project's locks name. Raises RegistryError, AuthError, ConfigError."""
    if session.options.offline:
        raise RegistryError("what is newer must be asked for, and --offline forbids it")
    outside = OutsideResolvers(session.store, session.root, session.options, say)
    _, changes = lock_project(session.parts, outside, upgrade=(), say=say)
    rows = [
        OutdatedRow("lamella.lock", change.what, change.before, change.after, "lamella lock --upgrade all")
        for change in changes
        if change.before and change.after
    ]
    look = _Look(session.root, session.options.environ)
    layers = {layer.spec: layer for cell in expand_cells(session.parts, Selection(all=True)) for layer in cell.layers}
    for layer in layers.values():
        look.layer(layer)
    return OutdatedReport((*rows, *dict.fromkeys(look.rows)), tuple(dict.fromkeys(look.skipped)))


class _Look:
    """Locks of other programs, each folder once."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self.rows: list[OutdatedRow] = []
        self.skipped: list[str] = []
        self._root = root
        self._env = dict(environ)
        self._seen: set[str] = set()

    def layer(self, layer: LayerSpec) -> None:
        match layer.spec:
            case CargoSpec():
                self._cargo(layer.spec.dir)
            case PythonSpec():
                self._python(layer.spec)
            case NodeSpec():
                self._node(layer.spec.dir)
            case _:
                pass

    def _find(self, folder: str, lock: str) -> Path | None:
        """The folder, or the nearest above it in the project, with the lock; None when it was looked at already."""
        here = (self._root / folder).resolve()
        for place in (here, *here.parents):
            if (place / lock).is_file():
                name = os.path.relpath(place / lock, self._root)
                if name in self._seen:
                    return None
                self._seen.add(name)
                return place
            if place == self._root.resolve():
                break
        return None

    def _ask(self, program: str, arguments: tuple[str, ...], place: Path, lock: str) -> Completed | None:
        path = find_uv() if program == "uv" else which(program, self._env)
        where = os.path.relpath(place / lock, self._root)
        if path is None:
            self.skipped.append(f"{where}: {program} is not installed")
            return None
        return run((path, *arguments), env=self._env, cwd=place, timeout=_TIMEOUT, check=False)

    def _add(self, place: Path, lock: str, found: list[tuple[str, str, str]], update: str) -> None:
        where = os.path.relpath(place / lock, self._root)
        self.rows += [OutdatedRow(where, name, locked, newest, update) for name, locked, newest in found]

    def _failed(self, place: Path, lock: str, done: Completed) -> None:
        said = [line.strip() for line in done.stderr.decode("utf-8", "replace").strip().splitlines()]
        start = next((at for at, line in enumerate(said) if "error" in line.lower()), max(len(said) - 1, 0))
        cause = [line for line in said[start + 1 : start + 2] if line.startswith("cause:")]
        why = "; ".join((*said[start : start + 1], *cause)) or f"exit status {done.code}"
        self.skipped.append(f"{os.path.relpath(place / lock, self._root)}: {why}")

    def _cargo(self, folder: str) -> None:
        place = self._find(folder, "Cargo.lock")
        done = self._ask("cargo", ("update", "--dry-run", "--color", "never"), place, "Cargo.lock") if place else None
        if place is None or done is None:
            return
        if done.code:
            self._failed(place, "Cargo.lock", done)
        else:
            self._add(place, "Cargo.lock", newer_crates(done.stderr.decode("utf-8", "replace")), "cargo update")

    def _python(self, spec: PythonSpec) -> None:
        """Uv's lock where the layer names it, or names none and its project has one in its folder or above."""
        if os.path.basename(spec.lock) == "uv.lock":
            self._uv(os.path.dirname(spec.lock) or ".")
        elif spec.lock == LAMELLA_LOCK and spec.project:
            self._uv(spec.project)

    def _uv(self, folder: str) -> None:
        place = self._find(folder, "uv.lock")
        arguments = ("lock", "--upgrade", "--dry-run", "--color", "never")
        done = self._ask("uv", arguments, place, "uv.lock") if place else None
        if place is None or done is None:
            return
        if done.code:
            self._failed(place, "uv.lock", done)
        else:
            self._add(place, "uv.lock", newer_wheels(done.stderr.decode("utf-8", "replace")), "uv lock --upgrade")

    def _node(self, folder: str) -> None:
        for lock, program in (("bun.lock", "bun outdated"), ("pnpm-lock.yaml", "pnpm outdated")):
            place = self._find(folder, lock)
            if place is not None:
                self.skipped.append(f"{os.path.relpath(place / lock, self._root)}: ask with: {program}")
        place = self._find(folder, "package-lock.json")
        done = self._ask("npm", ("outdated", "--json"), place, "package-lock.json") if place else None
        if place is None or done is None:
            return
        try:  # npm-outdated(1) ends with 1 when something is outdated
            locked = npm_locked((place / "package-lock.json").read_bytes())
            self._add(place, "package-lock.json", newer_npm(done.stdout, locked), "npm update")
        except ConfigError:
            self._failed(place, "package-lock.json", done)


def newer_crates(text: str) -> list[tuple[str, str, str]]:
    """Name, locked and newest version from what ``cargo update --dry-run`` says (cargo-update(1))."""
    return [(match[1], match[2], match[3]) for match in map(_CRATE.match, text.splitlines()) if match]


def newer_wheels(text: str) -> list[tuple[str, str, str]]:
    """The same from what ``uv lock --upgrade --dry-run`` says."""
    return [(match[1], match[2], match[3]) for match in map(_WHEEL.match, text.splitlines()) if match]


def npm_locked(data: bytes) -> dict[str, str]:
    """Versions of the direct packages by name in a package-lock.json(5). Raises ConfigError."""
    try:
        packages = json.loads(data).get("packages") or {}
        return {
            path.removeprefix("node_modules/"): str(entry["version"])
            for path, entry in packages.items()
            if path.startswith("node_modules/") and "/node_modules/" not in path and "version" in entry
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"package-lock.json cannot be read: {error}") from error


def newer_npm(data: bytes, locked: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The same from ``npm outdated --json``: what the ranges of package.json allow. Raises ConfigError.

    npm compares with what is installed, which need not be there; ``locked`` is what the lock has.
    """
    try:
        found = json.loads(data or b"{}")
        if not isinstance(found, dict) or "error" in found:
            raise ConfigError("npm gave no list")
        rows = []
        for name, entries in found.items():
            for entry in entries if isinstance(entries, list) else [entries]:
                wanted = str(entry.get("wanted") or "")
                if wanted and name in locked and wanted != locked[name]:
                    rows.append((name, locked[name], wanted))
        return rows
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"npm's answer cannot be read: {error}") from error
