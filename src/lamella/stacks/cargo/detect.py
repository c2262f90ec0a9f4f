"""Cargo projects in a tree, for ``lamella init``: workspaces and packages with binaries, and what they need
around them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.stacks.base import DetectedLayer, Detection
from lamella.stacks.cargo.document import MANIFEST
from lamella.stacks.cargo.lockfile import LockedPackage
from lamella.stacks.cargo.matching import locked_package
from lamella.stacks.cargo.native import NativeNeeds, native_needs
from lamella.stacks.cargo.outside import OutsideRead, outside_reads
from lamella.stacks.cargo.package import Package
from lamella.stacks.cargo.places import is_below, joined
from lamella.stacks.cargo.serving import Server, find_servers
from lamella.stacks.cargo.settings import read_toolchain
from lamella.stacks.cargo.tomltext import toml_value
from lamella.stacks.cargo.workspace import Workspace, load_workspace
from lamella.values import replace

__all__ = ["detect_cargo"]

_SKIPPED = ("vendor", "target", "node_modules", "third_party", "tests", "examples", "fixtures", "fuzz", "benches")
"""Folders whose manifests belong to somebody else or to tests."""


def detect_cargo(tree: Tree) -> tuple[Detection, ...]:
    """One detection per workspace or lone package with a binary, outermost first. Broken manifests are passed
    over.
    """
    found: list[Detection] = []
    seen: list[str] = []
    for path in sorted(tree.paths((f"**/{MANIFEST}",)), key=lambda path: (path.count("/"), path)):
        directory = posixpath.dirname(path)
        if any(part in _SKIPPED for part in directory.split("/")):
            continue
        try:
            found += tuple(_detections(tree, directory, seen))
        except ConfigError:
            continue
    return tuple(found)


def _detections(tree: Tree, directory: str, seen: list[str]) -> Iterator[Detection]:
    """The project whose root is in ``directory``, one per server in it, or else its main binary; members of one that
    was found before are not projects of their own.
    """
    workspace = load_workspace(tree, directory)
    if workspace.directory != directory or any(is_below(directory, place) and directory in seen for place in seen):
        return
    seen.extend(workspace.members)
    packages = [workspace.package(member) for member in workspace.members]
    runnable = [package for package in packages if package.binaries]
    if not runnable:
        return
    servers = find_servers(tree, workspace)
    for server in servers:
        reason = f"{server.where} shows that {server.binary} is a server"
        layer = "app" if len(servers) == 1 else server.binary
        yield _served(_detection(tree, workspace, runnable, server.package, server.binary, reason, layer), server)
    if not servers:
        package, reason = _main_package(workspace, runnable)
        yield _detection(tree, workspace, runnable, package, package.default_run or _main_binary(package), reason)


def _detection(
    tree: Tree,
    workspace: Workspace,
    runnable: list[Package],
    package: Package,
    binary: str,
    reason: str,
    name: str = "app",
) -> Detection:
    closure = workspace.closure(package.directory)
    needs = native_needs(_locked_for(workspace, closure))
    reads = outside_reads(tree, closure)
    reasons = (reason, *_reasons(tree, workspace, runnable, package, needs))
    layer = _layer(name, workspace, package, binary, reads, reasons)
    return Detection(
        stack="cargo",
        directory=workspace.directory,
        layers=(layer,),
        base_packages=needs.run,
        build_packages=needs.build,
        toolchain=("cargo", "rustc", "cc"),
        in_image=(layer.name,),
        entrypoint=(f"/app/{binary}",),
        version=f"cargo:{package.directory or '.'}",
        name=binary,
    )


def _locked_for(workspace: Workspace, packages: tuple[Package, ...]) -> tuple[LockedPackage, ...]:
    """The entries of the lock that some own packages need; none without a lock."""
    if not workspace.tree.exists(workspace.lock_path):
        return ()
    lock = workspace.lock
    return lock.reachable([entry for package in packages if (entry := locked_package(lock, package)) is not None])


def _served(detection: Detection, server: Server) -> Detection:
    """With what the sources say of its port, health route and address."""
    why = {"expose": server.port_where, "health": server.health_where, "data": server.data_where}
    env: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    if server.loopback and server.variable:
        env = {server.variable: f"0.0.0.0:{server.port}"}
        why["env"] = f"{server.loopback_where} listens on {server.loopback} otherwise, which nobody outside reaches"
    elif server.loopback:
        text = f"{server.loopback_where}: {server.binary} listens on {server.loopback}; make it 0.0.0.0"
        notes = (f"{text}, or nobody outside of the container reaches it",)
    return replace(
        detection, expose=server.port, health=server.health, env=FrozenMap(env), why=FrozenMap(why), notes=notes
    )


def _main_package(workspace: Workspace, runnable: list[Package]) -> tuple[Package, str]:
    """The package that an image is most likely for, and why."""
    if len(runnable) == 1:
        return runnable[0], f"{runnable[0].name} is the only package of {workspace.root.path} with a binary"
    written = (workspace.root.workspace or {}).get("default-members", ())
    defaults = {joined(workspace.directory, str(entry)) for entry in written}
    chosen = [package for package in runnable if package.directory in defaults]
    if len(chosen) == 1:
        return chosen[0], f"{chosen[0].name} is the only default member of {workspace.root.path} with a binary"
    for package in runnable:
        if package.directory == workspace.directory:
            return package, f"{package.name} is the package of the workspace's root"
    candidates = chosen or runnable
    shipped = [package for package in candidates if _is_published(package)] or candidates
    ranked = sorted(shipped, key=lambda package: (-_reach(workspace, package), package.directory))
    return ranked[0], f"{ranked[0].name} uses the most packages of {workspace.root.path} among those with a binary"


def _is_published(package: Package) -> bool:
    """Whether the manifest lets it be published: tools for tests and benchmarks mostly are not."""
    return package.raw.get("package", {}).get("publish") not in (False, [])


def _reach(workspace: Workspace, package: Package) -> int:
    """How many own packages it is made of."""
    try:
        return len(workspace.closure(package.directory))
    except ConfigError:
        return 0


def _main_binary(package: Package) -> str:
    names = [binary.name for binary in package.binaries]
    return package.name if package.name in names else names[0]


def _layer(
    name: str,
    workspace: Workspace,
    package: Package,
    binary: str,
    reads: tuple[OutsideRead, ...],
    why: tuple[str, ...],
) -> DetectedLayer:
    """The layer's table: only what is not found without saying it."""
    keys: dict[str, str] = {"dir": workspace.directory} if workspace.directory else {}
    if package.name != binary or len([m for m in workspace.members if workspace.package(m).binaries]) > 1:
        keys["package"] = package.name
    keys["bin"] = binary
    table = ", ".join(f"{key} = {toml_value(value)}" for key, value in keys.items())
    patterns = [read.pattern for read in reads]
    named = [f"{read.file}:{read.line} names {read.pattern}, which lies outside its crate" for read in reads]
    queries = posixpath.join(workspace.directory, ".sqlx")
    if workspace.tree.exists(queries) and "package" not in workspace.root.raw:
        patterns.append(f"{queries}/**")
        named.append(f"{queries} holds the query data that SQLx's macros read without a database")
    inputs = (f"inputs = {toml_value(patterns)}",) if patterns else ()
    return DetectedLayer(name, (*inputs, f"cargo = {{ {table} }}"), (*why, *named))


def _reasons(
    tree: Tree, workspace: Workspace, runnable: list[Package], chosen: Package, needs: NativeNeeds
) -> Iterator[str]:
    others = sorted(package.name for package in runnable if package.name != chosen.name)
    if others:
        shown = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
        yield f"other packages with binaries: {shown}"
    toolchain = read_toolchain(tree, workspace.directory)
    if toolchain is not None and toolchain.channel:
        yield f"{toolchain.path} asks for Rust {toolchain.channel}"
    for name, crates in needs.why:
        yield f"{', '.join(crates)} needs the Debian package {name}"
    if not tree.exists(workspace.lock_path):
        yield f"{workspace.lock_path} is missing: run cargo generate-lockfile, and keep it out of ignore files"
