"""From what the adapters found to layers, images and the reasons for them. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.init.dockerfile import DockerfileFacts, read_dockerfile
from lamella.stacks.base import DetectedLayer, Detection, Stack

__all__ = ["Proposal", "ProposedImage", "ProposedLayer", "propose"]

STACKS = ("cargo", "python", "node")


@dataclass(frozen=True, slots=True)
class ProposedLayer:
    """One ``[layer.NAME]`` table: its lines, each with the reason for it (empty: none to give)."""

    name: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ProposedImage:
    """One ``[image.NAME]`` table."""

    name: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A whole project file. ``notes`` are said besides."""

    name: str
    version: str
    version_why: str
    layers: tuple[ProposedLayer, ...]
    images: tuple[ProposedImage, ...]
    notes: tuple[str, ...] = ()


def propose(
    tree: Tree, folder: str, stacks: Mapping[str, Stack], host_programs: Iterable[str], *, use_host: bool | None = None
) -> Proposal:
    """A proposal for a tree in a folder called ``folder``.

    ``host_programs`` are names on the host's PATH; ``use_host`` True or False forces where steps run, None takes
    the host's tools when all that a stack needs are there. Raises ConfigError when nothing is recognised.
    """
    found = tuple(d for kind in STACKS if kind in stacks for d in stacks[kind].detect(tree))
    if not found:
        raise ConfigError(
            "no Cargo workspace, Python or JavaScript project was found here",
            hint="write lamella.toml by hand: docs/guides/first-project.md has the smallest one",
        )
    return _Proposing(tree, folder, found, frozenset(host_programs), use_host).proposal()


