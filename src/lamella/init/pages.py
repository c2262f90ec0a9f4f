"""How a built page reaches the server that shows it: compiled in, served from disk, or by a web server of its own.

The sources say it: a string that leads to the folder which the page's build script writes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.stacks.base import Detection
from lamella.values import dataclass

__all__ = ["PageUse", "find_uses", "page_output", "source_files"]

_ENDS = {"cargo": ("rs",), "python": ("py",), "node": ("js", "mjs", "cjs", "ts", "mts")}
_ELSEWHERE = re.compile(
    r"(?:^|/)(?:node_modules|tests?|benches|examples|fixtures|target|dist|build)/|(?:^|/)test_[^/]*$"
)
_STRING = re.compile(r"\"((?:[^\"\\\n]|\\.){1,200})\"|'((?:[^'\\\n]|\\.){1,200})'")
_JOINED = re.compile(r"([\"'])\s*[/,]\s*([\"'])")
_EMBEDS = re.compile(
    r"include_(?:str|bytes|dir|file)|RustEmbed|rust_embed|\bEmbed\b|folder\s*=|embed_|memory_serve|rerun-if"
)
_OWN_FILE = re.compile(r"__file__|__dirname|import\.meta")
_OUTPUT = re.compile(r'\boutput\s*=\s*"([^"]+)"')
_FILES = 400
"""Files of one project that are looked at, shortest paths first."""


@dataclass(frozen=True, slots=True)
class PageUse:
    """A server that shows a page. ``where`` is ``file:line``; ``compiled`` says that the page is needed to compile it,
    else ``target`` is the absolute path in the image where it looks for the page.
    """

    page: Detection
    server: Detection
    where: str
    compiled: bool = False
    target: str = ""


def page_output(page: Detection) -> str:
    """The output folder of a page's layer, relative to the project; empty when its layer names none, and for a server
    that a build writes into one.
    """
    if page.entrypoint:
        return ""
    for layer in page.layers:
        for line in layer.lines:
            match = _OUTPUT.search(line)
            if match and match[1] != ".":
                return posixpath.normpath(posixpath.join(page.directory or ".", match[1]))
    return ""


def find_uses(tree: Tree, pages: tuple[Detection, ...], servers: tuple[Detection, ...]) -> tuple[PageUse, ...]:
    """At most one use for each pair of a page and a server; compiling it in comes before serving it."""
    found = []
    for page in pages:
        output = page_output(page)
        for server in servers if output else ():
            uses = sorted(_uses(tree, page, server, output), key=lambda use: not use.compiled)
            found += uses[:1]
    return tuple(found)


def _uses(tree: Tree, page: Detection, server: Detection, output: str) -> Iterator[PageUse]:
    for path in source_files(tree, server, without=page.directory):
        try:
            text = tree.read(path).decode("utf-8", "replace")
        except ConfigError:
            continue
        if posixpath.basename(output) not in text:
            continue
        for match in _STRING.finditer(_JOINED.sub("/", text)):
            literal = (match[1] or match[2]).removeprefix("$CARGO_MANIFEST_DIR/").removesuffix("/")
            use = _use(tree, page, server, output, path, text, literal)
            if use is not None:
                yield use


def source_files(tree: Tree, server: Detection, *, without: str = "") -> list[str]:
    """Files of a server's language, no tests, shortest paths first; ``without`` is a folder that is left out."""
    prefix = "" if server.directory in ("", ".") else f"{server.directory}/"
    own = f"{without}/" if without not in ("", ".") else "\0"
    paths = tree.paths(tuple(f"{prefix}**/*.{end}" for end in _ENDS[server.stack]))
    wanted = [path for path in paths if not _ELSEWHERE.search(path) and not path.startswith(own)]
    return sorted(wanted, key=lambda path: (path.count("/"), path))[:_FILES]


def _use(
    tree: Tree, page: Detection, server: Detection, output: str, path: str, text: str, literal: str
) -> PageUse | None:
    """What one string of a source file says."""
    line = _line(text, posixpath.basename(output), literal)
    where, beside = f"{path}:{line}", posixpath.dirname(path)
    if server.stack == "cargo":
        crate = _crate(tree, path)
        if not any(_leads(folder, literal.lstrip("/"), output) for folder in (crate, beside, "")):
            return None
        around = "\n".join(text.splitlines()[max(0, line - 4) : line])
        if posixpath.basename(path) == "build.rs" or _EMBEDS.search(around):
            return PageUse(page, server, where, compiled=True)
    home = "" if server.directory in ("", ".") else server.directory
    # Where programs look from: the working directory, which is the project's folder or the repository's in
    # development and /app in the image; or their own file.
    places = [(home, "/app"), ("", "/app")]
    if server.stack != "cargo" and _OWN_FILE.search(text):
        above = [(folder, f"/app/{posixpath.relpath(folder or '.', home or '.')}") for folder in _upwards(beside)]
        places = [*above, *places]
    for folder, inside in places:
        if not literal.startswith("/") and _leads(folder, literal, output):
            target = posixpath.normpath(posixpath.join(inside, posixpath.relpath(output, folder or ".")))
            return PageUse(page, server, where, target=target)
    return None


def _leads(folder: str, literal: str, output: str) -> bool:
    """Whether a relative path leads from a folder to the output or into it."""
    path = posixpath.normpath(posixpath.join(folder, literal))
    return path == output or path.startswith(f"{output}/")


def _upwards(folder: str) -> list[str]:
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


def _crate(tree: Tree, path: str) -> str:
    return next(
        (folder for folder in _upwards(posixpath.dirname(path)) if tree.exists(posixpath.join(folder, "Cargo.toml"))),
        "",
    )


def _line(text: str, name: str, literal: str) -> int:
    """The line of a string; of a joined one the line of its last part."""
    at = text.find(literal)
    at = at if at >= 0 else max(text.find(f'"{name}"'), text.find(f"'{name}'"), text.find(name))
    return text.count("\n", 0, max(at, 0)) + 1
