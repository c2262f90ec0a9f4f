"""Which base an image gets: the one of an existing Dockerfile where it fits, else a Debian that does.

A base must have the C library that the program is linked to, the interpreter that the project asks for, and it should
be what the project has today. Debian suites are bootstrapped from the archive, so that no registry is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.init.evidence import Evidence
from lamella.init.values import Line, quoted
from lamella.oci.reference import parse_reference
from lamella.stacks.base import Detection
from lamella.stacks.node.semver import satisfies
from lamella.stacks.python.interpreter import DEBIAN_PYTHON, SUITE_GLIBC
from lamella.stacks.python.pyproject import read_pyproject
from lamella.values import dataclass

__all__ = ["SUITES", "BaseChoice", "Wish", "choose_base", "interpreter_wish"]

SUITES = ("debian/trixie", "debian/bookworm")
"""Suites that are proposed, the default first."""

_NUMBERS = {"13": "debian/trixie", "12": "debian/bookworm", "stable": "debian/trixie", "latest": "debian/trixie"}
_DEBIAN_NODE = {"debian/trixie": "20.19.2", "debian/bookworm": "18.20.4"}
_UBUNTU_PYTHON = {"20.04": "3.8", "22.04": "3.10", "24.04": "3.12", "focal": "3.8", "jammy": "3.10", "noble": "3.12"}
_MUSL = re.compile(r"alpine|musl|wolfi|chainguard")
_ON_DEBIAN = ("debian", "python", "rust", "node", "buildpack-deps", "cc-debian12", "base-debian12", "nodejs20-debian12")
"""Last parts of the names of images that are Debian with something on it, or less of it."""

_NEWEST_PYTHON, _OLDEST_PYTHON = 14, 9
_NEWEST_NODE, _OLDEST_NODE = 24, 16
"""Versions with official images, the oldest ones exclusive."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An interpreter that the project asks for: ``allows`` takes a version, ``why`` names the file that says so."""

    language: str = ""
    text: str = ""
    why: str = ""
    allows: Callable[[str], bool] = lambda version: True


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """A base: its line, the suite when it is bootstrapped, else the image.

    ``version`` is that of the wished language which the suite's packages bring, empty when the image brings it itself.
    ``by_default`` says that nothing in the project spoke for this suite.
    """

    line: Line
    suite: str = ""
    image: str = ""
    version: str = ""
    by_default: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Usual:
    """What a Dockerfile's base comes to: a suite that does for it, or the image itself, or only a remark."""

    suite: str = ""
    image: str = ""
    version: str = ""
    note: str = ""


def choose_base(
    evidence: Evidence, wish: Wish, *, floor: tuple[int, int] = (0, 0), host_suite: str = "", prefer: str = ""
) -> BaseChoice | None:
    """The base for a server; None when no base that is known has a glibc of at least ``floor``.

    ``host_suite`` is this machine's Debian when that is what the server is compiled on. ``prefer`` is a suite to take
    before the default one.
    """
    usual = _usual(evidence.docker.base, wish)
    notes = (usual.note,) if usual.note else ()
    if usual.image:
        return BaseChoice(
            _from(usual.image, f"{evidence.dockerfile} stands on it"), image=usual.image, version=usual.version
        )
    for suite in dict.fromkeys((usual.suite, host_suite, prefer, *SUITES)):
        if suite not in SUITES or SUITE_GLIBC[suite] < floor:
            continue
        version = _has(suite, wish.language)
        if not version or wish.allows(version):
            line, default = _bootstrap(suite, evidence, wish, usual, host_suite, prefer, floor)
            return BaseChoice(line, suite, version=version, by_default=default, notes=notes)
    image = _language_image(evidence.docker.base, wish)
    if not image:
        return None
    return BaseChoice(_from(image, f"{wish.why}, which no current Debian has"), image=image, notes=notes)


