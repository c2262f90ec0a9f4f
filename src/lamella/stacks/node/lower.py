"""A node layer as vertices: ``NAME:deps`` installs, ``NAME`` runs the script; or a service with production packages."""

from __future__ import annotations

import re
import shlex

from lamella.canonical import FrozenMap
from lamella.graph.mount import BindMount
from lamella.graph.op import Command, ExecOp, OutputPath, SourceOp
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex
from lamella.oci.platform import ANY
from lamella.project.spec import NodeSpec
from lamella.stacks.base import SRC, LowerContext, Lowered, Placement, Requirement, Rootfs, layer_error, vertex_info
from lamella.stacks.files import need_mounts
from lamella.stacks.node.install import STEP_ENV, install_vertex, modules_mounts, secret_mounts, step_path
from lamella.stacks.node.manifest import Manifest, join
from lamella.stacks.node.output import Goal, find_goal
from lamella.stacks.node.tools import step_rootfs
from lamella.stacks.node.workspace import Workspace, find_workspace

__all__ = ["DEFAULT_TARGET", "lower_layer", "start_command"]

DEFAULT_TARGET = "/app"
OUT = "/lamella/out"
"""Where a built service is gathered without its packages."""

_NO_SOURCES = ("**/node_modules/**", "lamella.toml", "lamella.lock", "**/Dockerfile*", "**/.dockerignore", "**/.git*")
"""What no build script reads, or must not."""

_ROOT_SETTINGS = (
    "tsconfig*.json", "jsconfig*.json", "*.config.*", ".npmrc", "bunfig.toml", ".babelrc*", ".browserslistrc",
    ".postcssrc*", ".swcrc", "turbo.json", "nx.json", "pnpm-workspace.yaml", "*.d.ts",
)  # fmt: skip
"""Files beside the lock of a workspace that builds of its members read."""

_WRITTEN = (
    "**/node_modules/**", "**/.next/**", "**/.svelte-kit/**", "**/.nuxt/**", "**/.output/**", "**/.astro/**",
    "**/.vite/**", "**/.turbo/**", "**/.cache/**", "**/.parcel-cache/**", "**/.angular/**", "**/*.tsbuildinfo",
    "**/next-env.d.ts", "**/vite.config.*.timestamp-*", "**/.vinxi/**", "**/.docusaurus/**", "**/routeTree.gen.ts",
)  # fmt: skip
"""Where well-known tools write beside their output; nobody needs to hear of it."""

_LIFECYCLE = ("postinstall", "prepare")
_NOT_A_BUILD = re.compile(
    r"\b(husky|lefthook|simple-git-hooks|pre-commit|only-allow|git|playwright|puppeteer|cypress|electron-builder|"
    r"is-ci|(npm|bun|pnpm|yarn) (i|ci|install|add|link)|yarn)\b"
)
"""Lifecycle scripts that set up a developer's machine or fetch: they have nothing to do in an image."""

_COPY = (
    "const s=process.argv.at(-1);require('fs').cpSync('.',s,{recursive:true,verbatimSymlinks:true,"
    "filter:p=>!p.split('/').includes('node_modules')})"
)


def lower_layer(context: LowerContext, spec: NodeSpec) -> Lowered:
    """The layer's vertices. Raises ConfigError for everything that is wrong with it."""
    layer = context.layer
    for key in ("ssh", "services", "caches"):
        if getattr(layer, key):
            hint = "the installer's downloads are kept without it"
            raise layer_error(layer, f"'{key}' is not yet supported for node layers", hint=hint)
    workspace = find_workspace(context.tree, layer, spec.dir)
    goal = find_goal(context.tree, layer, spec, workspace.app)
    rootfs = step_rootfs(context, workspace)
    if goal.is_service:
        return _service(context, rootfs, workspace, goal)
    deps = install_vertex(context, rootfs, workspace)
    output = OutputPath(step_path(join(workspace.app.folder, goal.output)), "")
    product = _build(context, rootfs, workspace, goal, deps, output, platform=ANY)
    placement = Placement(product, layer.to or DEFAULT_TARGET, layer.owner, _mode(context), name=layer.name)
    return Lowered(product=product, placements=(placement,), notes=_notes(context, goal))


