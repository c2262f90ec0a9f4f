"""The toolchain that the adapter brings itself: rustup on a bootstrapped Debian, at a version that the project
decides.
"""

from __future__ import annotations

import re

from lamella.canonical import FrozenMap
from lamella.graph.op import Command
from lamella.oci.platform import machine_name
from lamella.stacks.base import LowerContext, Rootfs
from lamella.stacks.cargo.native import NativeNeeds
from lamella.stacks.cargo.settings import ToolchainFile
from lamella.stacks.toolchain import BASE_PATH, own_rootfs
from lamella.values import dataclass

__all__ = ["Toolchain", "cross_linker", "own_toolchain", "toolchain_version"]

_BASIS = ("ca-certificates", "gcc", "git", "libc6-dev", "pkg-config", "rustup")
_LINKER_PACKAGES = {"mold": "mold", "lld": "lld", "clang": "clang", "gold": "binutils", "bfd": "binutils"}
_WRAPPER_PACKAGES = {"sccache": "sccache", "ccache": "ccache"}
_DEBIAN_NAMES = {"aarch64": "arm64", "x86_64": "amd64"}
_NOT_FOR_BUILDING = ("clippy", "miri", "rust-analyzer", "rust-docs", "rustfmt")
_HOMES = FrozenMap({"RUSTUP_HOME": "/opt/rustup", "CARGO_HOME": "/opt/cargo"})


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A version of Rust and where it is written; ``pinned`` is false for a name that moves, such as ``stable``."""

    version: str
    origin: str
    components: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether the name means the same for ever."""
        return re.fullmatch(r"\d+\.\d+(\.\d+)?|(nightly|beta)-\d{4}-\d\d-\d\d", self.version) is not None


def toolchain_version(context: LowerContext, file: ToolchainFile | None, rust_version: str) -> Toolchain:
    """The project's toolchain file, else the lock's ``rust``, else the package's ``rust-version``, else
    ``stable``.
    """
    if file is not None and file.channel:
        return Toolchain(file.channel, file.path, file.components, file.targets)
    locked = context.lock.tools.get("rust")
    if locked is not None:
        return Toolchain(locked.version, "lamella.lock")
    if rust_version:
        return Toolchain(rust_version, "rust-version of the package")
    return Toolchain("stable", "nothing names one")


def own_toolchain(
    context: LowerContext, toolchain: Toolchain, needs: NativeNeeds, *, target: str, linker: str, wrapper: str
) -> Rootfs:
    """A root file system with that toolchain, a C compiler and what the locked crates need of the system."""
    packages = {*_BASIS, *needs.build}
    packages |= {
        table[name] for table, name in ((_LINKER_PACKAGES, linker), (_WRAPPER_PACKAGES, wrapper)) if name in table
    }
    packages |= _cross_packages(target, context.execution)
    targets = tuple(sorted({*toolchain.targets, *((target,) if target else ())}))
    components = [name for name in toolchain.components if name not in _NOT_FOR_BUILDING]
    install = ["rustup", "toolchain", "install", toolchain.version, "--profile", "minimal", "--no-self-update"]
    install += [part for name in components for part in ("--component", name)]
    install += [part for name in targets for part in ("--target", name)]
    commands = (Command(tuple(install)), Command(("rustup", "default", toolchain.version)))
    env = _HOMES.with_items({"PATH": BASE_PATH})
    rootfs = own_rootfs(context, packages=tuple(sorted(packages)), commands=commands, env=env)
    # the version is chosen already; a toolchain file in the sources must not make rustup look for components
    return Rootfs(rootfs.vertex, rootfs.env.with_items({"RUSTUP_TOOLCHAIN": toolchain.version}), rootfs.host)


def _cross_packages(target: str, execution: str) -> set[str]:
    """A C compiler and libc for another architecture or libc than that of the steps."""
    found = {"musl-tools"} if "musl" in target else set()
    if machine := _foreign_machine(target, execution):
        found |= {f"gcc-{machine.replace('_', '-')}-linux-gnu", f"libc6-dev-{_DEBIAN_NAMES[machine]}-cross"}
    return found


def cross_linker(target: str, execution: str) -> str:
    """The program that links for another architecture; empty for the steps' own."""
    machine = _foreign_machine(target, execution)
    return f"{machine}-linux-gnu-gcc" if machine and "gnu" in target else ""


def _foreign_machine(target: str, execution: str) -> str:
    machine = target.split("-", 1)[0]
    return machine if machine in _DEBIAN_NAMES and machine != machine_name(execution.split("/")[1]) else ""
