"""``package.json``: what of it can change an install, and what cannot (npm documentation, "package.json").

The skeleton of a dependency layer holds manifests without their own version, scripts, description and whatever else an
installer does not read, so that a release or an edited script is no reason to install again.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError, Problem
from lamella.graph.protocols import Tree
from lamella.stacks.node.jsonc import read_json
from lamella.values import dataclass, field

__all__ = ["NORMAL_VERSION", "SECTIONS", "Manifest", "Rewrite", "join", "read_manifest", "rendered"]

SECTIONS = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
NORMAL_VERSION = "0.0.0"
"""Stands for a package's own version where nobody depends on it by number."""

_KEPT = frozenset({
    *SECTIONS, "name", "private", "peerDependenciesMeta", "dependenciesMeta", "bundleDependencies",
    "bundledDependencies", "overrides", "resolutions", "workspaces", "packageManager", "engines", "devEngines", "os",
    "cpu", "libc", "trustedDependencies", "allowScripts", "patchedDependencies", "pnpm", "bin", "directories",
    "catalog", "catalogs", "acceptDependencies", "lavamoat", "publishConfig",
})  # fmt: skip
"""What installers read; every other key of a manifest cannot change what they make."""

Rewrite = Callable[[str, str], str]
"""Name and specification of a dependency to the specification that the skeleton shall have."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One ``package.json``. ``folder`` is relative to the project, ``.`` for its root."""

    folder: str
    name: str
    version: str
    scripts: FrozenMap[str, str] = EMPTY_MAP
    data: FrozenMap[str, Any] = field(default=EMPTY_MAP, compare=False)

    @property
    def path(self) -> str:
        """The manifest's path."""
        return join(self.folder, "package.json")

    def dependencies(self, *sections: str) -> Iterator[tuple[str, str, str]]:
        """(section, name, specification) of the dependencies in some sections, all by default."""
        for section in sections or SECTIONS:
            table = self.data.get(section)
            for name, text in sorted(table.items()) if isinstance(table, Mapping) else ():
                yield section, name, str(text)

    @property
    def workspaces(self) -> tuple[str, ...]:
        """Globs of workspace members as npm and bun read them."""
        found = self.data.get("workspaces", ())
        if isinstance(found, Mapping):
            found = found.get("packages", ())
        return tuple(str(item) for item in found)

    @property
    def trusted(self) -> tuple[str, ...]:
        """Packages whose install scripts the project allows, by bun's, npm's, pnpm's or LavaMoat's key; sorted."""
        names = {str(name) for name in self.data.get("trustedDependencies", ())}
        names |= {str(name) for name in self._table("pnpm").get("onlyBuiltDependencies", ())}
        allowed = {**self._table("allowScripts"), **self._table("pnpm").get("allowBuilds", {})}
        allowed |= self._table("lavamoat").get("allowScripts", {})
        for spelled, yes in allowed.items():
            if yes is True:
                name = str(spelled).rpartition(">")[2]
                at = name.find("@", 1)
                names.add(name[:at] if at > 0 else name)
        return tuple(sorted(names))

    @property
    def patches(self) -> tuple[str, ...]:
        """Patch files that an installer applies, relative to the manifest."""
        table = {**self._table("patchedDependencies"), **self._table("pnpm").get("patchedDependencies", {})}
        return tuple(sorted(str(path) for path in table.values()))

    def _table(self, key: str) -> dict[str, Any]:
        found = self.data.get(key)
        return dict(found) if isinstance(found, Mapping) else {}

    def skeleton(self, rewrite: Rewrite, *, keep_version: bool) -> dict[str, Any]:
        """What an installer reads of it, with specifications of local packages rewritten."""
        out = {key: value for key, value in self.data.items() if key in _KEPT}
        for section in SECTIONS:
            if isinstance(out.get(section), Mapping):
                out[section] = {name: rewrite(name, text) for name, text in out[section].items()}
        if self.version:
            out["version"] = self.version if keep_version else NORMAL_VERSION
        return out


def read_manifest(tree: Tree, folder: str) -> Manifest | None:
    """The manifest of a folder, None when it has none; raises ConfigError for a malformed one."""
    path = join(folder, "package.json")
    if not tree.exists(path):
        return None
    data = read_json(tree, path)
    for key in (*SECTIONS, "scripts"):
        table = data.get(key, {})
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise ConfigError.from_problems((Problem(path, 0, 0, f"{key!r} is not an object of strings"),))
    return Manifest(
        folder=posixpath.normpath(folder),
        name=str(data.get("name", "")),
        version=str(data.get("version", "")),
        scripts=FrozenMap(data.get("scripts", {})),
        data=FrozenMap(data),
    )


def rendered(document: Mapping[str, Any]) -> bytes:
    """JSON bytes that do not depend on the order or spelling of the file they come from."""
    return (json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def join(folder: str, name: str) -> str:
    """``name`` in ``folder``, as a path of the project."""
    return posixpath.normpath(posixpath.join(folder, name))
