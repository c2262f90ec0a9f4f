"""Bases: a root file system from an image, a distribution's archive or the host, packages and users on top."""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.graph.op import Command, ExecOp, HostOp, ImageOp, NewUser, ScratchOp, UsersOp
from lamella.graph.protocols import Tree
from lamella.graph.vertex import Input, RootfsOf, Vertex
from lamella.oci.platform import ANY
from lamella.project.spec import BaseSpec, ToolSpec
from lamella.stacks.base import (
    Detection,
    LowerContext,
    Lowered,
    Observation,
    Rootfs,
    StepOutputs,
    layer_error,
    vertex_info,
)
from lamella.stacks.toolchain import BASE_PATH, DEFAULT_SUITE, apt_commands, bootstrap_vertex
from lamella.values import replace

__all__ = ["MANAGERS", "BaseStack", "package_manager", "tool_source"]

MANAGERS = ("apt", "dnf", "zypper", "apk")
"""Package managers, by the keys of their lists."""

_FAMILIES = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "centos": "dnf",
    "rocky": "dnf",
    "almalinux": "dnf",
    "opensuse-leap": "zypper",
    "opensuse": "zypper",
    "opensuse-tumbleweed": "zypper",
    "sles": "zypper",
    "suse": "zypper",
    "alpine": "apk",
}
"""os-release(5) ``ID`` (or an entry of ``ID_LIKE``) to package manager."""


class BaseStack:
    """Layers of kind ``base``. The package manager comes from the project file or the lock, never from a look."""

    name = "base"

    def lower(self, context: LowerContext) -> Lowered:
        """One root vertex, then packages and tools, then users; each only when asked for."""
        spec = _spec(context)
        if spec.host:
            return Lowered(rootfs=_host(context, spec))
        rootfs = context.rootfs if context.rootfs and not spec.is_root else self._root(context, spec)
        rootfs = _packages(context, spec, rootfs)
        rootfs = _users(context, spec, rootfs)
        return Lowered(rootfs=rootfs)

    def observe(self, outputs: StepOutputs) -> Observation:
        """Package steps are judged by their exit code alone."""
        return Observation()

    def detect(self, tree: Tree) -> tuple[Detection, ...]:
        """Nothing in a tree speaks for a base of its own."""
        return ()

    def _root(self, context: LowerContext, spec: BaseSpec) -> Rootfs:
        part = "root" if spec.apt or spec.dnf or spec.zypper or spec.apk or spec.tools or spec.users else ""
        if spec.from_ is None:
            name = spec.bootstrap or DEFAULT_SUITE
            if name.partition("/")[0] not in ("debian", "ubuntu") or not name.partition("/")[2]:
                raise layer_error(context.layer, f"cannot bootstrap {name!r}", hint='write "debian/SUITE"')
            vertex = bootstrap_vertex(context, name, context.platform, part)
            return Rootfs(vertex, FrozenMap({"PATH": BASE_PATH}))
        if spec.from_ == "scratch":
            vertex = context.graph.add(Vertex(ScratchOp(), (), context.platform, ANY, vertex_info(context.layer, part)))
            return Rootfs(vertex)
        pin = context.lock.bases.get(spec.from_)
        digest = pin.manifests.get(context.platform) if pin else None
        if pin is None or digest is None:
            what = (
                f"base {spec.from_} is not in lamella.lock"
                if pin is None
                else (f"base {spec.from_} has no manifest for {context.platform} in lamella.lock")
            )
            raise layer_error(context.layer, what, hint="run: lamella lock")
        op = ImageOp(spec.from_, digest)
        vertex = context.graph.add(Vertex(op, (), context.platform, context.platform, vertex_info(context.layer, part)))
        return Rootfs(vertex, FrozenMap({"PATH": BASE_PATH, **dict(pin.env)}))


def _spec(context: LowerContext) -> BaseSpec:
    spec = context.layer.spec
    assert isinstance(spec, BaseSpec)  # noqa: S101 - the planner's table pairs kind and adapter
    return spec


def _host(context: LowerContext, spec: BaseSpec) -> Rootfs:
    if spec.apt or spec.dnf or spec.zypper or spec.apk or spec.tools or spec.users:
        raise layer_error(
            context.layer,
            "host = true takes the host as it is: packages, tools and users cannot be added",
            hint="install them on the host, or use bootstrap",
        )
    tools = context.host.tools()
    info = vertex_info(context.layer, local=True)
    vertex = context.graph.add(Vertex(HostOp(tools.identity), (), context.platform, context.execution, info))
    return Rootfs(vertex, tools.env, host=True)


