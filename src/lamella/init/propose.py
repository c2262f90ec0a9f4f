"""From what the adapters found to layers, images and the reasons for them. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from lamella.canonical import EMPTY_MAP
from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.init.bases import BaseChoice, choose_base, interpreter_wish
from lamella.init.clues import clues
from lamella.init.evidence import Evidence, find_evidence, read_foreign_files
from lamella.init.hosttools import HostSight, host_refusal, missing_packages
from lamella.init.images import APP, ImageParts, container_user, image_table, moved
from lamella.init.pages import PageUse, find_uses, page_output
from lamella.init.routes import SEND_INDEX, own_routes
from lamella.init.values import Line, Proposal, Table, quoted, string_list
from lamella.init.writes import find_write
from lamella.stacks.base import DetectedLayer, Detection, Stack
from lamella.values import dataclass, field, replace

__all__ = ["Asked", "propose"]

STACKS = ("cargo", "python", "node")

_BUILD_ONLY = re.compile(
    r"build-essential|gcc|g\+\+|clang|cmake|make|ninja-build|pkg-config|rustc|cargo|python3?(?:-pip|-venv|-dev|-setuptools)?|"
    r"nodejs|npm|.*-dev|linux-headers-.*|ca-certificates|apt-transport-https|software-properties-common"
)
"""Packages of Dockerfiles that only a compile needs, or that come anyway."""

_NOT_DATA = re.compile(
    r"\.|src|crates|bin|lib|tests?|target|dist|build|node_modules|package(?:-lock)?\.json|.*\.lock|.*\.rs|.*\.py|"
    r"Cargo\.toml|Cargo\.lock|pyproject\.toml|requirements.*|.*\.sh"
)
"""Sources of COPY that are built, or that layers hold already."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller wants of a proposal.

    ``host`` True or False forces where steps run; None takes the host's tools for Rust and JavaScript where they are
    there and fit (rustup's downloads may be out of reach; Python's build steps need only packages of the archive).
    ``prefer`` is a Debian suite to take before the default one, ``archive`` says that images cannot be pulled: Debian's
    archive is taken wherever the project's own metadata allows its interpreter. ``foreign`` are Dockerfiles and compose
    files by path: ignore files often leave them out of the tree.
    """

    host: bool | None = None
    prefer: str = ""
    archive: bool = False
    foreign: Mapping[str, bytes] = field(default_factory=lambda: EMPTY_MAP)


def propose(
    tree: Tree,
    folder: str,
    stacks: Mapping[str, Stack],
    host: HostSight,
    asked: Asked = Asked(),  # noqa: B008 - frozen value
) -> Proposal:
    """A proposal for a tree in a folder called ``folder``; raises ConfigError when nothing is recognised."""
    found = tuple(d for kind in STACKS if kind in stacks for d in stacks[kind].detect(tree))
    if not found:
        raise ConfigError(
            "no Cargo workspace, Python or JavaScript project was found here",
            hint="write lamella.toml by hand: docs/guides/first-project.md has the smallest one",
            details=clues(tree),
        )
    return _Proposing(tree, folder, _named_apart(found), host, asked).proposal()


def _named_apart(found: tuple[Detection, ...]) -> tuple[Detection, ...]:
    """Layers of two projects never have one name: those of the second get the project's name in front."""
    taken: set[str] = set()
    out = []
    for detection in found:
        names = {}
        for layer in detection.layers:
            name = layer.name
            if name in taken or name in ("base", "host"):
                plain = _slug(detection.name or posixpath.basename(detection.directory) or detection.stack)
                name = plain if layer.name == "app" and plain not in taken else f"{plain}-{layer.name}"
            taken.add(name)
            names[layer.name] = name
        layers = tuple(replace(layer, name=names[layer.name]) for layer in detection.layers)
        out.append(replace(detection, layers=layers, in_image=tuple(names[name] for name in detection.in_image)))
    return tuple(out)