def _build(
    context: LowerContext,
    rootfs: Rootfs,
    workspace: Workspace,
    goal: Goal,
    deps: str,
    output: OutputPath,
    *,
    platform: str,
) -> str:
    """The script's step: sources, packages, needed products; no network."""
    layer, app = context.layer, workspace.app
    source = context.graph.add(
        Vertex(SourceOp(_patterns(workspace, goal, layer.inputs)), (), ANY, ANY, vertex_info(layer, "source"))
    )
    needed, mounts = need_mounts(context, first=3)
    gather = (
        (Command(("node" if workspace.tool != "bun" else "bun", "-e", _COPY, "--", OUT)),) if goal.is_service else ()
    )
    op = ExecOp(
        commands=(*_local_copies(workspace), *_lifecycle(workspace), *_script(workspace, goal), *gather),
        env=rootfs.env.with_items(STEP_ENV).with_items({name: str(value) for name, value in layer.env.items()}),
        cwd=step_path(app.folder),
        mounts=(
            BindMount(1, SRC),
            *modules_mounts(workspace, 2),
            *mounts,
            *secret_mounts(context.tree, layer, workspace),
        ),
        network="host" if layer.network else "none",
        outputs=(output,),
        scratch=(*_WRITTEN, join(app.folder, f"{goal.output}/**"), *layer.scratch),
        observer="node",
        observed=FrozenMap({"step": "build", "script": goal.script, "output": join(app.folder, goal.output)}),
    )
    edges = (
        rootfs.edge(RootfsOf()),
        Input(source, AllPaths(), "sources"),
        Input(deps, AllPaths(), "packages"),
        *needed,
    )
    info = vertex_info(layer, local=rootfs.host)
    return context.graph.add(Vertex(op, edges, platform, context.execution, info))


def _script(workspace: Workspace, goal: Goal) -> tuple[Command, ...]:
    return (Command((workspace.tool, "run", goal.script)),) if goal.script else ()


def _patterns(workspace: Workspace, goal: Goal, extra: tuple[str, ...]) -> tuple[str, ...]:
    """Globs of the sources: every member's folder, settings beside the lock, what ``inputs`` adds or excludes."""
    folders = [folder for folder in workspace.folders if folder != workspace.root or folder == workspace.app.folder]
    patterns = [_below(folder, "**") for folder in folders]
    if workspace.root not in folders:
        patterns += [_below(workspace.root, name) for name in (*_ROOT_SETTINGS, "package.json")]
        patterns.append(workspace.lock.path)
    patterns += [f"!{pattern}" for pattern in _NO_SOURCES]
    if not goal.is_service:
        patterns.append(f"!{_below(workspace.app.folder, goal.output)}/**")
    return (*patterns, *extra)


