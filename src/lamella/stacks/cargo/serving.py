"""Which binaries of a workspace are servers, as far as the sources say: a guess for ``init``, with its evidence.

A binary is one when its own package, or an own package it is made of, opens a listening socket or starts a known web
framework. Ports and health routes are literals of those sources.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.stacks.cargo.package import Binary, Package
from lamella.stacks.cargo.workspace import Workspace
from lamella.values import dataclass, replace

__all__ = ["Server", "find_servers"]

_LISTENS = re.compile(
    r"\bTcpListener::bind\b|\bUnixListener::bind\b|\baxum::serve\b|\baxum_server::|\bHttpServer::new\b|\bwarp::serve\b|"
    r"\brocket::(?:build|launch|ignite)\b|#\[(?:rocket::)?launch\]|\b(?:hyper|axum)::Server\b|\bServer::(?:builder|bind|new)\b|"
    r"\bpoem::Server\b|\btide::(?:new|with_state)\b|\bsalvo::Server\b|\bServer::http\("
)
_NO_SERVER = re.compile(r"(?:^|[-_])(?:xtask|bench(?:mark)?s?|examples?|tests?|mock|demo|fuzz|codegen|e2e)(?:$|[-_])")
_TEST_FILE = re.compile(r"(?:^|/)(?:tests?|benches|examples)(?:/|\.rs$)|_tests?\.rs$")
_COMMENT = re.compile(r"^[ \t]*//.*$", re.MULTILINE)
"""Whole lines, so that places stay right; examples in documentation listen too."""
_TEST_PART = re.compile(r"#\[cfg\(test\)\]\s*mod\b")

_ADDRESSES = (
    re.compile(r'"(?P<host>0\.0\.0\.0|127\.0\.0\.1|localhost|\[::1?\]):(?P<port>\d{2,5})"'),
    re.compile(r"\(\s*\[\s*(?P<host>\d+\s*,\s*\d+\s*,\s*\d+\s*,\s*\d+)\s*\]\s*,\s*(?P<port>\d{2,5})\s*\)"),
    re.compile(r"(?P<host>UNSPECIFIED|LOCALHOST)\s*(?:\.into\(\))?\s*\)?\s*,\s*(?P<port>\d{2,5})\b"),
    re.compile(r'\(\s*"(?P<host>0\.0\.0\.0|127\.0\.0\.1|localhost|::1?)"\s*,\s*(?P<port>\d{2,5})\s*\)'),
)
_LOOPBACK = re.compile(r'"(?P<host>127\.0\.0\.1|localhost|\[::1\]):\{')
"""An address for this machine alone whose port is put in."""
_PORTS = (
    re.compile(r'\bPORT"?\s*\)?[^;{}]{0,120}?\bunwrap_or(?:_else)?\s*\(\s*(?:\|_\|\s*)?"?(?P<port>\d{2,5})\b'),
    re.compile(r'\bdefault_value(?:_t)?\s*=\s*"?(?P<port>\d{2,5})"?[^;{}]{0,160}?\b\w*port\w*\s*:'),
    re.compile(r"\b(?:const|static)\s+\w*PORT\w*\s*:\s*u16\s*=\s*(?P<port>\d{2,5})\b"),
    re.compile(r"\bfn\s+default_port\(\)\s*->\s*u16\s*\{\s*(?P<port>\d{2,5})\b"),
    re.compile(r"\bport\s*:\s*(?P<port>\d{4,5})\b"),
)
_VARIABLE = re.compile(r'\bvar(?:_os)?\(\s*"(\w+)"\s*\)[^;{}]*\Z')
_ROUTE = re.compile(
    r'(?:\.route\(\s*|\bpath!?\(\s*|#\[(?:\w+::)?get\(\s*|\bweb::(?:resource|scope)\(\s*|\.at\(\s*)"'
    r'(?P<path>/?(?:[\w-]+/)*(?:healthz?|health[_-]?check|livez|readyz?|ready|ping|status|up))"'
)
_DATABASE = re.compile(r'"sqlite:(?://)?(?![/:])[\w./-]+|\bConnection::open\(\s*"(?![/:])[\w./-]+\.(?:db|sqlite3?)"')
_BEST = ("healthz", "health", "livez", "readyz", "ready", "health_check", "health-check", "healthcheck")


@dataclass(frozen=True, slots=True)
class Server:
    """A binary that listens. ``where`` is the first place that shows it (``file:line``).

    ``port`` is 0 and ``health`` empty when no literal says them; ``port_where`` and ``health_where`` are their places.
    ``loopback`` is the address in the sources when it is one that nobody outside a container reaches, with its place,
    ``variable`` the environment variable that seems to override it. ``data_where`` is where a database file in the
    working directory is named, empty when there is none.
    """

    package: Package
    binary: str
    where: str
    port: int = 0
    port_where: str = ""
    health: str = ""
    health_where: str = ""
    loopback: str = ""
    loopback_where: str = ""
    variable: str = ""
    data_where: str = ""


@dataclass(frozen=True, slots=True)
class _Source:
    """One Rust file without its tests."""

    path: str
    text: str

    def place(self, at: int) -> str:
        """``file:line`` of an offset."""
        return f"{self.path}:{self.text.count(chr(10), 0, at) + 1}"


def find_servers(tree: Tree, workspace: Workspace) -> tuple[Server, ...]:
    """The servers among a workspace's binaries, by package directory and name; tools for tests are none."""
    found: list[Server] = []
    cache: dict[str, tuple[_Source, ...]] = {}
    for member in workspace.members:
        package = workspace.package(member)
        if package.binaries and not _NO_SERVER.search(package.name):
            found += _servers_of(tree, workspace, package, cache)
    return tuple(found)


