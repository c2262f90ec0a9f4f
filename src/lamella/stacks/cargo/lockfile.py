"""Cargo.lock, versions 2 to 4: read without Cargo, pruned to what is reachable, compared with the manifests.

Cargo writes the file in one canonical form, so a small expression reads it; a file that somebody merged by hand
goes through the TOML reader instead. A dependency is written as ``name``, ``name version`` or ``name version
(source)``, as short as it is unambiguous (Cargo source, ``core/resolver/encode.rs``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any

from lamella.errors import ConfigError, Problem
from lamella.values import dataclass, field

__all__ = ["LOCK", "LockedPackage", "Lockfile", "parse_lockfile", "render_lockfile"]

LOCK = "Cargo.lock"
NEWEST = 4

_ENTRY = re.compile(
    r'\[\[package\]\]\nname = "([^"\\\n]*)"\nversion = "([^"\\\n]*)"\n'
    r'(?:source = "([^"\\\n]*)"\n)?(?:checksum = "([^"\\\n]*)"\n)?'
    r'(?:dependencies = \[\n((?: "[^"\\\n]*",\n)*)\]\n)?(?:\n|\Z)'
)
_HEAD = re.compile(r"(?:#[^\n]*\n)*(?:version = (\d+)\n)?\n")
_UNUSED = re.compile(r"\[\[patch\.unused\]\]\n(?:[a-z]+ = [^\n]*\n)*(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One entry; ``source`` is empty for packages that come from a path."""

    name: str
    version: str
    source: str = ""
    checksum: str = ""
    dependencies: tuple[str, ...] = ()
    replace: str = ""


@dataclass(frozen=True)
class Lockfile:
    """All entries in the file's order; ``version`` is that of its format."""

    version: int
    packages: tuple[LockedPackage, ...]
    path: str = field(default=LOCK, compare=False)

    @cached_property
    def by_name(self) -> dict[str, tuple[LockedPackage, ...]]:
        """Entries by package name."""
        found: dict[str, list[LockedPackage]] = {}
        for package in self.packages:
            found.setdefault(package.name, []).append(package)
        return {name: tuple(entries) for name, entries in found.items()}

    def own(self, name: str) -> tuple[LockedPackage, ...]:
        """Entries of a name that come from a path."""
        return tuple(entry for entry in self.by_name.get(name, ()) if not entry.source)

    @cached_property
    def _by_text(self) -> dict[str, list[LockedPackage]]:
        """Entries by everything that may stand for them in ``dependencies``."""
        found: dict[str, list[LockedPackage]] = {}
        for entry in self.packages:
            long = f"{entry.name} {entry.version}"
            for text in (entry.name, long, f"{long} ({entry.source})"):
                found.setdefault(text, []).append(entry)
        return found

    def resolve(self, text: str) -> LockedPackage:
        """The entry that an element of ``dependencies`` means; raises ConfigError unless it is exactly one."""
        entries = self._by_text.get(text, ())
        if len(entries) != 1:
            message = f"{text!r} names {len(entries)} packages of the lock"
            raise _error(self.path, message)
        return entries[0]

    def dependencies(self, package: LockedPackage) -> tuple[LockedPackage, ...]:
        """The entries that one depends on."""
        known = self._known.get(id(package))
        if known is None:
            known = self._known[id(package)] = package, tuple(self.resolve(text) for text in package.dependencies)
        return known[1]

    @cached_property
    def _known(self) -> dict[int, tuple[LockedPackage, tuple[LockedPackage, ...]]]:
        """What :meth:`dependencies` found, by identity; the entries are kept, so no identity is used again."""
        return {}

    def reachable(self, roots: Iterable[LockedPackage]) -> tuple[LockedPackage, ...]:
        """The entries of ``roots`` and all that they depend on, in the file's order."""
        seen: set[int] = set()  # by identity: entries are compared often, and their texts are long
        todo = list(roots)
        while todo:
            package = todo.pop()
            if id(package) not in seen:
                seen.add(id(package))
                todo += self.dependencies(package)
        return tuple(package for package in self.packages if id(package) in seen)


@lru_cache(maxsize=32)
def parse_lockfile(data: bytes, path: str) -> Lockfile:
    """A lock file; raises ConfigError for what is none, and for formats from before 2 and after 4."""
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise _error(path, "the file is not UTF-8") from None
    return _canonical(text, path) or _foreign(text, path)


def _error(path: str, message: str, hint: str = "run: cargo generate-lockfile") -> ConfigError:
    return ConfigError.from_problems((Problem(path, 0, 0, message, hint),))


def _check_version(version: int, path: str) -> int:
    if version > NEWEST:
        raise _error(path, f"format {version} is newer than {NEWEST}, the newest one known", "use a newer lamella")
    return version


def _canonical(text: str, path: str) -> Lockfile | None:
    """The file when every byte of it is as Cargo writes it; None otherwise."""
    head = _HEAD.match(text)
    if head is None:
        return None
    version = _check_version(int(head[1] or 2), path)
    packages: list[LockedPackage] = []
    at = head.end()
    while match := _ENTRY.match(text, at):
        name, number, source, checksum, deps = match.groups(default="")
        dependencies = tuple(line[2:-2] for line in deps.splitlines())
        packages.append(LockedPackage(name, number, source, checksum, dependencies))
        at = match.end()
    while match := _UNUSED.match(text, at):
        at = match.end()
    return Lockfile(version, tuple(packages), path) if at == len(text) else None


def _foreign(text: str, path: str) -> Lockfile:
    """A file in any other spelling."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _error(path, f"the lock is not TOML: {error}") from None
    if "metadata" in document or "root" in document:
        raise _error(path, "the lock has format 1, from before Cargo 1.41", "run: cargo update --workspace")
    try:
        version = _check_version(int(document.get("version", 2)), path)
        return Lockfile(version, tuple(_entry(item) for item in document.get("package", ())), path)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _error(path, f"the lock is malformed: {error}") from None


def _entry(item: Any) -> LockedPackage:
    source, checksum, replace = (str(item.get(key, "")) for key in ("source", "checksum", "replace"))
    dependencies = tuple(str(text) for text in item.get("dependencies", ()))
    return LockedPackage(str(item["name"]), str(item["version"]), source, checksum, dependencies, replace)


def render_lockfile(packages: Iterable[LockedPackage], version: int) -> bytes:
    """The file's text as Cargo writes it."""
    head = "# This file is automatically @generated by Cargo.\n# It is not intended for manual editing.\n"
    lines = [f"version = {version}\n" if version > 2 else ""]
    for package in packages:
        lines.append(f'[[package]]\nname = "{package.name}"\nversion = "{package.version}"\n')
        for key in ("source", "checksum"):
            value = getattr(package, key)
            lines[-1] += f'{key} = "{value}"\n' if value else ""
        if package.dependencies:
            inner = "".join(f' "{text}",\n' for text in package.dependencies)
            lines[-1] += f"dependencies = [\n{inner}]\n"
        lines[-1] += f'replace = "{package.replace}"\n' if package.replace else ""
    return (head + "\n".join(lines)).encode()
