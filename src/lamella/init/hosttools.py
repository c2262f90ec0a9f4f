"""Whether a stack's steps can run with the tools of this machine (``host = true``), and why not."""

from __future__ import annotations

import re

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.project.spec import LayerSpec, NodeSpec
from lamella.stacks.base import Detection
from lamella.stacks.cargo.settings import read_toolchain
from lamella.stacks.cargo.workspace import load_workspace
from lamella.stacks.node.manifest import read_manifest
from lamella.stacks.node.semver import satisfies
from lamella.stacks.node.tools import node_wish
from lamella.stacks.node.workspace import find_workspace
from lamella.values import dataclass

__all__ = ["HostSight", "host_refusal", "missing_packages"]

_RELEASE = re.compile(r"^release: (\d+)\.(\d+)\.(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HostSight:
    """What ``init`` knows of this machine.

    ``programs`` are names on PATH; ``versions`` the tools' own words, as in ``HostTools.parts``. ``glibc`` is (0, 0)
    where there is none; ``suite`` is ``debian/bookworm`` on Debian, else empty. ``packages`` are installed ones, empty
    where that cannot be told.
    """

    programs: frozenset[str] = frozenset()
    versions: FrozenMap[str, str] = EMPTY_MAP
    glibc: tuple[int, int] = (0, 0)
    suite: str = ""
    packages: frozenset[str] = frozenset()


def host_refusal(tree: Tree, detection: Detection, host: HostSight) -> str:
    """Why the steps of a detected project cannot run with this machine's tools; empty when they can."""
    missing = [name for name in detection.toolchain if name not in host.programs]
    if not detection.toolchain:
        return "no step needs a toolchain"
    if missing:
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not on PATH"
    if detection.stack == "cargo":
        return _rust_refusal(tree, detection, host)
    return _node_refusal(tree, detection, host) if detection.stack == "node" else ""


def missing_packages(detection: Detection, host: HostSight) -> tuple[str, ...]:
    """Packages for the build that this machine lacks, as far as that can be told."""
    if not host.packages:
        return ()
    return tuple(name for name in detection.build_packages if name not in host.packages)


def _rust_refusal(tree: Tree, detection: Detection, host: HostSight) -> str:
    """Rustup takes the toolchain that the project names; inside a step it cannot fetch one that is not there."""
    file = read_toolchain(tree, detection.directory)
    if file is not None and file.channel:
        if _release(host, file.channel) is None:
            return f"{file.path} asks for Rust {file.channel}, which is not installed here"
        return ""
    wanted = _rust_version(tree, detection)
    release = _release(host, "")
    if wanted and release is not None and release < wanted:
        return f"the project needs Rust {'.'.join(map(str, wanted))}, here is {'.'.join(map(str, release))}"
    return ""


def _release(host: HostSight, channel: str) -> tuple[int, ...] | None:
    """The release that rustup or the system has for a channel (empty: the default one); None when it has none."""
    named = {name[6:]: text for name, text in host.versions.items() if name.startswith("rustc ")}
    plain = host.versions.get("rustc", "")
    if not named:
        release = _parsed(plain)
        fits = release is None or not channel[:1].isdigit() or _numbers(channel) == release[: len(_numbers(channel))]
        return (release or (0,)) if plain and fits and "nightly" not in channel else None
    wanted = channel or plain.partition("default ")[2]
    for name, text in sorted(named.items()):
        if name == wanted or name.startswith(f"{wanted}-") or re.match(rf"{re.escape(wanted)}\.\d+-", name):
            return _parsed(text) or (0,)
    return None


def _parsed(text: str) -> tuple[int, ...] | None:
    match = _RELEASE.search(text)
    return tuple(int(part) for part in match.groups()) if match else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _rust_version(tree: Tree, detection: Detection) -> tuple[int, ...]:
    """The highest ``rust-version`` among the members."""
    try:
        workspace = load_workspace(tree, detection.directory)
        return max((_numbers(workspace.package(member).rust_version) for member in workspace.members), default=())
    except ConfigError:
        return ()


def _node_refusal(tree: Tree, detection: Detection, host: HostSight) -> str:
    if "node" not in detection.toolchain:
        return ""
    here = host.versions.get("node", "").removeprefix("v")
    try:
        manifest = read_manifest(tree, detection.directory)
        layer = LayerSpec("ui", NodeSpec(dir=detection.directory))
        wish = node_wish(tree, find_workspace(tree, layer, detection.directory)) if manifest else ""
    except ConfigError:
        return ""
    if wish and here and satisfies(here, wish) is False:
        return f"the project asks for Node {wish}, here is {here}"
    return ""
