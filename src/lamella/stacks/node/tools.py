"""Where the steps of a node layer run: what ``on`` names, or a Debian with Node and the lock's own tool.

Versions come from the project (``packageManager``, ``engines``, version files), then from ``lamella.lock``, then from
the defaults here; a default that moves is a new key, so they move only with a reason.
"""

from __future__ import annotations

import re

from lamella.canonical import FrozenMap
from lamella.graph.op import Command, ExecOp
from lamella.graph.protocols import Tree
from lamella.graph.vertex import RootfsOf, Vertex
from lamella.stacks.base import LowerContext, Rootfs, vertex_info
from lamella.stacks.node.locks import LockFile
from lamella.stacks.node.manifest import Manifest, join
from lamella.stacks.node.semver import parse_version, satisfies
from lamella.stacks.node.workspace import Workspace
from lamella.stacks.toolchain import own_rootfs
from lamella.values import replace

__all__ = ["DEBIAN_NODE", "node_wish", "step_rootfs", "tool_version"]

DEBIAN_NODE = "20.19.2"
"""Node of the default suite: what a project without a wish, or with one that this meets, is built with."""

BUN = "1.4.5"
PNPM = {"9": "10.34.8", "6": "8.9.2", "5": "7.33.7"}
"""pnpm by the major of the lock file's version: a newer pnpm would rewrite the lock."""

_LTS = {"hydrogen": "18", "iron": "20", "jod": "22", "krypton": "24"}
_CACHE = "/tmp/lamella-npm"  # noqa: S108 - a path inside the step, where nobody else is
_QUIET = FrozenMap({"npm_config_audit": "false", "npm_config_fund": "false", "npm_config_update_notifier": "false"})


def step_rootfs(context: LowerContext, workspace: Workspace) -> Rootfs:
    """The root file system for the layer's steps, with the workspace's tool on it."""
    tool = workspace.tool
    version = tool_version(context, workspace)
    if context.rootfs is None:
        packages = [f"{tool}@{version}"] if tool != "npm" or version else []
        wish = node_wish(context.tree, workspace)
        if wish and not satisfies(DEBIAN_NODE, wish):
            packages.insert(0, f"node@{wish}")
        commands = tuple(command for package in packages for command in _install(package))
        return own_rootfs(context, packages=("ca-certificates", "nodejs", "npm"), commands=commands, env=_QUIET)
    if tool == "npm" or context.rootfs.host:
        return context.rootfs
    # An image of Node has npm, but seldom the tool of the lock.
    commands = tuple(replace(command, unless=(tool, "--version")) for command in _install(f"{tool}@{version}"))
    op = ExecOp(commands=commands, env=context.rootfs.env.with_items(_QUIET), network="host")
    info = vertex_info(context.layer, tool, local=context.graph[context.rootfs.vertex].info.local)
    edges = (context.rootfs.edge(RootfsOf()),)
    vertex = context.graph.add(Vertex(op, edges, context.execution, context.execution, info))
    return Rootfs(vertex, context.rootfs.env)


def _install(package: str) -> tuple[Command, ...]:
    """A program from npm's registry, for everybody in the step; npm's cache and logs are not kept."""
    return (Command(("npm", "install", "--global", "--cache", _CACHE, package)), Command(("rm", "-rf", _CACHE)))


def tool_version(context: LowerContext, workspace: Workspace) -> str:
    """The version of the lock's tool; empty for npm where any will do."""
    tool = workspace.tool
    for manifest in (workspace.app, workspace.root_manifest):
        name, _, version = str(manifest.data.get("packageManager", "")).partition("@")
        if name == tool and version:
            return version.partition("+")[0]
    pin = context.lock.tools.get(tool)
    if pin is not None:
        return pin.version
    return {"bun": BUN, "pnpm": _pnpm(workspace.lock)}.get(tool, "")


def _pnpm(lock: LockFile) -> str:
    data = getattr(lock, "data", {})
    return PNPM.get(str(data.get("lockfileVersion", "9")).split(".")[0], PNPM["9"])


def node_wish(tree: Tree, workspace: Workspace) -> str:
    """The range of Node versions the project asks for; empty when it says nothing that can be understood."""
    for manifest in (workspace.app, workspace.root_manifest):
        for name in (".nvmrc", ".node-version"):
            path = join(manifest.folder, name)
            if tree.exists(path):
                wish = _wish(tree.read(path).decode("utf-8", "replace").strip())
                if wish:
                    return wish
        found = _manifest_wish(manifest)
        if found:
            return found
    return ""


def _manifest_wish(manifest: Manifest) -> str:
    volta, engines = manifest.data.get("volta"), manifest.data.get("engines")
    for table in (volta, engines):
        text = str(table.get("node", "")) if isinstance(table, dict) else ""
        if text and satisfies(DEBIAN_NODE, text) is not None:
            return text
    return ""


def _wish(text: str) -> str:
    """``v20``, ``20.11.1`` and ``lts/iron`` as ranges; ``lts/*`` and ``node`` leave the choice."""
    name = text.lower().removeprefix("lts/")
    if name in _LTS:
        return _LTS[name]
    match = re.match(r"v?(\d+(?:\.\d+){0,2})$", text)
    if match is None:
        return ""
    return match[1] if parse_version(match[1]) else f"{match[1]}"