def package_manager(context: LowerContext, spec: BaseSpec) -> str:
    """Which of the package lists counts: that of the base's family by the lock, or the only one written."""
    written = [name for name in MANAGERS if getattr(spec, name)]
    if spec.from_ is None:
        return "apt"
    pin = context.lock.bases.get(spec.from_)
    for family in pin.os_family.split() if pin else ():
        if family in _FAMILIES:
            return _FAMILIES[family]
    if len(written) > 1:
        raise layer_error(context.layer, f"the package manager of {spec.from_} is not known", hint="run: lamella lock")
    return written[0] if written else "apt"


def _packages(context: LowerContext, spec: BaseSpec, below: Rootfs) -> Rootfs:
    manager = package_manager(context, spec)
    packages = tuple(getattr(spec, manager))
    if spec.repos:
        raise layer_error(context.layer, "'repos' is not yet supported", hint="see docs/reference/lamella-toml.md")
    written = [name for name in MANAGERS if getattr(spec, name)]
    if written and not packages:
        raise layer_error(
            context.layer,
            f"the base uses {manager}, but packages are listed for {', '.join(written)} only",
            hint=f"add a list {manager} = [...]",
        )
    commands = (*_install(manager, packages), *_tools(context, spec.tools))
    if not commands:
        return below
    env = FrozenMap({**dict(below.env), "DEBIAN_FRONTEND": "noninteractive"})
    op = ExecOp(commands=commands, env=env, network="host")
    part = "packages" if spec.users else ""
    vertex = context.graph.add(
        Vertex(
            op,
            (Input(below.vertex, RootfsOf(), "rootfs"),),
            context.platform,
            context.platform,
            vertex_info(context.layer, part),
        )
    )
    return replace(below, vertex=vertex)


def _install(manager: str, packages: tuple[str, ...]) -> tuple[Command, ...]:
    if not packages:
        return ()
    names = tuple(sorted(set(packages)))
    match manager:
        case "dnf":
            return (
                Command(("dnf", "install", "--assumeyes", "--setopt=install_weak_deps=False", *names)),
                Command(("sh", "-c", "dnf clean all && rm -rf /var/log/dnf* /var/cache/dnf /var/cache/libdnf5")),
            )
        case "zypper":
            return (
                Command(("zypper", "--non-interactive", "install", "--no-recommends", *names)),
                Command(("sh", "-c", "zypper clean --all && rm -rf /var/log/zypp /var/log/zypper.log")),
            )
        case "apk":
            return (Command(("apk", "add", "--no-cache", *names)),)
        case _:
            return apt_commands(names)


def _tools(context: LowerContext, tools: tuple[ToolSpec, ...]) -> tuple[Command, ...]:
    """Installs tools beside the system's programs; the version is the project's or the lock's."""
    return tuple(_tool(context, tool) for tool in tools)


def _tool(context: LowerContext, tool: ToolSpec) -> Command:
    locked = context.lock.tools.get(tool.name)
    version = tool.version or (locked.version if locked else None)
    match tool_source(tool):
        case "cargo":
            pin = ("--version", version) if version else ()
            return Command(("cargo", "install", "--locked", "--root", "/usr/local", *pin, tool.name))
        case "npm":
            return Command(("npm", "install", "--global", f"{tool.name}@{version}" if version else tool.name))
        case "uv":
            return Command(("uv", "tool", "install", f"{tool.name}=={version}" if version else tool.name))
        case _:
            raise layer_error(
                context.layer,
                f"tool {tool.name!r} does not say where it comes from",
                hint=f'write "cargo:{tool.name}", "npm:{tool.name}" or "uv:{tool.name}"',
            )


def tool_source(tool: ToolSpec) -> str:
    """``cargo``, ``npm`` or ``uv``: as written, or of names that exist in one place only by their field's habit; else
    empty.
    """
    if tool.source:
        return tool.source
    if tool.name.startswith("cargo-") or tool.name in ("sqlx-cli", "sccache", "just", "trunk", "wasm-pack"):
        return "cargo"
    return "npm" if tool.name in ("bun", "pnpm", "yarn", "typescript") else ""


def _users(context: LowerContext, spec: BaseSpec, below: Rootfs) -> Rootfs:
    if not spec.users:
        return below
    users = tuple(NewUser(u.name, u.uid, u.gid, u.home, u.shell, u.sudo) for u in spec.users)
    vertex = context.graph.add(
        Vertex(
            UsersOp(users),
            (Input(below.vertex, RootfsOf(), "rootfs"),),
            context.platform,
            context.platform,
            vertex_info(context.layer, "users"),
        )
    )
    return replace(below, vertex=vertex)
