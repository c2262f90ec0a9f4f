"""Lock files of npm, bun and pnpm: which tool they are for, whether they fit the manifests, their normal form.

The lock is law: an installer in frozen mode would refuse a stale one after minutes in a step; here it is said at once,
with the command that repairs it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.graph.protocols import Tree
from lamella.stacks.node.jsonc import read_json, read_jsonc
from lamella.stacks.node.manifest import NORMAL_VERSION, SECTIONS, Manifest, Rewrite, join, rendered
from lamella.stacks.node.semver import satisfies
from lamella.values import dataclass, field

__all__ = ["LOCK_NAMES", "BunLock", "LockFile", "NpmLock", "PnpmLock", "read_lock"]

LOCK_NAMES = ("bun.lock", "pnpm-lock.yaml", "package-lock.json", "npm-shrinkwrap.json")
"""Known lock files; where several lie in one folder and ``packageManager`` does not decide, the first wins."""


class LockFile(Protocol):
    """One lock file. ``root`` is its folder; folders of manifests are relative to the project."""

    tool: ClassVar[str]
    repair: ClassVar[str]

    @property
    def path(self) -> str:
        """Its path in the project."""

    def problems(self, manifest: Manifest) -> tuple[str, ...]:
        """What of a manifest it does not hold, in words; empty when it fits."""

    def normalised(self, rewrite: Rewrite, keeps_version: Callable[[str], bool]) -> bytes:
        """The lock without what cannot matter; ``keeps_version`` is asked for folders relative to the project."""


@dataclass(frozen=True, slots=True)
class NpmLock:
    """``package-lock.json`` or ``npm-shrinkwrap.json``, versions 2 and 3 (npm documentation, "package-lock.json")."""

    tool: ClassVar[str] = "npm"
    repair: ClassVar[str] = "npm install --package-lock-only"
    path: str
    root: str
    data: FrozenMap[str, Any] = field(default=EMPTY_MAP, compare=False)

    @property
    def packages(self) -> Mapping[str, Any]:
        """Entries by path, ``""`` for the root."""
        found: Mapping[str, Any] = self.data["packages"]
        return found

    def problems(self, manifest: Manifest) -> tuple[str, ...]:
        """Another range will do for npm as long as the locked version lies in it, and so for us."""
        place = _relative(manifest.folder, self.root)
        entry = self.packages.get("" if place == "." else place)
        if entry is None:
            return (f"{manifest.path} is not in the lock",)
        found = []
        for section, name, text in manifest.dependencies():
            locked = entry.get(section, {}).get(name)
            if locked is None:
                found.append(f"{manifest.path} asks for {name} in {section}, the lock does not hold it")
            elif locked != text and not self._meets(place, name, text):
                found.append(f"{manifest.path} asks for {name} {text}, the lock was made for {locked}")
        return tuple(found)

    def _meets(self, place: str, name: str, text: str) -> bool:
        """Whether the version that node would find from ``place`` upwards lies in a range."""
        folder = "" if place == "." else place
        while True:
            entry = self.packages.get(posixpath.join(folder, "node_modules", name))
            if entry is not None:
                target = self.packages.get(str(entry.get("resolved", "")), entry) if entry.get("link") else entry
                return satisfies(str(target.get("version", "")), text) is True
            if not folder:
                return False
            folder = posixpath.dirname(folder)

    def normalised(self, rewrite: Rewrite, keeps_version: Callable[[str], bool]) -> bytes:
        """Own versions and specifications of local packages as the skeleton's manifests have them."""
        packages = {}
        for place, entry in self.packages.items():
            local = "node_modules" not in place.split("/")
            packages[place] = _normal(entry, rewrite, keeps_version(join(self.root, place or "."))) if local else entry
        document = {**self.data, "packages": packages}
        if "version" in document and not keeps_version(self.root):
            document["version"] = NORMAL_VERSION
        document.pop("dependencies", None)  # the second form in version 2, for npm 6
        return rendered(document)


@dataclass(frozen=True, slots=True)
class BunLock:
    """``bun.lock``: JSON with trailing commas (bun documentation, "Lockfile")."""

    tool: ClassVar[str] = "bun"
    repair: ClassVar[str] = "bun install --lockfile-only"
    path: str
    root: str
    data: FrozenMap[str, Any] = field(default=EMPTY_MAP, compare=False)

    def problems(self, manifest: Manifest) -> tuple[str, ...]:
        """Frozen mode demands equal specifications in both directions."""
        place = _relative(manifest.folder, self.root)
        entry = self.data.get("workspaces", {}).get("" if place == "." else place)
        if entry is None:
            return (f"{manifest.path} is not in the lock",)
        declared = {(section, name): text for section, name, text in manifest.dependencies()}
        locked = {(section, name): text for section in SECTIONS for name, text in entry.get(section, {}).items()}
        return _differences(manifest, declared, locked)

    def normalised(self, rewrite: Rewrite, keeps_version: Callable[[str], bool]) -> bytes:
        """Own versions and specifications of local packages as the skeleton's manifests have them; plain JSON."""
        workspaces = {
            place: _normal(entry, rewrite, keeps_version(join(self.root, place or ".")))
            for place, entry in self.data.get("workspaces", {}).items()
        }
        return rendered({**self.data, "workspaces": workspaces})


