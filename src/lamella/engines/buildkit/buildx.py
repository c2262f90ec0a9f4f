"""buildx as a value: which program, which builder, which nodes; and the one way to call it.

A builder is found without starting anything, but for drivers whose daemon buildx itself keeps (docker-container,
kubernetes): a sleeping one is woken. What cannot be used says why, before a file is staged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lamella.canonical import FrozenMap
from lamella.engines.buildkit.levels import Level, buildkit_of_engine, level_of
from lamella.errors import ConfigError, LamellaError, RegistryError, SandboxError
from lamella.process import base_env, run, which
from lamella.values import dataclass, field

__all__ = ["Builder", "Buildx", "Node", "find_builder", "find_buildx", "level_of_node", "parse_inspect"]

_KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_*", "SSH_*", "DOCKER_*", "BUILDX_*", "BUILDKIT_*", "KUBECONFIG",
    "KUBERNETES_*", "AWS_*", "GOOGLE_*", "AZURE_*", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy",
    "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip
"""What buildx and its drivers read of the environment. SOURCE_DATE_EPOCH is not among it: buildx would pass it on, and
a commit's time would make every step of the builder's cache a miss (MECHANICS A8).
"""

_QUIET = {"BUILDX_METADATA_PROVENANCE": "disabled", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDX_GIT_INFO": "false"}
"""What buildx adds by itself and nobody reads."""

_PLUGIN = "docker-buildx"
_PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
"""Where the docker program looks for its plugins."""

_UNKNOWN = re.compile(r"v?0\.0\.|\D*$")
"""How a BuildKit names its version when it was built without one."""

_KEEPS_DAEMON = frozenset({"docker-container", "kubernetes"})
_LOOK_SECONDS = 40.0
_WAKE_SECONDS = 300.0
_INSTALL = "install the docker-buildx plugin, or build here with: --engine local"


@dataclass(frozen=True, slots=True)
class Node:
    """One daemon of a builder. ``platforms`` are as it names them, its own first; ``pinned`` those its user gave it.

    ``version`` is BuildKit's, ``engine`` that of the Docker Engine around it where BuildKit does not say its own;
    both empty when unknown. ``status`` is buildx's word, ``error`` what it said instead.
    """

    name: str
    endpoint: str
    status: str
    version: str
    platforms: tuple[str, ...]
    pinned: tuple[str, ...] = ()
    engine: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Builder:
    """A builder as buildx knows it."""

    name: str
    driver: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Buildx:
    """The program with its part of the user's environment."""

    program: str
    env: FrozenMap[str, str] = field(repr=False)

    def ask(self, *arguments: str, seconds: float = _LOOK_SECONDS) -> tuple[int, str, str]:
        """Exit status, output and error text of a short command. Raises ResourceError when it takes too long."""
        done = run((self.program, *arguments), env=self.env, check=False, timeout=seconds, error=SandboxError)
        return done.code, done.text, done.stderr.decode("utf-8", "replace").strip()

    def inspect(self, name: str, *, wake: bool = False) -> Builder:
        """A builder by name, empty for the current one. Raises ConfigError when there is none of that name."""
        words = ("inspect", *(("--bootstrap",) if wake else ()), *((name,) if name else ()))
        code, out, said = self.ask(*words, seconds=_WAKE_SECONDS if wake else _LOOK_SECONDS)
        if code:
            raise _refusal(name, said.splitlines()[-1] if said else f"buildx ended with {code}", wake=wake)
        return parse_inspect(out)


def _refusal(name: str, said: str, *, wake: bool) -> LamellaError:
    """What an ``inspect`` that failed is called, by buildx's last line."""
    reason = said.removeprefix("ERROR: ")
    if "no builder" in reason:
        return ConfigError(reason, hint="see `docker buildx ls`; create one with `docker buildx create --name NAME`")
    shown = f"builder {name!r}" if name else "the builder of buildx"
    if wake:
        hint = f"`docker buildx inspect --bootstrap {name}` says more; choose another --builder, or --engine local"
        return RegistryError(f"{shown} is not running and cannot be started: {reason}", hint=hint)
    return RegistryError(f"{shown} does not answer: {reason}", hint="start its daemon")


