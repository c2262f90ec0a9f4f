"""What ``init`` proposes for JavaScript: packages with a lock file that build something or start."""

from __future__ import annotations

import posixpath
import re

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.project.spec import LayerSpec, NodeSpec
from lamella.stacks.base import DetectedLayer, Detection
from lamella.stacks.node.lower import DEFAULT_TARGET, start_command
from lamella.stacks.node.manifest import Manifest, join, read_manifest
from lamella.stacks.node.output import WHOLE, Goal, find_goal
from lamella.stacks.node.tools import node_wish
from lamella.stacks.node.workspace import Workspace, find_workspace

__all__ = ["detect_packages"]

_SKIPPED = frozenset({
    "node_modules", "test", "tests", "__tests__", "fixtures", "examples", "example", "docs", "benchmarks", "e2e",
    "vendor", "target", "dist", "build",
})  # fmt: skip
_SERVERS_PORT = 3000
_PORT = re.compile(
    r"(?:\.listen\(|\bport\s*[:=]\s*(?:[\w.]+\s*(?:\|\||\?\?)\s*)?|PORT\s*(?:\|\||\?\?)\s*)[\"']?(\d{4,5})\b"
)


def detect_packages(tree: Tree) -> tuple[Detection, ...]:
    """Packages that build or start, outermost first; libraries of a workspace are taken along by those."""
    found: list[Detection] = []
    folders = sorted({posixpath.dirname(path) or "." for path in tree.paths(("**/package.json",))})
    wanted = [folder for folder in folders if not _SKIPPED & set(folder.split("/"))]
    for folder in sorted(wanted, key=lambda item: (0 if item == "." else item.count("/") + 1, item)):
        detection = _detect(tree, folder)
        if detection is not None:
            found.append(detection)
    return tuple(found)


def _detect(tree: Tree, folder: str) -> Detection | None:
    """A package by itself; one that is broken, has no lock or nothing to build or start is none."""
    layer = LayerSpec("ui", NodeSpec(dir=folder))
    try:
        manifest = read_manifest(tree, folder)
        if manifest is None:
            return None
        workspace = find_workspace(tree, layer, folder)
        goal = find_goal(tree, layer, NodeSpec(dir=folder), manifest)
    except ConfigError:
        return None
    if manifest.workspaces and folder == workspace.root and len(workspace.members) > 1:
        return None  # the root of a workspace: its members are what is built
    if folder != workspace.root and not _is_application(goal, manifest):
        return None
    program = _own_server(tree, manifest)
    if program and not goal.is_service:
        goal = Goal(goal.script, WHOLE, f"script 'start' runs {program}, a server that has the page in its folder")
    goal, entry = _written_server(manifest, goal)
    return _service(tree, workspace, goal, entry) if goal.is_service or entry else _frontend(workspace, goal)


def _written_server(manifest: Manifest, goal: Goal) -> tuple[Goal, str]:
    """A build that writes a server instead of a page: what is taken of it, and the file in there that starts it.

    Nitro (Nuxt and others) writes one with all that it needs (nitro.build/deploy/runtimes/node); SvelteKit's adapter
    for Node writes one that needs the production packages (svelte.dev/docs/kit/adapter-node).
    """
    if goal.output == ".output":
        return goal, "server/index.mjs"
    adapters = {name for _, name, _ in manifest.dependencies() if name.startswith("@sveltejs/adapter-")}
    if adapters == {"@sveltejs/adapter-node"} and goal.output == "build":
        return Goal(goal.script, WHOLE, "SvelteKit's adapter for Node writes a server"), "build/index.js"
    return goal, ""


def _own_server(tree: Tree, manifest: Manifest) -> str:
    """A source file that script ``start`` runs; empty when it runs none or only what the build makes."""
    if "start" not in manifest.scripts:
        return ""
    for word in start_command(manifest, "")[1:]:
        path = join(manifest.folder, word.lstrip("/"))
        if word.startswith("/") and tree.exists(path):
            return path
    return ""


def _is_application(goal: Goal, manifest: Manifest) -> bool:
    """Members that others import (they name an entry for importers) are libraries."""
    if goal.is_service:
        return "start" in manifest.scripts
    return not any(key in manifest.data for key in ("exports", "module", "types"))


def _frontend(workspace: Workspace, goal: Goal) -> Detection:
    app = workspace.app
    name = "ui" if app.folder == "." else posixpath.basename(app.folder)
    line = f'node = {{ dir = "{app.folder}", script = "{goal.script}", output = "{goal.output}" }}'
    why = (
        f"{app.path} has script {goal.script!r}; {workspace.lock.path} locks it, for {workspace.tool}",
        f"output {goal.output!r}: {goal.why}",
    )
    return Detection(
        stack="node",
        directory=app.folder,
        layers=(DetectedLayer(name, (line,), why),),
        toolchain=_programs(workspace),
        in_image=(name,),
        version="",
        name=app.name.rpartition("/")[2],
    )


def _service(tree: Tree, workspace: Workspace, goal: Goal, entry: str = "") -> Detection:
    """A server; ``entry`` is the file in its output that starts it, empty where the manifest says how."""
    app = workspace.app
    name = "app" if app.folder == "." else posixpath.basename(app.folder)
    home = (
        DEFAULT_TARGET
        if app.folder == workspace.root or not goal.is_service
        else f"{DEFAULT_TARGET}/{posixpath.relpath(app.folder, workspace.root)}"
    )
    runtime = "node" if workspace.tool != "bun" else "bun"
    start = (runtime, f"{home}/{entry}") if entry else start_command(app, home)
    script = f', script = "{goal.script}"' if goal.script else ""
    taken = "its files and production packages" if goal.is_service else "the server that its script writes"
    why = (
        f"{app.path} is started, not served: {taken}; {workspace.lock.path} locks it",
        f"because {goal.why}",
    )
    port, place = _port(tree, app)
    if entry and not port:
        port, place = _SERVERS_PORT, "such a server listens there unless PORT says otherwise"
    said = f"script 'start' of {app.path}" if "start" in app.scripts else f"'main' of {app.path}"
    if entry:
        said = f"script {goal.script!r} of {app.path} writes {entry}"
    return Detection(
        stack="node",
        directory=app.folder,
        layers=(DetectedLayer(name, (f'node = {{ dir = "{app.folder}"{script}, output = "{goal.output}" }}',), why),),
        base_packages=("ca-certificates", "nodejs") if workspace.tool != "bun" else ("ca-certificates",),
        toolchain=_programs(workspace),
        in_image=(name,),
        entrypoint=start,
        expose=port,
        name=app.name.rpartition("/")[2],
        why=FrozenMap({"entrypoint": said, "expose": place, "engine": node_wish(tree, workspace)}),
    )


def _programs(workspace: Workspace) -> tuple[str, ...]:
    return ("node", workspace.tool) if workspace.tool != "bun" else ("bun",)


def _port(tree: Tree, app: Manifest) -> tuple[int, str]:
    """The first port that a source file of the package listens on and its place; 0 when none says."""
    patterns = [f"{name}.{end}" for name in ("server", "index", "app", "main") for end in ("js", "mjs", "cjs", "ts")]
    prefix = "" if app.folder == "." else f"{app.folder}/"
    paths = tree.paths(tuple(f"{prefix}{folder}{name}" for folder in ("", "src/") for name in patterns))
    for path in paths:
        text = tree.read(path).decode("utf-8", "replace")
        match = _PORT.search(text)
        if match and int(match[1]) < 65_536:
            return int(match[1]), f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
    return 0, ""