@dataclass(frozen=True, slots=True)
class PnpmLock:
    """``pnpm-lock.yaml``, lockfile versions 6 and 9. Own versions are not in it, so its bytes are its normal form."""

    tool: ClassVar[str] = "pnpm"
    repair: ClassVar[str] = "pnpm install --lockfile-only"
    path: str
    root: str
    data: FrozenMap[str, Any] = field(default=EMPTY_MAP, compare=False)
    raw: bytes = b""

    def problems(self, manifest: Manifest) -> tuple[str, ...]:
        """Specifiers must be equal; those that ``overrides`` replaces stand in the lock as replaced."""
        place = _relative(manifest.folder, self.root)
        importers = self.data.get("importers") or {".": self.data}
        entry = importers.get(place)
        if entry is None:
            return (f"{manifest.path} is not in the lock",)
        sections = ("dependencies", "devDependencies", "optionalDependencies")
        peers = {name for _, name, _ in manifest.dependencies("peerDependencies")}
        skipped = {name.rpartition(">")[2] for name in self.data.get("overrides") or ()}
        declared = {(s, n): text for s, n, text in manifest.dependencies(*sections) if n not in skipped}
        locked = {
            (section, name): _specifier(value)
            for section in sections
            for name, value in (entry.get(section) or {}).items()
            if name not in skipped and (name not in peers or (section, name) in declared)
        }
        return _differences(manifest, declared, locked)

    def normalised(self, rewrite: Rewrite, keeps_version: Callable[[str], bool]) -> bytes:
        """The bytes of the file."""
        return self.raw


def _differences(
    manifest: Manifest, declared: dict[tuple[str, str], str], locked: dict[tuple[str, str], str]
) -> tuple[str, ...]:
    found = []
    for section, name in sorted({*declared, *locked}):
        wanted, held = declared.get((section, name)), locked.get((section, name))
        if held is None:
            found.append(f"{manifest.path} asks for {name} in {section}, the lock does not hold it")
        elif wanted is None:
            found.append(f"the lock has {name} in {section}, {manifest.path} does not ask for it")
        elif wanted != held:
            found.append(f"{manifest.path} asks for {name} {wanted}, the lock was made for {held}")
    return tuple(found)


def _specifier(value: Any) -> str:
    return str(value.get("specifier", "")) if isinstance(value, Mapping) else str(value)


def _normal(entry: Mapping[str, Any], rewrite: Rewrite, keep_version: bool) -> dict[str, Any]:
    out = dict(entry)
    for section in SECTIONS:
        if isinstance(out.get(section), Mapping):
            out[section] = {name: rewrite(name, text) for name, text in out[section].items()}
    if "version" in out and not keep_version:
        out["version"] = NORMAL_VERSION
    return out


def _relative(folder: str, root: str) -> str:
    return posixpath.relpath(folder, root) if root != "." else posixpath.normpath(folder)


def read_lock(tree: Tree, path: str) -> LockFile:
    """A lock file by its name; raises ConfigError for a form that is too old or malformed."""
    root, name = posixpath.dirname(path) or ".", posixpath.basename(path)
    if name == "bun.lock":
        return BunLock(path, root, FrozenMap(read_jsonc(tree, path)))
    if name == "pnpm-lock.yaml":
        raw = tree.read(path)
        return PnpmLock(path, root, FrozenMap(_pnpm_head(raw, path)), raw)
    data = read_json(tree, path)
    if not isinstance(data.get("packages"), dict):
        hint = f"run in {root}: npm install --package-lock-only --lockfile-version 3"
        problem = Problem(path, 0, 0, f"lockfileVersion {data.get('lockfileVersion')!r} names no paths", hint)
        raise ConfigError.from_problems((problem,))
    return NpmLock(path, root, FrozenMap(data))


def _pnpm_head(raw: bytes, path: str) -> dict[str, Any]:
    """Everything before ``packages:``: settings, overrides, importers. The rest is long and only for pnpm."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    text = raw.decode("utf-8", "replace")
    head = text.split("\npackages:", 1)[0]
    try:
        found = YAML(typ="safe", pure=True).load(head)
    except YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict) or "lockfileVersion" not in found:
        raise ConfigError(f"{path}: it has no lockfileVersion", hint="run: pnpm install --lockfile-only")
    return found
