"""Effects stay at the rim: pure rooms do no I/O, one room starts processes, one reads the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterable

import pytest

from tests.unit.house.source_tree import PURE_ROOMS, Import, Module, parse_module, product

IO_MODULES = frozenset({
    "aiohttp", "asyncio", "bz2", "ctypes", "fcntl", "fileinput", "ftplib", "glob", "gzip", "http", "lzma", "mmap",
    "multiprocessing", "os", "pathlib", "platform", "pty", "pwd", "random", "requests", "resource", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tarfile", "tempfile",
    "termios", "time", "urllib", "urllib3", "uuid", "zipfile", "zstandard", "isal", "watchfiles",
})  # fmt: skip
PURE_PARTS = frozenset({"pathlib.PurePosixPath", "urllib.parse"})
"""Members of those modules that compute and touch nothing."""

IO_CALLS = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})
IO_MEMBERS = frozenset({"open", "open_code", "FileIO"})
"""What of ``io`` touches a file; the rest of it is memory."""

PROCESS_MODULES = frozenset({"subprocess", "multiprocessing", "pty", "asyncio.subprocess"})
PROCESS_CALLS = frozenset({"system", "popen", "fork", "forkpty"})
PROCESS_PREFIXES = ("exec", "spawn", "posix_spawn")
PROCESS_ROOMS = ("lamella.process",)
INSIDE_SANDBOX = frozenset({"lamella.engines.local.inside"})
"""The helper that is the sandbox's first process: it replaces itself by the step."""

ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb"})


def impure_uses(module: Module) -> list[str]:
    """I/O that a pure module asks for, one line each."""
    found = [
        f"{module.name}:{imported.line} imports {imported.target}"
        for imported in module.imports
        if imported.target.split(".")[0] in IO_MODULES and not _is_pure_part(imported.target)
    ]
    found += [
        f"{module.name}:{line} uses io.{name}" for line, name in _members_used(module.tree, "io") if name in IO_MEMBERS
    ]
    return found + [
        f"{module.name}:{node.lineno} calls {node.func.id}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IO_CALLS
    ]


def process_starts(module: Module) -> list[str]:
    """Places that start a process, one line each."""
    found = [
        f"{module.name}:{imported.line} imports {imported.target}"
        for imported in module.imports
        if _starts_processes(imported)
    ]
    return found + [
        f"{module.name}:{line} uses os.{name}" for line, name in _members_used(module.tree, "os") if _is_start(name)
    ]


def environment_uses(module: Module) -> list[str]:
    """Places that read the process's environment or arguments, one line each."""
    used = [("os", line, name) for line, name in _members_used(module.tree, "os") if name in ENVIRONMENT]
    used += [("sys", line, name) for line, name in _members_used(module.tree, "sys") if name == "argv"]
    return [f"{module.name}:{line} reads {owner}.{name}" for owner, line, name in used]


def _is_pure_part(target: str) -> bool:
    return any(target == part or target.startswith(f"{part}.") for part in PURE_PARTS)


def _starts_processes(imported: Import) -> bool:
    parts = imported.target.split(".")
    return parts[0] in PROCESS_MODULES or "ProcessPoolExecutor" in parts or parts[:2] == ["asyncio", "subprocess"]


def _is_start(name: str) -> bool:
    return name in PROCESS_CALLS or name.startswith(PROCESS_PREFIXES)


def _members_used(tree: ast.AST, owner: str) -> Iterable[tuple[int, str]]:
    """Members of a standard module that are used as ``owner.member`` or imported from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == owner:
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == owner:
            yield from ((node.lineno, alias.name) for alias in node.names)


def test_pure_rooms_do_no_io() -> None:
    assert [use for module in product() if module.room in PURE_ROOMS for use in impure_uses(module)] == []


def test_only_the_process_room_starts_processes() -> None:
    modules = [m for m in product() if not m.name.startswith(PROCESS_ROOMS) and m.name not in INSIDE_SANDBOX]
    assert [start for module in modules for start in process_starts(module)] == []


def test_only_the_command_line_reads_environment_and_arguments() -> None:
    modules = [m for m in product() if m.room not in {"cli", "__main__"} and m.name not in INSIDE_SANDBOX]
    assert [use for module in modules for use in environment_uses(module)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "from pathlib import Path",
        "import urllib.request",
        "def f():\n    return open('x')",
        "import io\nio.FileIO('x')",
        "import time",
    ],
)
def test_io_in_a_pure_room_is_found(text: str) -> None:
    assert len(impure_uses(parse_module("lamella.oci.sample", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "from pathlib import PurePosixPath",
        "import posixpath",
        "from urllib.parse import quote",
        "import io\nio.StringIO()",
    ],
)
def test_computation_in_a_pure_room_is_allowed(text: str) -> None:
    assert impure_uses(parse_module("lamella.oci.sample", text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess",
        "import os\nos.execvpe('a', [], {})",
        "from os import fork",
        "from concurrent.futures import ProcessPoolExecutor",
        "import os\nos.posix_spawn('a', [], {})",
    ],
)
def test_a_process_start_elsewhere_is_found(text: str) -> None:
    assert len(process_starts(parse_module("lamella.store.sample", text))) == 1


@pytest.mark.parametrize("text", ["import os\nos.environ['A']", "from os import getenv", "import sys\nsys.argv"])
def test_reading_the_environment_elsewhere_is_found(text: str) -> None:
    assert len(environment_uses(parse_module("lamella.store.sample", text))) == 1