@dataclass
class _Proposing:
    """A proposal being made."""

    tree: Tree
    folder: str
    found: tuple[Detection, ...]
    programs: frozenset[str]
    use_host: bool | None
    layers: dict[str, ProposedLayer] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def proposal(self) -> Proposal:
        docker = self._dockerfile()
        servers = [d for d in self.found if d.stack != "node" or d.entrypoint]
        pages = [d for d in self.found if d not in servers]
        embedded = {page.directory: self._embedding(page, servers) for page in pages}
        for detection in self.found:
            self._add_layers(detection, pages, embedded)
        images = [self._server_image(d, docker) for d in servers]
        images += [self._page_image(page) for page in pages if embedded[page.directory] is None]
        named = next((d for d in servers if d.name), self.found[0])
        version, why = next(((d.version, d) for d in (*servers, *pages) if d.version), ("", None))
        return Proposal(
            _slug(named.name or self.folder),
            version,
            f"where {why.stack} keeps it" if why else "",
            tuple(self.layers.values()),
            tuple(images),
            tuple(self.notes),
        )

    def _dockerfile(self) -> DockerfileFacts:
        for path in ("Dockerfile", "docker/Dockerfile", ".docker/Dockerfile"):
            if self.tree.exists(path):
                return read_dockerfile(self.tree.read(path))
        return DockerfileFacts()

    def _embedding(self, page: Detection, servers: list[Detection]) -> Detection | None:
        """The Rust project whose sources name the page's output folder: it embeds or serves it at compile time."""
        output = _output(page)
        if not output:
            return None
        wanted = re.compile(
            rb"[\"'/]" + re.escape(posixpath.join(page.directory, output).lstrip("./")).encode() + rb"[\"'/]"
        )
        for server in servers:
            if server.stack != "cargo":
                continue
            for path in self.tree.paths(("**/*.rs",)):
                if path.startswith(f"{page.directory}/"):
                    continue
                if wanted.search(self.tree.read(path)):
                    self.notes.append(f"{path} names {page.directory}/{output}: the page is built before the binary")
                    return server
        return None

    def _add_layers(self, detection: Detection, pages: list[Detection], embedded: dict[str, Detection | None]) -> None:
        toolchain = self._toolchain(detection)
        for layer in detection.layers:
            lines = [(line, why) for line, why in zip(layer.lines, _padded(layer), strict=True)]
            if toolchain and _runs_steps(detection, layer):
                lines.insert(0, (f'on = "{toolchain}"', "its steps run there"))
            needs = [page for page in pages if embedded.get(page.directory) is detection]
            if needs and _runs_steps(detection, layer):
                pairs = ", ".join(f'{p.layers[-1].name} = "{posixpath.join(p.directory, _output(p))}"' for p in needs)
                lines.insert(1 if toolchain else 0, (f"needs = {{ {pairs} }}", "the page that the sources name"))
            self.layers[layer.name] = ProposedLayer(layer.name, tuple(lines))

    def _toolchain(self, detection: Detection) -> str:
        """The host as toolchain, when wanted and complete; empty for the stack's own."""
        if not detection.toolchain or self.use_host is False:
            return ""
        missing = [name for name in detection.toolchain if name not in self.programs]
        if missing:
            if self.use_host:
                raise ConfigError(
                    f"--host: {', '.join(missing)} needed by {detection.stack} is not on PATH", hint="install it"
                )
            return ""
        why = f"{', '.join(detection.toolchain)} are on this machine: fastest for a trial, results stay local"
        self.layers.setdefault("host", ProposedLayer("host", (("host = true", why),)))
        return "host"

    def _base(self, name: str, packages: Iterable[str], docker: DockerfileFacts) -> str:
        wanted = sorted(set(packages))
        lines = [('bootstrap = "debian/trixie"', "Debian 13 from its archive; nothing is pulled")]
        if docker.base and docker.base != "scratch":
            self.notes.append(
                f'the Dockerfile ends on {docker.base}: write from = "{docker.base}" in [layer.{name}] to keep it, '
                "then run lamella lock"
            )
        if wanted:
            quoted = ", ".join(f'"{package}"' for package in wanted)
            lines.append((f"apt = [{quoted}]", "what the programs need at run time"))
        lines.append(('users = [{ name = "app", uid = 10001, gid = 10001 }]', "not root"))
        lines.append(('freshness = "7d"', "lamella build --refresh renews packages older than this"))
        self.layers[name] = ProposedLayer(name, tuple(lines))
        return name

    def _server_image(self, detection: Detection, docker: DockerfileFacts) -> ProposedImage:
        several = sum(1 for d in self.found if d.stack != "node" or d.entrypoint) > 1
        name = _slug(detection.name or self.folder)
        base = self._base(f"{name}-base" if several else "base", (*detection.base_packages, "ca-certificates"), docker)
        parts = ", ".join(f'"{part}"' for part in (base, *detection.in_image))
        lines = [(f"layers = [{parts}]", "base below, what changes most on top"), ('user = "app"', "not root")]
        if detection.entrypoint:
            words = ", ".join(f'"{word}"' for word in detection.entrypoint)
            lines.append((f"entrypoint = [{words}]", "guessed from the sources: check it"))
        port = docker.expose or detection.expose
        if port:
            lines.append((f"expose = [{port}]", "from the Dockerfile" if docker.expose else "guessed: check it"))
        if detection.health and port:
            lines.append((f'healthcheck = {{ http = "{detection.health}" }}', "the sources have this route"))
        return ProposedImage(name, tuple(lines))

    def _page_image(self, page: Detection) -> ProposedImage:
        """A static page behind nginx."""
        layer = page.layers[-1]
        name = _slug(page.name or page.directory or self.folder)
        base, files = f"{layer.name}-nginx", f"{layer.name}-files"
        packages = '["nginx-light"]'
        self.layers[base] = ProposedLayer(
            base,
            (
                ('bootstrap = "debian/trixie"', "Debian 13 from its archive; nothing is pulled"),
                (f"apt = {packages}", "serves the page"),
            ),
        )
        self.layers[files] = ProposedLayer(
            files, ((f'needs = {{ {layer.name} = "/var/www/html" }}', "where Debian's nginx looks for it"),)
        )
        lines = (
            (f'layers = ["{base}", "{files}"]', "the server rarely changes, the page often does"),
            ('entrypoint = ["nginx", "-g", "daemon off;"]', "in the foreground"),
            ("expose = [80]", ""),
        )
        return ProposedImage(name, lines)


def _padded(layer: DetectedLayer) -> tuple[str, ...]:
    """A reason for each line, empty where the adapter gave none."""
    return (*layer.why, *("" for _ in layer.lines))[: len(layer.lines)]


def _runs_steps(detection: Detection, layer: DetectedLayer) -> bool:
    """Whether a layer's kind runs code in a toolchain."""
    if detection.stack == "python":
        return any("project" in line for line in layer.lines)
    return not any(line.startswith("files") for line in layer.lines)


def _output(page: Detection) -> str:
    """The output folder that a page's layer names."""
    for layer in page.layers:
        for line in layer.lines:
            match = re.search(r'\boutput\s*=\s*"([^"]+)"', line)
            if match:
                return match[1]
    return ""


def _slug(text: str) -> str:
    """A name that is legal as a repository part."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return slug or "project"
