"""Base facts read from a finished root file system (DESIGN 7b.4); ``lamella.graph.facts_format`` stores them."""

from __future__ import annotations

import os
import re
import stat
from bisect import bisect_left
from typing import Any

from lamella.canonical import FrozenMap
from lamella.errors import HostileInputError
from lamella.graph.facts import BaseFacts, DirectoryFact
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.host.rooted import Found, Rooted
from lamella.layers.accounts import ACCOUNT_FILES, parse_group, parse_passwd
from lamella.layers.overlay import is_whiteout
from lamella.layers.packages import list_packages
from lamella.layers.programs import DEFAULT_PATH, find_interpreters, find_libc, find_programs
from lamella.layers.view import RootView, TreeView
from lamella.oci.config import RuntimeConfig
from lamella.values import dataclass, field, replace

__all__ = ["changed_facts", "extract_facts", "outline_facts", "tree_facts"]

_ENTRIES = 2_000_000
_TEXT_LIMIT = 8 << 20
_LEFT_OUT = ("proc", "sys", "dev")
"""What a runtime mounts: only the directories themselves are facts."""
_AFTER_SLASH = chr(ord("/") + 1)


def extract_facts(
    root: str | os.PathLike[str] | Rooted, *, platform: str, runtime: RuntimeConfig, whole: bool = True
) -> BaseFacts:
    """The facts of a root file system: a mounted chain, or a directory.

    Links are resolved inside the root and nothing is executed. With ``whole`` false the tree is not walked: the
    host's own system has its tools and libraries as facts, but no paths. Raises HostileInputError for a root that
    cannot be described, OSError for one that cannot be read.
    """
    if isinstance(root, Rooted):
        return _extract(root, _paths(root) if whole else _Paths(), platform, runtime)
    with Rooted(root) as rooted:
        return _extract(rooted, _paths(rooted) if whole else _Paths(), platform, runtime)


def tree_facts(view: TreeView, *, platform: str, runtime: RuntimeConfig) -> BaseFacts:
    """The same facts of a chain that is on no disk as a tree. Raises as :func:`extract_facts` does."""
    return _extract(view, _entry_paths(view), platform, runtime)


def outline_facts(root: Rooted, *, runtime: RuntimeConfig) -> BaseFacts:
    """All facts of a root file system but its paths, of which only the root directory and the texts of the account
    files are there: what :func:`changed_facts` wants of a step's result. Nothing is walked. Raises as
    :func:`extract_facts` does.
    """
    return _extract(root, _Paths({"/": _top_fact(root)}), "", runtime)


def changed_facts(below: BaseFacts, changes: FileSet, outline: BaseFacts) -> BaseFacts:
    """The facts of a chain from those of the chain ``below`` its topmost layer, which are those of a tree, that
    layer's changes, and the outline of the whole chain: the same as :func:`extract_facts` finds by a walk.

    Platform and runtime are the outline's. Raises HostileInputError for a chain of too many entries.
    """
    directories, symlinks, files = dict(below.directories), dict(below.symlinks), _walked_files(below)
    directories["/"] = outline.directories["/"]
    cut = [f"/{entry.path}" for entry in changes if entry.type is not EntryType.DIRECTORY]
    cut = [path for path in cut if path in directories]
    maps: tuple[dict[str, Any], ...] = (directories, symlinks, files)
    for found in maps:
        _remove_below(found, cut)
        for entry in changes:
            found.pop(f"/{entry.path}", None)
    paths = _Paths(directories, symlinks, files)
    for entry in changes:
        _add_entry(paths, entry)
    if len(directories) + len(symlinks) + len(files) > _ENTRIES:
        raise _too_many()
    return replace(
        outline,
        directories=FrozenMap(directories),
        symlinks=FrozenMap(symlinks),
        files=FrozenMap(files | dict(outline.files)),
    )


def _walked_files(facts: BaseFacts) -> dict[str, str]:
    """``files`` as a walk finds them: without texts, and without account files that are only reached through links."""
    files = dict(facts.files)
    for path in ACCOUNT_FILES:
        if path in files:
            del files[path]
            if os.path.dirname(path) in facts.directories and path not in facts.symlinks:
                files[path] = ""
    return files


def _remove_below(found: dict[str, Any], directories: list[str]) -> None:
    """Removes what lies below some directories."""
    names = sorted(found) if directories else []
    for directory in directories:
        start, end = bisect_left(names, f"{directory}/"), bisect_left(names, f"{directory}{_AFTER_SLASH}")
        for name in names[start:end]:
            found.pop(name, None)


