"""The dependency step: a frozen install of the skeleton, without install scripts except trusted ones."""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.graph.mount import BindMount, CacheMount, Mount, SecretMount
from lamella.graph.op import Command, ExecOp, InlineOp, OutputPath
from lamella.graph.protocols import Tree
from lamella.graph.vertex import AllPaths, Input, RootfsOf, Vertex
from lamella.oci.platform import ANY
from lamella.project.spec import LayerSpec
from lamella.stacks.base import SRC, LowerContext, Rootfs, vertex_info
from lamella.stacks.node.manifest import join
from lamella.stacks.node.workspace import Workspace, skeleton

__all__ = ["STEP_ENV", "install_vertex", "modules_mounts", "secret_mounts", "step_path"]

CACHE = "/lamella/cache"

STEP_ENV = FrozenMap(
    {
        "CI": "1",
        "HOME": "/tmp",  # noqa: S108 - a path inside the step, where nobody else is
        "LANG": "C.UTF-8",
        "COREPACK_ENABLE_STRICT": "0",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        "npm_config_manage_package_manager_versions": "false",
        "npm_config_verify_deps_before_run": "false",
        "NEXT_TELEMETRY_DISABLED": "1",
        "ASTRO_TELEMETRY_DISABLED": "1",
    }
)

_CACHES = {
    "npm": FrozenMap({"npm_config_cache": f"{CACHE}/npm", "npm_config_prefer_offline": "true"}),
    "bun": FrozenMap({"BUN_INSTALL_CACHE_DIR": f"{CACHE}/bun"}),
    "pnpm": FrozenMap(
        {
            "npm_config_store_dir": f"{CACHE}/pnpm",
            "npm_config_package_import_method": "copy",
            "npm_config_prefer_offline": "true",
        }
    ),
}
"""Downloads outlive the step; what is taken from them is checked against the lock's integrity."""

_INSTALL = {
    "npm": ("npm", "ci", "--ignore-scripts"),
    "bun": ("bun", "install", "--frozen-lockfile", "--ignore-scripts"),
    "pnpm": ("pnpm", "install", "--frozen-lockfile", "--ignore-scripts"),
}
_PRODUCTION = {"npm": "--omit=dev", "bun": "--production", "pnpm": "--prod"}

_RESIDUE = ("node_modules/.modules.yaml", "node_modules/.pnpm-workspace-state.json",
            "node_modules/.pnpm-workspace-state-v1.json", "node_modules/.cache")  # fmt: skip
"""Files that hold the time or a path of the install."""


def install_vertex(
    context: LowerContext, rootfs: Rootfs, workspace: Workspace, *, production: bool = False, platform: str = ANY
) -> str:
    """The step whose product holds every ``node_modules`` of the workspace, at its place relative to the project."""
    layer = context.layer
    part = "production deps" if production else "deps"
    files = context.graph.add(
        Vertex(InlineOp(skeleton(context.tree, workspace)), (), ANY, ANY, vertex_info(layer, "skeleton"))
    )
    mounts: tuple[Mount, ...] = (
        BindMount(1, SRC),
        CacheMount(f"lamella-{workspace.tool}", f"{CACHE}/{workspace.tool}"),
        *secret_mounts(context.tree, layer, workspace),
    )
    op = ExecOp(
        commands=_commands(workspace, production=production),
        env=rootfs.env.with_items(STEP_ENV).with_items(_CACHES[workspace.tool]).with_items(_layer_env(layer)),
        cwd=step_path(workspace.root),
        mounts=mounts,
        network="host" if layer.network else "none",
        outputs=tuple(OutputPath(step_path(_modules(folder)), _modules(folder)) for folder in workspace.folders),
        scratch=("**",),
        observer="node",
        observed=FrozenMap({"step": "install"}),
    )
    edges = (rootfs.edge(RootfsOf()), Input(files, AllPaths(), "skeleton"))
    info = vertex_info(layer, part, local=rootfs.host)
    return context.graph.add(Vertex(op, edges, platform, context.execution, info))


def _commands(workspace: Workspace, *, production: bool) -> tuple[Command, ...]:
    """Fetches have the network, since the lock checks them; trusted scripts run without."""
    tool = workspace.tool
    argv = (*_INSTALL[tool], *((_PRODUCTION[tool],) if production else ()))
    commands = [Command(argv, network=True)]
    trusted = workspace.trusted
    if trusted and tool == "bun":
        # bun runs the scripts of trusted packages only, and of installed ones only when it installs them again.
        commands.append(Command((*(word for word in argv if word != "--ignore-scripts"), "--force")))
    elif trusted:
        quiet = ("--foreground-scripts",) if tool == "npm" else ()
        commands.append(Command((tool, "rebuild", *quiet, *trusted)))
    commands.append(Command(("rm", "-rf", *_RESIDUE)))
    commands.append(Command(("mkdir", "-p", *(step_path(_modules(folder)) for folder in workspace.folders))))
    return tuple(commands)


def modules_mounts(workspace: Workspace, number: int) -> tuple[BindMount, ...]:
    """The product of :func:`install_vertex`, input ``number`` of a step, at every place it belongs to."""
    return tuple(
        BindMount(number, step_path(_modules(folder)), source=_modules(folder)) for folder in workspace.folders
    )


def secret_mounts(tree: Tree, layer: LayerSpec, workspace: Workspace) -> tuple[SecretMount, ...]:
    """Secrets as files; as variables too where the installer's settings name them (``${NPM_TOKEN}``)."""
    texts = []
    for name in (".npmrc", "bunfig.toml"):
        path = join(workspace.root, name)
        if tree.exists(path):
            texts.append(tree.read(path).decode("utf-8", "replace"))
    named = {name for name in layer.secrets if any(f"${{{name}}}" in text or f"${name}" in text for text in texts)}
    return tuple(
        SecretMount(name, env=name) if name in named else SecretMount(name, target=f"/run/secrets/{name}")
        for name in layer.secrets
    )


def _layer_env(layer: LayerSpec) -> dict[str, str]:
    return {name: str(value) for name, value in layer.env.items()}


def _modules(folder: str) -> str:
    return join(folder, "node_modules")


def step_path(path: str) -> str:
    """A path of the project as steps see it."""
    return SRC if path in ("", ".") else f"{SRC}/{path}"
