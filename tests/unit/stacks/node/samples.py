"""JavaScript projects as text: a workspace with a front end, a library and a copied folder, for each lock file."""

from __future__ import annotations

import json
from typing import Any

from lamella.project.spec import LayerSpec, NodeSpec
from lamella.stacks.node import NodeStack
from tests.unit.stacks.lowering import Files, Given

ROOT = {"name": "shop", "version": "1.0.0", "private": True, "workspaces": ["ui", "packages/*"]}
UI = {
    "name": "ui",
    "version": "2.3.4",
    "description": "the shop's face",
    "scripts": {"build": "vite build", "lint": "eslint ."},
    "dependencies": {"lib": "^0.3.0", "left": "^1.2.0", "vend": "file:../vendored"},
    "devDependencies": {"vite": "^5.0.0"},
}
LIB = {"name": "lib", "version": "0.3.1", "main": "index.js", "dependencies": {"deep": "1.0.0"}}
OTHER = {"name": "other", "version": "0.1.0", "dependencies": {"wide": "1.0.0"}}
VEND = {"name": "vend", "version": "9.9.9", "main": "v.js"}


def dumped(document: Any) -> str:
    """JSON as people write it."""
    return json.dumps(document, indent=2) + "\n"


def entry(manifest: dict[str, Any]) -> dict[str, Any]:
    """What package-lock.json and bun.lock repeat of a manifest."""
    kept = ("name", "version", "workspaces", "dependencies", "devDependencies")
    return {key: value for key, value in manifest.items() if key in kept}


NPM_LOCK = {
    "name": "shop",
    "version": "1.0.0",
    "lockfileVersion": 3,
    "requires": True,
    "packages": {
        "": entry(ROOT),
        "ui": entry(UI),
        "packages/lib": entry(LIB),
        "packages/other": entry(OTHER),
        "vendored": entry(VEND),
        "node_modules/ui": {"resolved": "ui", "link": True},
        "node_modules/lib": {"resolved": "packages/lib", "link": True},
        "node_modules/vend": {"resolved": "vendored", "link": True},
        "node_modules/left": {"version": "1.2.9", "integrity": "sha512-l"},
        "node_modules/vite": {"version": "5.4.0", "integrity": "sha512-v", "dev": True},
        "node_modules/deep": {"version": "1.0.0", "integrity": "sha512-d"},
        "node_modules/wide": {"version": "1.0.0", "integrity": "sha512-w"},
    },
}
BUN_LOCK = """\
{
  "lockfileVersion": 1, // made by bun
  "workspaces": {
    "": { "name": "shop" },
    "ui": {
      "name": "ui", "version": "2.3.4",
      "dependencies": { "lib": "^0.3.0", "left": "^1.2.0", "vend": "file:../vendored", },
      "devDependencies": { "vite": "^5.0.0", },
    },
    "packages/lib": { "name": "lib", "version": "0.3.1", "dependencies": { "deep": "1.0.0", }, },
    "packages/other": { "name": "other", "version": "0.1.0", "dependencies": { "wide": "1.0.0", }, },
  },
  "packages": {
    "left": ["left@1.2.9", "", {}, "sha512-l=="],
    "lib": ["lib@workspace:packages/lib"],
  },
}
"""
PNPM_LOCK = """\
lockfileVersion: '9.0'

settings:
  autoInstallPeers: true

importers:

  .: {}

  packages/lib:
    dependencies:
      deep:
        specifier: 1.0.0
        version: 1.0.0

  packages/other:
    dependencies:
      wide:
        specifier: 1.0.0
        version: 1.0.0

  ui:
    dependencies:
      left:
        specifier: ^1.2.0
        version: 1.2.9
      lib:
        specifier: workspace:^
        version: link:../packages/lib
      vend:
        specifier: file:../vendored
        version: file:vendored
    devDependencies:
      vite:
        specifier: ^5.0.0
        version: 5.4.0

packages:

  left@1.2.9:
    resolution: {integrity: sha512-l==}
"""

TREE: Files = {
    "README.md": "# shop\n",
    "package.json": dumped(ROOT),
    "tsconfig.json": "{}\n",
    "ui/package.json": dumped(UI),
    "ui/index.html": "<html>",
    "ui/src/main.ts": "export {}\n",
    "packages/lib/package.json": dumped(LIB),
    "packages/lib/index.js": "module.exports = 1\n",
    "packages/other/package.json": dumped(OTHER),
    "packages/other/index.js": "module.exports = 2\n",
    "vendored/package.json": dumped(VEND),
    "vendored/v.js": "module.exports = 3\n",
    "server/main.py": "print()\n",
}
LOCKS: dict[str, Files] = {
    "npm": {"package-lock.json": dumped(NPM_LOCK)},
    "bun": {"bun.lock": BUN_LOCK},
    "pnpm": {
        "pnpm-lock.yaml": PNPM_LOCK,
        "pnpm-workspace.yaml": "packages:\n  - ui\n  - packages/*\n",
        "ui/package.json": dumped({**UI, "dependencies": {**UI["dependencies"], "lib": "workspace:^"}}),  # type: ignore[dict-item]
    },
}


def workspace(tool: str = "npm", spec: NodeSpec | None = None, **given: Any) -> Given:
    """The front end of the workspace as a layer ``ui``."""
    layer = LayerSpec("ui", spec or NodeSpec(dir="ui", script="build", output="dist"), to="/app")
    return Given(NodeStack(), {**TREE, **LOCKS[tool]}, layer, **given)


def single(manifest: dict[str, Any], files: Files | None = None, spec: NodeSpec | None = None) -> Given:
    """A package of its own in ``.``, with an npm lock made to fit."""
    packages: dict[str, Any] = {"": {**manifest}}
    for section in ("dependencies", "devDependencies"):
        for name, text in manifest.get(section, {}).items():
            packages[f"node_modules/{name}"] = {"version": text.lstrip("^~")}
    lock = {"name": "x", "lockfileVersion": 3, "packages": packages}
    tree: Files = {"package.json": dumped(manifest), "package-lock.json": dumped(lock), **(files or {})}
    return Given(NodeStack(), tree, LayerSpec("app", spec or NodeSpec(), to="/app"))


def manifest_of(given: Given, path: str, **changes: Any) -> dict[str, bytes | str | None]:
    """An edit of a manifest: keys replaced, or removed with None."""
    text = given.files[path]
    assert isinstance(text, str)
    document = {**json.loads(text), **changes}
    return {path: dumped({key: value for key, value in document.items() if value is not None})}