@dataclass(frozen=True, slots=True)
class _Paths:
    """Directories, symlinks with their targets, and all other paths, absolute."""

    directories: dict[str, DirectoryFact] = field(default_factory=dict)
    symlinks: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def _extract(root: RootView, paths: _Paths, platform: str, runtime: RuntimeConfig) -> BaseFacts:
    accounts = {path: text for path in ACCOUNT_FILES if (text := _text(root, path)) is not None}
    packages = {package.name: package.version for package in reversed(list_packages(root)[1])}
    programs = find_programs(root, _search_path(runtime))
    libc = find_libc(root)
    return BaseFacts(
        platform=platform,
        directories=FrozenMap(paths.directories),
        symlinks=FrozenMap(paths.symlinks),
        files=FrozenMap(paths.files | accounts),
        users=parse_passwd(accounts.get("/etc/passwd", "")),
        groups=parse_group(accounts.get("/etc/group", "")),
        os_release=FrozenMap(_os_release(root)),
        libc=libc.name,
        libc_version=libc.version,
        interpreters=find_interpreters(root, programs, libc, packages),
        tools=tuple(sorted(programs)),
        packages=FrozenMap(packages),
        runtime=runtime,
    )


def _paths(root: Rooted) -> _Paths:
    """What is on one file system, as far as a layer can hold it."""
    top = os.fstat(root.fd)
    paths = _Paths({"/": _top_fact(root)})

    def is_same_file_system(found: Found) -> bool:
        return found.path not in _LEFT_OUT and found.stat.st_dev == top.st_dev

    for count, found in enumerate(root.walk(enter=is_same_file_system)):
        if count > _ENTRIES:
            raise _too_many()
        path, status = f"/{found.path}", found.stat
        if found.is_directory:
            paths.directories[path] = DirectoryFact(path, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        elif stat.S_ISLNK(status.st_mode):
            paths.symlinks[path] = os.readlink(found.name, dir_fd=found.parent)
        elif not stat.S_ISSOCK(status.st_mode) and not is_whiteout(status):  # of a layer with nothing below it
            paths.files[path] = ""
    return paths


def _top_fact(root: Rooted) -> DirectoryFact:
    top = os.fstat(root.fd)
    return DirectoryFact("/", stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid)


def _entry_paths(view: TreeView) -> _Paths:
    """What is in merged entries."""
    if len(view.entries) > _ENTRIES:
        raise _too_many()
    paths = _Paths({"/": DirectoryFact("/", view.root.mode, view.root.uid, view.root.gid)})
    for entry in view.entries.values():
        _add_entry(paths, entry)
    return paths


def _add_entry(paths: _Paths, entry: Entry) -> None:
    """Notes what an entry of a file set is, unless it removes something or lies in what a runtime mounts."""
    top, _, below = entry.path.partition("/")
    path = f"/{entry.path}"
    if entry.type is EntryType.WHITEOUT or (below and top in _LEFT_OUT):
        return
    if entry.type in (EntryType.DIRECTORY, EntryType.OPAQUE):
        paths.directories[path] = DirectoryFact(path, entry.mode, entry.uid, entry.gid)
    elif entry.type is EntryType.SYMLINK:
        paths.symlinks[path] = entry.link
    else:
        paths.files[path] = ""


def _too_many() -> HostileInputError:
    return HostileInputError(f"the root file system has more than {_ENTRIES} entries")


def _text(root: RootView, path: str) -> str | None:
    """A small text file; None when it is not there or no text file of sensible size."""
    try:
        return root.read_bytes(path, limit=_TEXT_LIMIT).decode("utf-8", "surrogateescape")
    except (OSError, HostileInputError):
        return None


def _search_path(runtime: RuntimeConfig) -> str:
    values = [item.partition("=")[2] for item in runtime.env if item.startswith("PATH=")]
    return values[-1] if values else DEFAULT_PATH


def _os_release(root: RootView) -> dict[str, str]:
    """os-release(5): NAME=value lines, quotes as a shell takes them."""
    text = _text(root, "/etc/os-release")
    text = _text(root, "/usr/lib/os-release") if text is None else text
    found: dict[str, str] = {}
    for line in (text or "").split("\n"):
        name, equals, value = line.strip().partition("=")
        if equals and re.fullmatch(r"[A-Z0-9_]+", name):
            found[name] = _unquoted(value)
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return re.sub(r'\\([\\"$`])', r"\1", value[1:-1]) if value[0] == '"' else value[1:-1]
    return value