def _bootstrap(
    suite: str, evidence: Evidence, wish: Wish, usual: _Usual, host_suite: str, prefer: str, floor: tuple[int, int]
) -> tuple[Line, bool]:
    """The line of a suite with the reason for it, and whether that is only the default."""
    name = f"Debian {'13' if suite == SUITES[0] else '12'} from its archive"
    why, default = f"{name}: no image is pulled", False
    if suite == usual.suite:
        why = f"{evidence.dockerfile} stands on {evidence.docker.base}; {name} is the same"
    elif wish.why:
        why = f"{wish.why}: {name} has {wish.language.capitalize()} {_has(suite, wish.language)}"
    elif suite == host_suite:
        why = f"{name}: what is compiled on this machine needs its glibc {floor[0]}.{floor[1]} and its libraries"
    elif suite == prefer:
        why = f"{name}: for its Python {_has(suite, wish.language)} the packages have wheels"
    else:
        default = True
    return Line(f"bootstrap = {quoted(suite)}", (why,)), default


def _from(image: str, why: str) -> Line:
    return Line(f"from = {quoted(image)}", (f"{why}; lamella lock pins its digest",))


def _has(suite: str, language: str) -> str:
    return {"python": DEBIAN_PYTHON, "node": _DEBIAN_NODE}.get(language, {}).get(suite, "")


def _language_image(base: str, wish: Wish) -> str:
    """The Dockerfile's own image where it is one of the language's, else the newest slim one that the wish allows.

    Another version than the wished one in the Dockerfile gives way, the rest of its name stays: packages are locked for
    what the project's own files say.
    """
    if not wish.language:
        return ""
    newest = _newest(wish)
    own = re.match(rf"(?:.*/)?{wish.language}:(\d+(?:\.\d+)*)", base)
    if own is not None and not _MUSL.search(base):
        if wish.allows(_comparable(own[1], wish.language)) or not newest:
            return base
        return f"{base[: own.start(1)]}{newest}{base[own.end(1) :].partition('@')[0]}"
    if not newest:
        return ""
    return f"python:{newest}-slim-bookworm" if wish.language == "python" else f"node:{newest}-bookworm-slim"


def _newest(wish: Wish) -> str:
    """The newest version with official images that the wish allows: a minor one of Python, a major one of Node, or the
    very version that a file of the project names.
    """
    exact = re.fullmatch(r"[v=]?(\d+(?:\.\d+){0,2})", wish.text) if wish.language == "node" else None
    if exact is not None:
        return exact[1]
    if wish.language == "python":
        numbers = [f"3.{minor}" for minor in range(_NEWEST_PYTHON, _OLDEST_PYTHON, -1)]
    else:
        numbers = [str(major) for major in range(_NEWEST_NODE, _OLDEST_NODE, -2)]
    return next((number for number in numbers if wish.allows(_comparable(number, wish.language))), "")


def _comparable(version: str, language: str) -> str:
    """A version as wishes compare it: Python's up to its minor number, any release of a major one of Node."""
    if language == "python":
        return ".".join(version.split(".")[:2])
    return version if "." in version else f"{version}.99.0"


def _usual(base: str, wish: Wish) -> _Usual:
    """Read from a reference alone; images on musl and empty ones are named in a note and not taken."""
    if not base:
        return _Usual()
    try:
        reference = parse_reference(base)
    except ConfigError:
        return _Usual(note=f"base {base!r} of the Dockerfile is not understood")
    name, tag = reference.repository.rpartition("/")[2], reference.tag
    if base == "scratch" or "distroless/static" in base:
        return _Usual(note=f"the Dockerfile ends on {base}, which has no C library; here the image stands on Debian")
    if _MUSL.search(base):
        return _Usual(
            note=f"the Dockerfile ends on {base}; here programs are linked to glibc, so the image stands on Debian"
        )
    if name in _ON_DEBIAN and not reference.digest:
        return _Usual(suite=_suite(name, tag))
    ubuntu = re.search(r"(?:^|ubuntu-?)(20\.04|22\.04|24\.04|focal|jammy|noble)", tag)
    version = _UBUNTU_PYTHON[ubuntu[1]] if ubuntu and wish.language == "python" else ""
    return _Usual(image=base, version=version)


