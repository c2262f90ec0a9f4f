"""What a root file system can run: its C library, its interpreters, the programs on its PATH. Nothing is executed."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from contextlib import suppress

from lamella.errors import HostileInputError
from lamella.graph.facts import Interpreter
from lamella.layers.view import RootView
from lamella.values import dataclass

__all__ = ["DEFAULT_PATH", "Libc", "find_interpreters", "find_libc", "find_programs"]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What container runtimes use for an image whose config has no PATH."""

_LIBC_LIMIT = 64 << 20
_HEADER_LIMIT = 1 << 20
_GLIBC_NAME = re.compile(r"libc-(2\.\d+)\.so")
_GLIBC_TEXT = re.compile(rb"GNU C Library [^\n]{0,200}? version (2\.\d+)")
_MUSL_TEXT = re.compile(rb"\0(1\.\d+\.\d+)(?:[-.+_][^\0]{0,40})?\0")
_MUSL_NAME = re.compile(r"(?:ld-musl-.+\.so\.1|libc\.musl-.+\.so\.1)")
_PYTHON_NAME = re.compile(r"python(3\.\d+)(t?)")
_NODE_VERSION = re.compile(rb"#define NODE_(MAJOR|MINOR|PATCH)_VERSION (\d+)")


@dataclass(frozen=True, slots=True)
class Libc:
    """``glibc`` or ``musl`` and its version (``2.36``, ``1.2.4``); both empty when there is none."""

    name: str = ""
    version: str = ""


def find_programs(root: RootView, path: str = DEFAULT_PATH) -> dict[str, str]:
    """Name → absolute path of every program on ``path``; the first directory wins, as for execvp(3)."""
    found: dict[str, str] = {}
    for directory in _directories(root, path):
        for name, status in root.statuses(directory):
            if name not in found and stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
                found[name] = f"{directory.rstrip('/')}/{name}"
    return found


def _directories(root: RootView, path: str) -> list[str]:
    """Absolute directories of a search path that are there, without those that are an earlier one by another name."""
    real: dict[str, str] = {}
    for directory in path.split(":"):
        if directory.startswith("/"):
            with suppress(OSError):
                real.setdefault(root.real_name(directory), directory)
    return list(real.values())


def _names(root: RootView, directory: str) -> list[str]:
    try:
        return root.listdir(directory, follow=True)
    except OSError:
        return []


def find_libc(root: RootView) -> Libc:
    """The C library that programs of this root are linked with."""
    for directory in _library_directories(root):
        for name in _names(root, directory):
            if name == "libc.so.6":
                return Libc("glibc", _glibc_version(root, f"{directory}/{name}"))
            if _MUSL_NAME.fullmatch(name):
                return Libc("musl", _musl_version(root, f"{directory}/{name}"))
    return Libc()


def _library_directories(root: RootView) -> list[str]:
    """Where a C library may lie: the usual places, and one directory per architecture below them."""
    plain = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"]
    nested = [f"{top}/{name}" for top in ("/lib", "/usr/lib") for name in _names(root, top) if "-linux-gnu" in name]
    return nested + plain


def _glibc_version(root: RootView, path: str) -> str:
    """From the file's name before glibc 2.34 (a link to ``libc-2.31.so``), else from the banner it prints when run."""
    try:
        named = _GLIBC_NAME.fullmatch(root.real_name(path).rpartition("/")[2])
        if named:
            return named[1]
        banner = _GLIBC_TEXT.search(root.read_bytes(path, limit=_LIBC_LIMIT))
    except (OSError, HostileInputError):
        return ""
    return banner[1].decode() if banner else ""


def _musl_version(root: RootView, path: str) -> str:
    try:
        banner = _MUSL_TEXT.search(root.read_bytes(path, limit=_LIBC_LIMIT))
    except (OSError, HostileInputError):
        return ""
    return banner[1].decode() if banner else ""


def find_interpreters(
    root: RootView, programs: Mapping[str, str], libc: Libc, packages: Mapping[str, str]
) -> tuple[Interpreter, ...]:
    """Python and Node on the PATH, sorted."""
    found = []
    for name, path in programs.items():
        python = _PYTHON_NAME.fullmatch(name)
        if python:
            tag = f"cpython-{python[1].replace('.', '')}{python[2]}"
            found.append(Interpreter("python", path, python[1], tag))
        elif name in ("node", "nodejs") and (name == "node" or "node" not in programs):
            found.append(Interpreter("node", path, _node_version(root, path, packages), libc.name))
    return tuple(sorted(found))


def _node_version(root: RootView, path: str, packages: Mapping[str, str]) -> str:
    """From the header that Node's own archives bring, else from the package's version; empty when neither is there."""
    prefix = path.rpartition("/bin/")[0]
    try:
        text = root.read_bytes(f"{prefix}/include/node/node_version.h", limit=_HEADER_LIMIT)
    except (OSError, HostileInputError):
        version = re.match(r"(?:\d+:)?(\d+\.\d+\.\d+)", packages.get("nodejs", ""))
        return version[1] if version else ""
    parts = dict(_NODE_VERSION.findall(text))
    return ".".join(parts[key].decode() for key in (b"MAJOR", b"MINOR", b"PATCH") if key in parts)