def _below(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def _local_copies(workspace: Workspace) -> tuple[Command, ...]:
    """Files over the skeleton's stubs, where an installer (bun, pnpm) copied a ``file:`` folder."""
    if workspace.tool == "npm":
        return ()
    return tuple(
        Command(
            (
                "cp",
                "-a",
                f"{step_path(local.folder)}/.",
                f"{step_path(join(local.owner, 'node_modules'))}/{local.name}/",
            )
        )
        for local in workspace.locals
        if not local.linked
    )


def _lifecycle(workspace: Workspace) -> tuple[Command, ...]:
    """The project's own scripts that a plain install would have run, where they prepare sources or packages."""
    manifests: list[Manifest] = [workspace.root_manifest]
    if workspace.app.folder != workspace.root:
        manifests.append(workspace.app)
    return tuple(
        Command((workspace.tool, "run", name), cwd=step_path(manifest.folder))
        for manifest in manifests
        for name in _LIFECYCLE
        if manifest.scripts.get(name) and not _NOT_A_BUILD.search(manifest.scripts[name])
    )


def _service(context: LowerContext, rootfs: Rootfs, workspace: Workspace, goal: Goal) -> Lowered:
    """A package that is started, not served: its files and its production packages, in layers of their own."""
    layer, app = context.layer, workspace.app
    target = (layer.to or DEFAULT_TARGET).rstrip("/")
    inside = app.folder if workspace.root == "." else app.folder.removeprefix(workspace.root).strip("/")
    home = target if app.folder == workspace.root else f"{target}/{inside}"
    packages = install_vertex(context, rootfs, workspace, production=True, platform=context.platform)
    strip = "" if workspace.root == "." else workspace.root
    files = context.graph.add(
        Vertex(
            SourceOp(_patterns(workspace, goal, layer.inputs), strip=strip), (), ANY, ANY, vertex_info(layer, "files")
        )
    )
    placements = [
        Placement(packages, target, layer.owner, source=strip, name=f"{layer.name}:packages"),
        Placement(files, target, layer.owner, _mode(context), name=f"{layer.name}:files"),
    ]
    product = files
    if goal.script or _lifecycle(workspace) or context.needs:
        deps = install_vertex(context, rootfs, workspace)
        product = _build(context, rootfs, workspace, goal, deps, OutputPath(OUT, ""), platform=context.platform)
        placements[1:] = [Placement(product, home, layer.owner, _mode(context), name=layer.name)]
        if app.folder != workspace.root:
            others = Vertex(
                SourceOp(_others(workspace), strip=strip), (), ANY, ANY, vertex_info(layer, "local packages")
            )
            placements.insert(1, Placement(context.graph.add(others), target, layer.owner, name=f"{layer.name}:local"))
    start = start_command(app, home)
    program = start[0] if start else ("bun" if workspace.tool == "bun" else "node")
    return Lowered(
        product=product,
        placements=tuple(placements),
        entrypoints=(start,) if start else (),
        requirements=(Requirement("tool", program, f"layer {layer.name!r}"),),
        notes=_notes(context, goal),
        details=FrozenMap({"home": home}),
    )


def _others(workspace: Workspace) -> tuple[str, ...]:
    """Sources of the local packages beside the app, and the manifest beside the lock."""
    folders = [folder for folder in workspace.folders if folder not in (workspace.root, workspace.app.folder)]
    patterns = [_below(folder, "**") for folder in folders]
    return (*patterns, _below(workspace.root, "package.json"), *(f"!{pattern}" for pattern in _NO_SOURCES))


def start_command(app: Manifest, home: str) -> tuple[str, ...]:
    """``node server.js`` of the script ``start``, or the manifest's ``main``, with an absolute path; else empty."""
    text = _start_script(app)
    words = shlex.split(text) if text.count("'") % 2 == 0 and text.count('"') % 2 == 0 else []
    if words and words[0] in ("node", "bun") and not re.search(r"[|&;<>$`]", text):
        paths = [index for index, word in enumerate(words) if index and re.search(r"\.[cm]?[jt]sx?$", word)]
        if paths:
            first = paths[0]
            return (*words[:first], f"{home}/{words[first].removeprefix('./')}", *words[first + 1 :])
    main = app.data.get("main")
    if not text and isinstance(main, str):
        return ("node", f"{home}/{main.removeprefix('./')}")
    return ()


def _start_script(app: Manifest) -> str:
    """The script ``start``, through those it only calls by name."""
    text, seen = app.scripts.get("start", ""), {"start"}
    while called := re.fullmatch(r"(?:npm|pnpm|bun|yarn) (?:run )?([\w:.-]+)", text):
        if called[1] in seen or called[1] not in app.scripts:
            break
        seen.add(called[1])
        text = app.scripts[called[1]]
    return text


def _mode(context: LowerContext) -> str:
    return "" if context.layer.mode is None else f"{context.layer.mode:04o}"


def _notes(context: LowerContext, goal: Goal) -> tuple[str, ...]:
    if not goal.why or goal.why.startswith("the layer"):
        return ()
    return (f"layer {context.layer.name!r}: output {goal.output!r}, because {goal.why}",)