def _servers_of(
    tree: Tree, workspace: Workspace, package: Package, cache: dict[str, tuple[_Source, ...]]
) -> Iterator[Server]:
    try:
        parts = workspace.closure(package.directory)
    except ConfigError:
        return
    for part in parts:
        if part.directory not in cache:
            cache[part.directory] = tuple(_sources(tree, part))
    mains = {posixpath.join(package.directory, binary.path) for binary in package.binaries}
    shared = [source for part in parts for source in cache[part.directory] if source.path not in mains]
    by_path = {source.path: source for source in cache[package.directory]}
    first = _main(package)
    for binary in package.binaries:
        own = by_path.get(posixpath.join(package.directory, binary.path))
        # What is shared speaks for the main binary; a further one must listen in its own file.
        seen = [*([own] if own else []), *(shared if binary.name == first else ())]
        where = _first(seen, (_LISTENS,))
        if where is not None and not _NO_SERVER.search(binary.name):
            yield _described(Server(package, binary.name, where[0]), [*([own] if own else []), *shared])


def _main(package: Package) -> str:
    """The binary that the package is about: its default, its own name, the only one in ``src/main.rs``, the first."""
    names = {binary.name: binary for binary in package.binaries}
    if package.default_run in names:
        return package.default_run
    if package.name in names:
        return package.name
    main = [binary.name for binary in package.binaries if binary.path == "src/main.rs"]
    return (main or [_any(package.binaries)])[0]


def _any(binaries: Iterable[Binary]) -> str:
    return next(iter(binaries)).name


def _sources(tree: Tree, package: Package) -> Iterator[_Source]:
    for path in tree.paths((posixpath.join(package.directory, "src/**/*.rs"),)):
        inside = path[len(package.directory) :].lstrip("/")
        if _TEST_FILE.search(inside):
            continue
        try:
            text = tree.read(path).decode("utf-8", "replace")
        except ConfigError:
            continue
        text = _COMMENT.sub("", text)
        tests = _TEST_PART.search(text)
        yield _Source(path, text[: tests.start()] if tests else text)


def _first(sources: Iterable[_Source], patterns: tuple[re.Pattern[str], ...]) -> tuple[str, re.Match[str]] | None:
    """The first match of the earliest pattern that matches anywhere."""
    listed = list(sources)
    for pattern in patterns:
        for source in listed:
            match = pattern.search(source.text)
            if match is not None:
                return source.place(match.start()), match
    return None


def _described(server: Server, sources: list[_Source]) -> Server:
    """With port and health route, where literals say them."""
    found = [(s, match) for pattern in _ADDRESSES for s in sources for match in pattern.finditer(s.text)]
    public = [(s, match) for s, match in found if not _is_loopback(match["host"])]
    for source, match in (public or found)[:1]:
        server = replace(server, port=int(match["port"]), port_where=source.place(match.start()))
        if not public:
            variable = _VARIABLE.search(source.text[max(0, match.start() - 160) : match.start()])
            place, name = source.place(match.start()), variable[1] if variable else ""
            server = replace(server, loopback=match[0].strip('"'), loopback_where=place, variable=name)
    written = None if found else _first(sources, (_LOOPBACK,))
    if written is not None:
        server = replace(server, loopback=written[1]["host"], loopback_where=written[0])
    port = None if found else _first(sources, _PORTS)
    if port is not None:
        server = replace(server, port=int(port[1]["port"]), port_where=port[0])
    if server.port > 65_535:
        server = replace(server, port=0, port_where="")
    database = _first(sources, (_DATABASE,))
    if database is not None:
        server = replace(server, data_where=database[0])
    routes = [(_rank(m["path"]), s.place(m.start()), m["path"]) for s in sources for m in _ROUTE.finditer(s.text)]
    for _, place, path in sorted(routes)[:1]:
        server = replace(server, health=f"/{path.lstrip('/')}", health_where=place)
    return server


def _is_loopback(host: str) -> bool:
    return host.startswith(("127", "localhost")) or host in ("LOCALHOST", "::1", "[::1]")


def _rank(path: str) -> tuple[int, int]:
    name = path.rpartition("/")[2]
    return (_BEST.index(name) if name in _BEST else len(_BEST), path.count("/"))
