"""Requirement files as pip reads them (pip documentation, "Requirements File Format").

Nested ``-r`` and ``-c``, continuation lines, comments, hashes, index options and direct references. The result is a
flat value: comments, order, line breaks and duplicates do not show in :meth:`Requirements.digest`.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lamella.errors import ConfigError, Problem
from lamella.graph.protocols import Tree
from lamella.values import dataclass, field

__all__ = [
    "RequirementLine",
    "Requirements",
    "canonical_requirement",
    "exact_version",
    "parse_line",
    "read_requirements",
]

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_HASH = re.compile(r"\s--hash[ =](\w+):([0-9A-Fa-f]+)")
_LINE_OPTION = re.compile(r"\s--(?:config-settings?|global-option|install-option|build-option)[ =]")
_IGNORED = frozenset({"--trusted-host", "--use-feature", "--prefer-binary", "--require-hashes", "--use-pep517"})
_LONG = {"-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-i": "--index-url", "-f": "--find-links"}
_BARE = frozenset({"--pre", "--no-index", "--prefer-binary", "--require-hashes"})


@dataclass(frozen=True, slots=True)
class RequirementLine:
    """One requirement with its place. ``text`` is canonical PEP 508; ``local`` a folder of the project instead."""

    text: str
    name: str
    hashes: tuple[str, ...] = ()
    local: str = ""
    extras: tuple[str, ...] = ()
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)

    @property
    def requirement(self) -> Requirement:
        """The parsed form."""
        return Requirement(self.text)


@dataclass(frozen=True, slots=True)
class Requirements:
    """All that some requirement files say together."""

    lines: tuple[RequirementLine, ...] = ()
    constraints: tuple[RequirementLine, ...] = ()
    index: str = ""
    extra_indexes: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()

    @property
    def locals(self) -> tuple[RequirementLine, ...]:
        """The lines that name folders of the project."""
        return tuple(line for line in self.lines if line.local)

    @property
    def is_pinned(self) -> bool:
        """Whether every requirement has an exact version and a hash: the files are a lock themselves."""
        return bool(self.lines) and all(line.hashes and exact_version(line) for line in self.lines)

    def without(self, names: frozenset[str]) -> Requirements:
        """The same without the requirements of some canonical names."""
        kept = tuple(line for line in self.lines if line.name not in names)
        return Requirements(kept, self.constraints, self.index, self.extra_indexes, self.options, self.files)


def exact_version(line: RequirementLine) -> str:
    """The version a line pins (``==`` or ``===`` without a wildcard); empty when it leaves a choice."""
    for specifier in line.requirement.specifier if line.text else ():
        if specifier.operator in ("==", "===") and not specifier.version.endswith(".*"):
            return specifier.version
    return ""


def canonical_requirement(requirement: Requirement) -> str:
    """One spelling per meaning: canonical name, sorted extras and specifiers, normalised marker."""
    names = ",".join(sorted(canonicalize_name(extra) for extra in requirement.extras))
    extras = f"[{names}]" if names else ""
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    if requirement.url:
        return f"{canonicalize_name(requirement.name)}{extras} @ {requirement.url}{marker}"
    specifiers = ",".join(sorted(str(specifier) for specifier in requirement.specifier))
    return f"{canonicalize_name(requirement.name)}{extras}{specifiers}{marker}"


def parse_line(text: str, *, file: str = "", line: int = 0) -> RequirementLine:
    """A PEP 508 requirement as a line; raises InvalidRequirement."""
    requirement = Requirement(text)
    name = canonicalize_name(requirement.name)
    return RequirementLine(canonical_requirement(requirement), name, file=file, line=line)


def read_requirements(tree: Tree, paths: tuple[str, ...]) -> Requirements:
    """The requirements of some files and all they include; every problem of all files is in one ConfigError."""
    reader = _Reader(tree)
    for path in paths:
        reader.file(path, constraint=False, asked_by=("", 0))
    if reader.problems:
        raise ConfigError.from_problems(tuple(reader.problems))
    return Requirements(
        tuple(dict.fromkeys(reader.lines)),
        tuple(dict.fromkeys(reader.constraints)),
        reader.index,
        tuple(dict.fromkeys(reader.extra_indexes)),
        tuple(sorted(set(reader.options))),
        tuple(dict.fromkeys(reader.files)),
    )


class _Reader:
    """Work in progress over nested files."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.lines: list[RequirementLine] = []
        self.constraints: list[RequirementLine] = []
        self.index = ""
        self.extra_indexes: list[str] = []
        self.options: list[tuple[str, str]] = []
        self.files: list[str] = []
        self.problems: list[Problem] = []
        self._seen: set[tuple[str, bool]] = set()

    def file(self, path: str, *, constraint: bool, asked_by: tuple[str, int]) -> None:
        """One file; a file that includes itself is read once."""
        if (path, constraint) in self._seen:
            return
        self._seen.add((path, constraint))
        if not self.tree.exists(path):
            where, line = asked_by
            hint = "ignore rules may leave it out" if where else ""
            self.problems.append(Problem(where or path, line, 0, f"requirement file {path} is not there", hint))
            return
        self.files.append(path)
        for number, text in _logical_lines(self.tree.read(path).decode("utf-8-sig", "replace")):
            try:
                self._line(text, path, number, constraint=constraint)
            except (ValueError, InvalidRequirement) as error:
                self.problems.append(Problem(path, number, 0, str(error).split("\n", 1)[0]))

    def _line(self, text: str, path: str, number: int, *, constraint: bool) -> None:
        variable = _VARIABLE.search(text)
        if variable:
            raise ValueError(f"{variable[0]} is taken from the environment, which is no input of a layer")
        if text.startswith("-"):
            self._option(text, path, number, constraint=constraint)
            return
        found = self._requirement(text, path, number)
        (self.constraints if constraint else self.lines).append(found)

    def _option(self, text: str, path: str, number: int, *, constraint: bool) -> None:
        words = shlex.split(text)
        option, equals, value = words[0].partition("=")
        if len(option) > 2 and not option.startswith("--"):  # -rfile
            option, value = option[:2], option[2:] + equals + value
        option = _LONG.get(option, option)
        if not value and option not in _BARE:
            value = " ".join(words[1:])
        match option:
            case "--requirement" | "--constraint":
                included = self._beside(path, value)
                self.file(included, constraint=constraint or option == "--constraint", asked_by=(path, number))
            case "--editable":
                (self.constraints if constraint else self.lines).append(self._requirement(value, path, number))
            case "--index-url":
                self.index = value
            case "--extra-index-url":
                self.extra_indexes.append(value)
            case "--pre" | "--no-binary" | "--only-binary":
                self.options.append((option, value))
            case _ if option in _IGNORED:
                pass
            case _:
                raise ValueError(f"option {option} is not supported in requirement files")

    def _beside(self, path: str, value: str) -> str:
        """A file named in another one, relative to it, as a path of the project."""
        if "://" in value:
            raise ValueError(f"{value} is not in the project; copy the file into it")
        joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), value))
        if joined.startswith(("/", "..")):
            raise ValueError(f"{value} lies outside the project")
        return joined

    def _folder(self, path: str, value: str) -> str:
        """A folder named in a file: pip reads it from where it is started, the project's root; else beside the file."""
        from_root = posixpath.normpath(value)
        if not from_root.startswith(("/", "..")) and self.tree.exists(posixpath.join(from_root, "pyproject.toml")):
            return from_root
        return self._beside(path, value)

    def _requirement(self, text: str, path: str, number: int) -> RequirementLine:
        hashes = tuple(sorted(f"{name}:{digits.lower()}" for name, digits in _HASH.findall(f" {text}")))
        bare = _HASH.sub("", f" {text}").strip()
        option = _LINE_OPTION.search(f" {bare}")
        if option:
            raise ValueError(f"{option[0].strip(' =')} for one requirement is not supported")
        if "://" in bare and " @ " not in bare and not bare.startswith("file:"):
            bare = _named_url(bare)
        elif _is_path(bare):
            return self._local(bare, path, number)
        line = parse_line(bare, file=path, line=number)
        return RequirementLine(line.text, line.name, hashes, file=path, line=number)

    def _local(self, text: str, path: str, number: int) -> RequirementLine:
        folder, bracket, extras = text.removeprefix("file:").partition("[")
        if folder.endswith((".whl", ".gz", ".zip")):
            raise ValueError(f"{folder}: archives of the project are not supported; name the folder or an index")
        local = self._folder(path, folder.strip())
        names = tuple(sorted(canonicalize_name(e.strip()) for e in extras.rstrip("] ").split(","))) if bracket else ()
        return RequirementLine("", "", local=local, extras=names, file=path, line=number)


def _named_url(text: str) -> str:
    """``NAME @ URL`` for pip's older spelling with ``#egg=NAME``; ``name@url`` is left as it is."""
    if re.match(r"[A-Za-z0-9._-]+(?:\[[^\]]*\])?\s*@", text):
        return text
    egg = re.search(r"[#&]egg=([A-Za-z0-9._-]+(?:\[[^\]]*\])?)", text)
    if egg is None:
        raise ValueError(f"{text}: a URL needs a name; write NAME @ URL")
    return f"{egg[1]} @ {text[: egg.start()]}"


def _is_path(text: str) -> bool:
    """What begins with a dot, holds a slash before any ``@`` or is a file URL is a path to pip."""
    head = text.split("@", 1)[0].split(";", 1)[0]
    return text.startswith((".", "/", "file:")) or "/" in head


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, joined at a backslash, with the number of their first line."""
    pending, first = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        first = first or number
        if raw.endswith("\\") and not _COMMENT.match(raw):
            pending += raw[:-1]
            continue
        line = _COMMENT.sub("", pending + raw).strip()
        if line:
            yield first, line
        pending, first = "", 0
    line = _COMMENT.sub("", pending).strip()
    if line:
        yield first, line
