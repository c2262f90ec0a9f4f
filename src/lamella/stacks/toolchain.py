"""Root file systems that adapters bring themselves: a bootstrapped Debian with packages and tools."""

from __future__ import annotations

from lamella.canonical import FrozenMap
from lamella.graph.op import BootstrapOp, Command, ExecOp
from lamella.graph.vertex import Input, RootfsOf, Vertex
from lamella.stacks.base import LowerContext, Rootfs, vertex_info

__all__ = ["BASE_PATH", "DEFAULT_SUITE", "apt_commands", "bootstrap_vertex", "own_rootfs"]

DEFAULT_SUITE = "debian/trixie"
"""What is bootstrapped where the project names nothing: current stable, the first with a rustup package."""

BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

APT_ENV = FrozenMap({"DEBIAN_FRONTEND": "noninteractive", "PATH": BASE_PATH})

_APT_LEFTOVERS = (
    "/var/lib/apt/lists/*",
    "/var/cache/apt/*.bin",
    "/var/cache/apt/archives/*.deb",
    "/var/cache/debconf/*-old",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dpkg/*-old",
    "/var/log/apt/*",
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/log/bootstrap.log",
)
"""What an apt run leaves behind that differs from run to run (times, logs, indexes)."""


def apt_commands(packages: tuple[str, ...]) -> tuple[Command, ...]:
    """Commands that install Debian packages and leave nothing that depends on the hour. Packages are sorted."""
    if not packages:
        return ()
    install = ("apt-get", "install", "--yes", "--no-install-recommends", *sorted(set(packages)))
    return (
        Command(("apt-get", "update", "--error-on=any")),
        Command(install),
        Command(("sh", "-c", f"rm -rf {' '.join(_APT_LEFTOVERS)}")),
    )


def bootstrap_vertex(context: LowerContext, name: str, platform: str, part: str = "") -> str:
    """The vertex of a bootstrapped distribution, ``debian/bookworm[@SNAPSHOT]``, pinned as it or the lock says."""
    plain, _, asked = name.partition("@")
    distribution, _, suite = plain.partition("/")
    pin = context.lock.bootstraps.get(name)
    op = BootstrapOp(
        distribution=distribution,
        suite=suite,
        architecture=platform.split("/")[1],
        mirror=(pin.mirror or "") if pin else "",
        snapshot=asked or ((pin.snapshot or "") if pin else ""),
        include=("ca-certificates",),
    )
    return context.graph.add(Vertex(op, (), platform, platform, vertex_info(context.layer, part)))


def own_rootfs(
    context: LowerContext,
    *,
    packages: tuple[str, ...],
    commands: tuple[Command, ...] = (),
    env: FrozenMap[str, str] | None = None,
    part: str = "toolchain",
) -> Rootfs:
    """A bootstrapped Debian with ``packages``, then ``commands`` (with network), for a layer without ``on``."""
    platform = context.execution
    base = bootstrap_vertex(context, DEFAULT_SUITE, platform, f"{part}-base")
    environment = APT_ENV.with_items(env or {})
    op = ExecOp(commands=(*apt_commands(packages), *commands), env=environment, network="host")
    edge = Input(base, RootfsOf(), "rootfs")
    vertex = context.graph.add(Vertex(op, (edge,), platform, platform, vertex_info(context.layer, part)))
    return Rootfs(vertex, FrozenMap({name: value for name, value in environment.items() if name != "DEBIAN_FRONTEND"}))
