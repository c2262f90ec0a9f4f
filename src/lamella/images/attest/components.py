"""What an image is made of, from its Definition: the locks its steps were given, and the packages of its base. Pure.

The skeleton of a step holds the lock pruned to what that step compiles, so the list is that of this image and not of
the whole repository. What only builds (a toolchain, build requirements) is not in the image and not in the list.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import urlsplit

from lamella.graph.definition import Definition
from lamella.graph.facts import BaseFacts
from lamella.graph.op import ExecOp, FetchOp, InlineOp, WheelsOp
from lamella.graph.vertex import AllPaths, Paths
from lamella.images.attest.javascript import LOCKS, JsPackage
from lamella.planning.lowering import ImagePlan
from lamella.stacks.cargo.lockfile import LOCK, LockedPackage, parse_lockfile
from lamella.values import dataclass, replace

__all__ = ["Component", "components"]


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """One package. ``kind`` is its package-url type; ``namespace`` a distribution or an npm scope.

    ``hashes`` are (algorithm, hex) of what was fetched; ``qualifiers`` as the package-url specification has them.
    ``layer`` is the layer of the project that brings it.
    """

    kind: str
    name: str
    version: str
    namespace: str = ""
    layer: str = ""
    hashes: tuple[tuple[str, str], ...] = ()
    qualifiers: tuple[tuple[str, str], ...] = ()


_OS_KINDS = {"debian": "deb", "ubuntu": "deb", "alpine": "apk", "wolfi": "apk"}
_LIKE = (("debian", "deb"), ("alpine", "apk"), ("rhel", "rpm"), ("fedora", "rpm"), ("suse", "rpm"))
_DEFAULT_INDEX = "/rust-lang/"
"""What Cargo writes as the source of its default registry lies below this account."""


def components(plan: ImagePlan, definition: Definition, facts: BaseFacts) -> tuple[Component, ...]:
    """Everything that the image holds and that a lock or a package database names, sorted, each once per layer."""
    found = list(_system(facts))
    for part in plan.parts:
        found += (replace(item, layer=part.layer) for item in _below(definition, part.vertex))
    return tuple(sorted(set(found)))


def _system(facts: BaseFacts) -> Iterator[Component]:
    """The packages of the finished chain of base and steps."""
    release = facts.os_release
    identity = release.get("ID", "")
    families = (identity, *release.get("ID_LIKE", "").split())
    kind = _OS_KINDS.get(identity) or next((kind for family, kind in _LIKE if family in families), "rpm")
    version = release.get("VERSION_ID") or release.get("VERSION_CODENAME", "")
    qualifiers = (("distro", f"{identity}-{version}"),) if identity and version else ()
    for name, number in facts.packages.items():
        yield Component(kind, name, number, identity, qualifiers=qualifiers)


def _below(definition: Definition, vertex: str) -> Iterator[Component]:
    """What a placed product consists of: products below it, and the locks of the steps that made them."""
    seen: set[str] = set()
    pending = [(vertex, True)]
    while pending:
        key, shipped = pending.pop()
        if key in seen:
            continue
        seen.add(key)
        op = definition[key].op
        if isinstance(op, WheelsOp) and shipped:
            yield from (Component("pypi", _pypi(w.name), w.version, hashes=(("sha-256", w.sha256),)) for w in op.wheels)
        elif isinstance(op, FetchOp) and shipped:
            yield from _fetched(op)
        elif isinstance(op, InlineOp):
            yield from _locked(op)
        elif isinstance(op, ExecOp):
            yield from _built_wheels(op)
        edges = (edge for edge in definition[key].inputs if isinstance(edge.selection, (AllPaths, Paths)))
        pending += [(edge.vertex, shipped and not isinstance(op, ExecOp)) for edge in edges]


def _pypi(name: str) -> str:
    return name.lower().replace("_", "-")


def _built_wheels(op: ExecOp) -> Iterator[Component]:
    """The wheels that a step built and was held to."""
    for text in op.observed.get("wheels", "").split() if op.observer == "python" else ():
        name, _, version = text.partition("==")
        yield Component("pypi", _pypi(name), version)


def _fetched(op: FetchOp) -> Iterator[Component]:
    """An artefact from elsewhere, by the first address it may come from, without credentials in it."""
    source = next((source for source in op.sources if source.url), None)
    if source is None:
        return
    parts = urlsplit(source.url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    hashes = (("sha-256", source.sha256),) if source.sha256 else ()
    name = posixpath.basename(parts.path) or op.name
    yield Component("generic", name, "", hashes=hashes, qualifiers=(("download_url", address),))


def _locked(op: InlineOp) -> Iterator[Component]:
    """The packages of a lock among the files of a skeleton."""
    for file in op.files:
        name = posixpath.basename(file.path)
        if name == LOCK:
            locked = parse_lockfile(file.data, file.path).packages
            yield from (_crate(package) for package in locked if package.source)
        elif name in LOCKS:
            yield from map(_npm, LOCKS[name](file.data))


def _crate(package: LockedPackage) -> Component:
    hashes = (("sha-256", package.checksum),) if package.checksum else ()
    qualifiers: tuple[tuple[str, str], ...] = ()
    if package.source.startswith("git+"):
        qualifiers = (("vcs_url", _without_credentials(package.source)),)
    elif _DEFAULT_INDEX not in package.source:
        qualifiers = (("repository_url", _without_credentials(package.source.partition("+")[2])),)
    return Component("cargo", package.name, package.version, hashes=hashes, qualifiers=qualifiers)


def _without_credentials(address: str) -> str:
    head, separator, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    return f"{head}{separator}{place.rpartition('@')[2]}{slash}{path}"


def _npm(package: JsPackage) -> Component:
    scope, slash, name = package.name.rpartition("/")
    return Component("npm", name, package.version, scope if slash else "", hashes=package.hashes)