def _suite(name: str, tag: str) -> str:
    """The suite that a tag names; empty for those of a language without one, where the interpreter decides."""
    for word in re.split(r"[-_]", tag or "latest"):
        if f"debian/{word}" in SUITES:
            return f"debian/{word}"
        if name in ("debian", "buildpack-deps") and word.partition(".")[0] in _NUMBERS:
            return _NUMBERS[word.partition(".")[0]]
    return "debian/bookworm" if "debian12" in name else ""


def interpreter_wish(tree: Tree, detection: Detection, evidence: Evidence, *, archive: bool = False) -> Wish:
    """What the project says of its interpreter: version files first, then metadata, then the Dockerfile.

    With ``archive`` a Dockerfile's Python does not bind where the metadata allows others: its image is out of reach.
    """
    if detection.stack == "python":
        return _python_wish(tree, detection.directory, evidence, archive=archive)
    if detection.stack == "node" and "nodejs" in detection.base_packages:
        return _node_wish(detection.why.get("engine", ""), evidence)
    return Wish()


def _node_wish(text: str, evidence: Evidence) -> Wish:
    tagged = re.match(r"(?:.*/)?node:(\d+)", evidence.docker.base)
    if text:
        return Wish("node", text, f"the project asks for Node {text}", _node_allows(text))
    if tagged:
        return Wish("node", tagged[1], f"{evidence.dockerfile} has Node {tagged[1]}", _node_allows(tagged[1]))
    return Wish("node")


def _node_allows(text: str) -> Callable[[str], bool]:
    return lambda version: not text or satisfies(version, text) is not False


def _python_wish(tree: Tree, directory: str, evidence: Evidence, *, archive: bool) -> Wish:
    for path in dict.fromkeys(
        (_join(directory, ".python-version"), ".python-version", _join(directory, "runtime.txt"))
    ):
        if tree.exists(path):
            match = re.search(r"3\.\d+", tree.read(path).decode("utf-8", "replace"))
            if match:
                return _minor(match[0], f"{path} says Python {match[0]}")
    tagged = re.match(r"(?:.*/)?python:(3\.\d+)", evidence.docker.base)
    try:
        project = read_pyproject(tree, directory)
    except ConfigError:
        project = None
    if project is not None and project.requires_python:
        try:
            allowed = SpecifierSet(project.requires_python)
        except InvalidSpecifier:
            return Wish("python")
        text = f"{project.path} requires Python {project.requires_python}"
        if tagged and _any_patch(allowed, tagged[1]):
            if not (archive and any(_any_patch(allowed, DEBIAN_PYTHON[suite]) for suite in SUITES)):
                return _minor(tagged[1], f"{evidence.dockerfile} has Python {tagged[1]}")
            why = f"{evidence.docker.base} of {evidence.dockerfile} could not be pulled, and {text}"
            return Wish("python", project.requires_python, why, lambda v: _any_patch(allowed, v))
        default = _any_patch(allowed, DEBIAN_PYTHON[SUITES[0]])
        return Wish("python", project.requires_python, "" if default else text, lambda v: _any_patch(allowed, v))
    return _minor(tagged[1], f"{evidence.dockerfile} has Python {tagged[1]}") if tagged else Wish("python")


def _minor(version: str, why: str) -> Wish:
    return Wish("python", version, why, lambda candidate: candidate == version)


def _any_patch(allowed: SpecifierSet, minor: str) -> bool:
    """Whether any patch of a minor version is allowed: which one a base has is not known here."""
    return any(allowed.contains(f"{minor}.{patch}") for patch in range(60))


def _join(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"