@dataclass
class _Proposing:
    """A proposal being made: its tables by name, in the order in which they are written."""

    tree: Tree
    folder: str
    found: tuple[Detection, ...]
    host: HostSight
    asked: Asked
    bases: dict[str, Table] = field(default_factory=dict)
    layers: dict[str, Table] = field(default_factory=dict)
    images: dict[str, Table] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    suites: set[str] = field(default_factory=set)

    def proposal(self) -> Proposal:
        """All tables."""
        servers = tuple(d for d in self.found if not page_output(d))
        pages = tuple(d for d in self.found if page_output(d))
        files = read_foreign_files(self.asked.foreign)
        self.notes += files.notes
        uses = find_uses(self.tree, pages, servers)
        on_host = {id(d): self._runs_on_host(d) for d in self.found}
        for detection in self.found:
            self._add_layers(detection, [use for use in uses if use.compiled and use.server is detection], on_host)
        for server in servers:
            evidence = find_evidence(server, servers, files)
            served = [use for use in uses if not use.compiled and use.server is server]
            self._add_server(server, evidence, served, local=on_host[id(server)])
        shown = {id(use.page) for use in uses}
        for page in pages:
            if id(page) not in shown:
                self._add_page(page)
        return Proposal(
            self._project(servers, pages),
            (*self.bases.values(), *self.layers.values(), *self.images.values()),
            tuple(dict.fromkeys(self.notes)),
            tuple(sorted(self.suites)),
            any(on_host.values()),
        )

    def _project(self, servers: tuple[Detection, ...], pages: tuple[Detection, ...]) -> Table:
        named = next((d for d in (*servers, *pages) if d.name), self.found[0])
        name = self.folder if len(servers) > 1 else named.name or self.folder
        lines = [Line("schema = 1"), Line(f"name = {quoted(_slug(name))}")]
        versioned = next((d for d in (*servers, *pages) if d.version), None)
        if versioned is not None:
            kind, _, place = versioned.version.partition(":")
            manifest = posixpath.normpath(posixpath.join(place, {"cargo": "Cargo.toml"}.get(kind, "pyproject.toml")))
            lines.append(Line(f"version = {quoted(versioned.version)}", (f"{manifest} says it",)))
        return Table("project", tuple(lines))

    def _runs_on_host(self, detection: Detection) -> bool:
        """Whether a project's steps use this machine's tools. Raises ConfigError where that is asked and cannot be."""
        if self.asked.host is False or not detection.toolchain:
            return False
        if self.asked.host is None and detection.stack == "python":
            return False
        refusal = host_refusal(self.tree, detection, self.host)
        if refusal and self.asked.host:
            raise ConfigError(f"--host: {detection.stack} cannot use this machine's tools: {refusal}")
        if refusal:
            self.notes.append(f"{detection.stack} steps install their own toolchain: {refusal}")
        lacking = missing_packages(detection, self.host)
        if lacking and not refusal:
            self.notes.append(
                f"the compile needs packages that this machine lacks: apt-get install {' '.join(lacking)}"
            )
        return not refusal

    # ---- layers -------------------------------------------------------------------------------------------------

    def _add_layers(self, detection: Detection, compiled: list[PageUse], on_host: Mapping[int, bool]) -> None:
        for layer in detection.layers:
            lines = [Line(line) for line in layer.lines]
            if _runs_steps(detection, layer):
                if compiled:
                    pairs = {use.page.layers[-1].name: page_output(use.page) for use in compiled}
                    text = ", ".join(f"{name} = {quoted(path)}" for name, path in pairs.items())
                    why = tuple(f"{use.where} compiles {page_output(use.page)} in" for use in compiled)
                    lines.insert(0, Line(f"needs = {{ {text} }}", why))
                if on_host[id(detection)]:
                    lines.insert(0, self._on_host(detection))
            self.layers[layer.name] = Table(f"layer.{layer.name}", tuple(lines), layer.why)

    def _on_host(self, detection: Detection) -> Line:
        if "host" not in self.bases:
            why = "this machine's own tools, read-only: fastest for a trial; results stay on this machine"
            self.bases["host"] = Table("layer.host", (Line("host = true"),), (why,))
        verb = "is" if len(detection.toolchain) == 1 else "are"
        why = f"{', '.join(detection.toolchain)} {verb} there; otherwise a step installs what it needs"
        return Line('on = "host"', (why,))

    def _base(self, image: str, server: Detection, evidence: Evidence, *, local: bool) -> tuple[str, str, BaseChoice]:
        """The base of a server's image: the layer's name, the user's name, and why it is that one. Equal bases of
        several images are one.
        """
        compiled_here = local and server.stack == "cargo"
        wish = interpreter_wish(self.tree, server, evidence, archive=self.asked.archive)
        # What Lamella's own toolchain links stands on Debian 13; a base may not be older.
        floor = self.host.glibc if compiled_here else (2, 41) if server.stack == "cargo" else (0, 0)
        choice = choose_base(
            evidence,
            wish,
            floor=floor,
            host_suite=self.host.suite if compiled_here else "",
            prefer=self.asked.prefer,
        )
        if choice is None and floor == (0, 0):
            raise ConfigError(
                f"{wish.why}, and no Debian suite or official image has it",
                hint="write a version that there is, or a lamella.toml with a base of your own",
            )
        if choice is None:
            raise ConfigError(
                f"programs made on this machine need glibc {floor[0]}.{floor[1]}, and no Debian suite has it yet",
                hint="lamella init --no-host builds them on Debian",
            )
        if choice.by_default and server.stack == "python":
            self.suites.add(choice.suite)
        self.notes += choice.notes
        user, uid, _ = container_user(evidence)
        lines = [choice.line, *self._packages(server, evidence, choice)]
        lines.append(Line(f"users = [{{ name = {quoted(user)}, uid = {uid} }}]", ("who the program runs as",)))
        lines.append(Line('freshness = "7d"', ("older packages are renewed by: lamella build --refresh",)))
        same = next((name for name, table in self.bases.items() if table.lines == tuple(lines)), "")
        name = same or ("base" if "base" not in self.bases else f"{image}-base")
        self.bases[name] = Table(f"layer.{name}", tuple(lines))
        return name, user, choice

    def _packages(self, server: Detection, evidence: Evidence, choice: BaseChoice) -> Iterable[Line]:
        brought = {"ca-certificates"} if choice.suite else set()
        if choice.image and not choice.version and server.stack in ("python", "node"):
            brought |= {"python3", "nodejs"}
        needed = [name for name in server.base_packages if name not in brought]
        listed = [name for name in evidence.docker.apt if not _BUILD_ONLY.fullmatch(name)]
        left = [name for name in evidence.docker.apt if name.endswith("-dev")]
        reasons = [f"{server.name or 'the program'} needs {', '.join(needed)} to run"] if needed else []
        reasons += [f"{evidence.dockerfile} installs {', '.join(listed)}"] if listed else []
        if left:
            self.notes.append(
                f"{evidence.dockerfile} installs {', '.join(left)} to compile; when a library of theirs is missing "
                "at run time, add its package to the base"
            )
        wanted = sorted({*needed, *listed})
        bun = server.entrypoint[:1] == ("bun",) and not choice.image
        if bun:
            wanted = sorted({*wanted, "nodejs", "npm"})
            reasons.append("npm installs bun")
        if wanted:
            yield Line(f"apt = {string_list(wanted)}", tuple(reasons))
        if bun:
            yield Line('tools = ["npm:bun"]', ("it starts with bun; lamella lock holds the version",))

    # ---- images -------------------------------------------------------------------------------------------------

    def _cargo_options(self, server: Detection, evidence: Evidence) -> None:
        """Features that the Dockerfile builds the program with."""
        words = evidence.docker.cargo
        text = " ".join(words)
        listed = re.findall(r"(?:--features|-F)[ =]([\w,/.+-]+)", text)
        features = sorted({name for item in listed for name in item.split(",") if name})
        pairs = [f"features = {string_list(features)}"] if features else []
        pairs += ["default_features = false"] if "--no-default-features" in words else []
        if server.stack == "cargo" and pairs:
            self._edit_layer(
                server.layers[0].name, "cargo = ", pairs, f"{evidence.dockerfile} builds it with these features"
            )

    def _edit_layer(self, name: str, start: str, pairs: list[str], why: str) -> None:
        """Adds keys to the inline table of a layer's line."""
        table = self.layers[name]
        lines = tuple(
            Line(f"{line.text.removesuffix(' }')}, {', '.join(pairs)} }}", line.why)
            if line.text.startswith(start)
            else line
            for line in table.lines
        )
        self.layers[name] = replace(table, lines=lines, why=(*table.why, why))

    def _add_server(self, server: Detection, evidence: Evidence, served: list[PageUse], *, local: bool) -> None:
        name = self._image_name(server.name or posixpath.basename(server.directory.strip("./")) or self.folder)
        base, user, choice = self._base(name, server, evidence, local=local)
        if choice.image and choice.version and server.stack == "python":  # the lock cannot know what packages bring
            pair, why = f"python = {quoted(choice.version)}", f"{choice.image} has Python {choice.version}"
            self._edit_layer(server.layers[0].name, "python = ", [pair], why)
        self._cargo_options(server, evidence)
        layers = [base, *server.in_image, *(self._page_files(name, use) for use in served)]
        data = self._data_files(name, server, evidence)
        layers += [data] if data else []
        home = APP if any(use.target.startswith(f"{APP}/") for use in served) else ""
        table, notes = image_table(
            ImageParts(name, tuple(layers), user, server, evidence, home, find_write(self.tree, server))
        )
        self.images[name] = table
        self.notes += notes

    def _page_files(self, image: str, use: PageUse) -> str:
        page = use.page.layers[-1].name
        name = f"{page}-files" if f"{page}-files" not in self.layers else f"{image}-{page}-files"
        why = (f"{use.where} looks for it there",)
        self.layers[name] = Table(f"layer.{name}", (Line(f"needs = {{ {page} = {quoted(use.target)} }}", why),))
        return name

    def _data_files(self, image: str, server: Detection, evidence: Evidence) -> str:
        """Files that the Dockerfile's last stage takes from the project beside what is built."""
        copies = evidence.docker.copies
        if any(copy.source in (".", "Cargo.toml", "src", "package.json") for copy in copies):
            if server.stack == "python" and any(copy.source == "." for copy in copies):
                held = "; ".join(reason for layer in server.layers[1:] for reason in layer.why[:1])
                self.notes.append(f"{evidence.dockerfile} copies the whole folder; here it is {held or 'the package'}")
            return ""
        context = evidence.service.context if evidence.service else "."
        home = evidence.docker.workdir if server.stack != "cargo" else ""
        taken = [(posixpath.normpath(posixpath.join(context or ".", c.source)), moved(c.target, home)) for c in copies]
        items = [
            f"{{ from = {quoted(source)}, to = {quoted(target)} }}"
            for source, target in taken
            if not _NOT_DATA.fullmatch(posixpath.basename(source))
            and self.tree.exists(source)
            and not any(f'"{source}"' in line for layer in server.layers for line in layer.lines)
        ]
        if not items:
            return ""
        name = "data" if "data" not in self.layers else f"{image}-data"
        self.layers[name] = Table(
            f"layer.{name}", (Line(f"files = [{', '.join(items)}]", (f"{evidence.dockerfile} copies them",)),)
        )
        return name

    def _add_page(self, page: Detection) -> None:
        """A page that no server shows: an image of its own with a web server."""
        layer = page.layers[-1].name
        name = self._image_name(page.name or posixpath.basename(page.directory) or self.folder)
        base, files = f"{layer}-nginx", f"{layer}-files"
        lines = (
            Line('bootstrap = "debian/trixie"', ("Debian 13 from its archive: no image is pulled",)),
            Line('apt = ["nginx-light"]', ("no server of this project shows the page, so a web server does",)),
            Line('freshness = "7d"', ("older packages are renewed by: lamella build --refresh",)),
        )
        self.bases[base] = Table(f"layer.{base}", lines)
        steps, routes = [base], own_routes(self.tree, page, self.asked.foreign)
        if routes:
            command = (*SEND_INDEX, "/etc/nginx/sites-available/default")
            steps.append(f"{layer}-routes")
            reasons = (routes, "without this its paths are 404 when they are opened or reloaded")
            self.bases[steps[-1]] = Table(f"layer.{steps[-1]}", (Line(f"run = {string_list(command)}", reasons),))
        where = Line(f'needs = {{ {layer} = "/var/www/html" }}', ("where Debian's nginx looks for it",))
        self.layers[files] = Table(f"layer.{files}", (where,))
        self.images[name] = Table(
            f"image.{name}",
            (
                Line(f"layers = {string_list((*steps, files))}", ("the server rarely changes, the page often does",)),
                Line('entrypoint = ["nginx", "-g", "daemon off;"]', ("in the foreground",)),
                Line("expose = [80]", ("Debian's nginx listens there",)),
                Line('healthcheck = { http = "/" }', ("the page itself",)),
            ),
        )

    def _image_name(self, text: str) -> str:
        name, number = _slug(text), 2
        while name in self.images:
            name, number = f"{_slug(text)}-{number}", number + 1
        return name


def _runs_steps(detection: Detection, layer: DetectedLayer) -> bool:
    """Whether a layer's kind runs code in a toolchain."""
    if detection.stack == "python":
        return any("project" in line for line in layer.lines)
    return not any(line.startswith("files") for line in layer.lines)


def _slug(text: str) -> str:
    """A name that is legal as a repository part."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return slug or "project"