def find_buildx(environ: Mapping[str, str], folders: tuple[str, ...] = _PLUGIN_FOLDERS) -> Buildx:
    """The program, as a plugin of docker (the user's, or in ``folders``) or by itself. Raises SandboxError (8)."""
    env = FrozenMap({**base_env(environ, _KEPT), **_QUIET})
    config = environ.get("DOCKER_CONFIG") or f"{environ.get('HOME', '')}/.docker"
    for folder in (f"{config}/cli-plugins", *folders):
        plugin = Path(folder) / _PLUGIN
        if plugin.is_file():
            return Buildx(str(plugin), env)
    program = which(_PLUGIN, environ) or which("buildx", environ)
    if program is None:
        raise SandboxError("the BuildKit engine needs buildx, and it is not installed", hint=_INSTALL)
    return Buildx(program, env)


def find_builder(buildx: Buildx, name: str = "") -> Builder:
    """The builder that ``name``, else BUILDX_BUILDER, else buildx's own choice says, with a daemon that answers.

    Raises ConfigError (2) for an unknown name, RegistryError (6) when no daemon answers.
    """
    builder = buildx.inspect(name)
    if builder.driver in _KEEPS_DAEMON and any(node.status != "running" for node in builder.nodes):
        builder = buildx.inspect(builder.name, wake=True)
    answering = tuple(_with_engine(buildx, builder, node) for node in builder.nodes if _answers(node))
    if answering:
        return Builder(builder.name, builder.driver, answering)
    said = next((node.error for node in builder.nodes if node.error), "")
    where = ", ".join(node.endpoint or node.name for node in builder.nodes) or builder.name
    raise RegistryError(
        f"builder {builder.name!r} does not answer at {where}{f': {said}' if said else ''}",
        hint="start its daemon, choose another builder with --builder, or build here with: --engine local",
    )


def _answers(node: Node) -> bool:
    return node.status == "running" and not node.error


def _with_engine(buildx: Buildx, builder: Builder, node: Node) -> Node:
    """The node with its Docker Engine's version where BuildKit's own is unknown: distributions build it without."""
    if builder.driver != "docker" or not _UNKNOWN.match(node.version):
        return node
    docker = which("docker", buildx.env)
    if docker is None:
        return node
    context = ("--context", node.endpoint) if node.endpoint not in ("", "default") else ()
    words = (docker, *context, "version", "--format", "{{.Server.Version}}")
    try:
        engine = run(words, env=buildx.env, check=False, timeout=_LOOK_SECONDS).text.strip()
    except LamellaError:
        engine = ""
    return Node(node.name, node.endpoint, node.status, node.version, node.platforms, node.pinned, engine, node.error)


def level_of_node(node: Node) -> Level:
    """What a node can do. Raises SandboxError (8) for a version that is too old or that nobody knows."""
    return level_of(buildkit_of_engine(node.engine) if node.engine else node.version)


def parse_inspect(text: str) -> Builder:
    """What ``buildx inspect`` printed: fields of the builder, then those of each node."""
    head, _, rest = text.partition("\nNodes:\n")
    top = _fields(head)
    nodes: list[Node] = []
    for part in re.split(r"\n(?=Name:\s)", rest):
        found = _fields(part)
        if found:
            nodes.append(_node(found))
    if not nodes:
        nodes.append(Node(top.get("Name", ""), "", "error", "", (), error=top.get("Error", "")))
    return Builder(top.get("Name", ""), top.get("Driver", ""), tuple(nodes))


def _node(found: Mapping[str, str]) -> Node:
    names = [name.strip() for name in found.get("Platforms", "").split(",") if name.strip()]
    platforms = tuple(name.removesuffix("*") for name in names)
    pinned = tuple(name.removesuffix("*") for name in names if name.endswith("*"))
    error = found.get("Error", "")
    version = found.get("BuildKit version", found.get("Buildkit", ""))
    status = found.get("Status", "error" if error else "")
    return Node(found.get("Name", ""), found.get("Endpoint", ""), status, version, platforms, pinned, error=error)


def _fields(text: str) -> dict[str, str]:
    """``Name: value`` lines that are not indented; the first of each name counts."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name and not name.startswith((" ", "\t")):
            found.setdefault(name.strip(), value.strip())
    return found
