"""The host's own tools as a root file system for ``host = true``: what identifies them, what steps see of them.

The identity has every tool's own word on its version, the system's release and the digest of its package database
(DESIGN 3b). Steps see system directories and the tools' installations read-only at the same place, nothing else.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from lamella.canonical import FrozenMap, canonical_json, digest_value
from lamella.commit import replace_file
from lamella.errors import LamellaError, SandboxError
from lamella.graph.protocols import HostTools
from lamella.host.probes import os_release
from lamella.process import SYSTEM_PATH, base_env, run, which
from lamella.values import dataclass, replace

__all__ = ["SYSTEM_BINDS", "ToolMemo", "find_host_tools", "module_version", "path_directories"]

SYSTEM_BINDS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")
"""Where a system keeps programs and libraries. Links among them are made anew in a step's root."""

_ETC = (
    "alternatives",
    "ca-certificates",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki",
    "protocols",
    "python3*",
    "services",
    "ssl",
)
"""What programs need of ``/etc``; nothing that says who owns this machine or how it is reached."""

_PACKAGE_DATABASES = (
    "/var/lib/dpkg/status",
    "/lib/apk/db/installed",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
)
_FIRST_LINE = {
    "cc": ("cc", "--version"),
    "c++": ("c++", "--version"),
    "clang": ("clang", "--version"),
    "ld": ("ld", "--version"),
    "ld.lld": ("ld.lld", "--version"),
    "mold": ("mold", "--version"),
    "node": ("node", "--version"),
    "bun": ("bun", "--version"),
    "uv": ("uv", "--version"),
}
"""Tools whose first line of output is their version."""
_MODULES = ("npm", "pnpm", "yarn")
"""Programs of Node, which are asked through their package.json: starting Node for it takes longer than a plan."""
_PYTHON = "import sys; print(sys.implementation.cache_tag, sys.version.split()[0]); print(sys.base_prefix)"
_KEPT = ("PATH", "HOME", "LANG", "RUSTUP_HOME", "CARGO_HOME", "LD_LIBRARY_PATH", "PYENV_ROOT", "PYENV_VERSION")
_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class _Tool:
    """A found tool: its ``version``, and the directories that steps need beside the system's."""

    version: str
    binds: tuple[str, ...] = ()
    path: str = ""


def find_host_tools(environ: Mapping[str, str]) -> HostTools:
    """The tools that ``environ`` (PATH, HOME, RUSTUP_HOME, CARGO_HOME) leads to.

    Raises SandboxError on another system than Linux.
    """
    if sys.platform != "linux":
        raise SandboxError(
            "host = true runs steps on this machine, which has to be Linux",
            hint="leave host out: a toolchain is then installed in a step",
        )
    with ToolMemo(_memo_file(environ)) as memo:
        tools = _ask_all(base_env(environ, _KEPT), memo)
    parts = {name: tool.version for name, tool in tools.items()} | _system()
    binds = [path for path in SYSTEM_BINDS if os.path.lexists(path)] + _etc()
    binds += [path for tool in tools.values() for path in tool.binds]
    env = {"PATH": ":".join(path_directories(tool.path for tool in tools.values()))}
    rustup = _rustup_home(environ)
    if any(name.startswith("rustc") for name in tools) and rustup.is_dir():
        env["RUSTUP_HOME"] = str(rustup)
    return HostTools(
        identity=digest_value(parts), parts=FrozenMap(parts), binds=tuple(dict.fromkeys(binds)), env=FrozenMap(env)
    )


def path_directories(extra: Iterable[str]) -> tuple[str, ...]:
    """Directories for a PATH: those of tools that are not the system's, then the system's, each once."""
    return tuple(dict.fromkeys([*filter(None, extra), *SYSTEM_PATH.split(":")]))


class ToolMemo:
    """What programs said of themselves, as long as their files are the very same; kept in a file that may be lost.

    Planning asks on every run, and eight programs take a second. A script is asked each time: what it leads to may
    change without it (pyenv's stand-ins).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        with suppress(OSError, ValueError, AttributeError):
            known = json.loads(self._path.read_bytes())
            self._known = {str(key): str(value) for key, value in known["answers"].items()}
        return self

    def __exit__(self, *_: object) -> None:
        if self._said != self._known and self._path.parent.is_dir():
            with suppress(OSError, LamellaError):
                replace_file(self._path, canonical_json({"answers": self._said}))

    def ask(self, argv: tuple[str, ...], env: Mapping[str, str]) -> str:
        """Standard output of a program; raises StepError when it fails."""
        key = _fingerprint(argv)
        text = self._known.get(key) if key else None
        if text is None:
            text = run(argv, env=env, timeout=_TIMEOUT).text
        if key:
            self._said[key] = text
        return text


def _fingerprint(argv: tuple[str, ...]) -> str:
    """Names a program's file in its present state and the question; empty for a script."""
    real = os.path.realpath(argv[0])
    with open(real, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return ""
        found = os.fstat(file.fileno())
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return " ".join([real, *argv[1:], *map(str, state)])


def _memo_file(environ: Mapping[str, str]) -> Path:
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "/nonexistent"), ".cache")
    return Path(cache) / "lamella" / "host-tools.json"


def _ask_all(env: Mapping[str, str], memo: ToolMemo) -> dict[str, _Tool]:
    """Every tool that answers, asked side by side."""
    questions: dict[str, Callable[[], _Tool | None]] = {
        name: partial(_first_line, argv, env, memo) for name, argv in _FIRST_LINE.items()
    }
    questions |= {name: partial(_module, name, env) for name in _MODULES}
    questions |= {"python": partial(_python, env, memo), **_rust_questions(env, memo)}
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = {name: pool.submit(_quietly, question) for name, question in questions.items()}
        found = {name: answer.result() for name, answer in answers.items()}
    return {name: tool for name, tool in sorted(found.items()) if tool is not None}


def _quietly(question: Callable[[], _Tool | None]) -> _Tool | None:
    """An answer, or none from a tool that is broken: whoever needs it will say so in its step."""
    try:
        return question()
    except (LamellaError, OSError, ValueError, KeyError):
        return None


def _first_line(argv: tuple[str, ...], env: Mapping[str, str], memo: ToolMemo) -> _Tool | None:
    whole = _whole(argv, env, memo)
    return replace(whole, version=whole.version.partition("\n")[0].strip()) if whole else None


def _place(program: str) -> tuple[tuple[str, ...], str]:
    """What has to be shown for a program, and its directory for PATH; nothing for one of the system's."""
    real = os.path.realpath(program)
    binds = [] if _is_system(program) else [os.path.dirname(program)]
    if not _is_system(real):
        binds.append(_installation(real))
    return tuple(dict.fromkeys(binds)), "" if _is_system(program) else os.path.dirname(program)


def _is_system(path: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in SYSTEM_BINDS)


def _installation(program: str) -> str:
    """The directory around ``bin`` where a program has its libraries; just its own directory when it has no such."""
    directory = os.path.dirname(program)
    parent = os.path.dirname(directory)
    return parent if os.path.basename(directory) == "bin" and parent.count("/") > 2 else directory


def _module(name: str, env: Mapping[str, str]) -> _Tool | None:
    found = which(name, env)
    version = module_version(name, os.path.realpath(found)) if found else ""
    if not found or not version:
        return None
    binds, directory = _place(found)
    return _Tool(version, binds, directory)


def module_version(name: str, program: str) -> str:
    """The version in the package.json that a program of a Node package belongs to; empty when there is none."""
    for folder in Path(program).parents:
        with suppress(OSError, ValueError):
            manifest = json.loads((folder / "package.json").read_bytes())
            if manifest.get("name") == name:
                return str(manifest.get("version", ""))
    return ""


def _python(env: Mapping[str, str], memo: ToolMemo) -> _Tool | None:
    found = which("python3", env)
    if found is None:
        return None
    version, prefix = memo.ask((_behind_pyenv(found, env), "-I", "-c", _PYTHON), env).splitlines()
    if _is_system(prefix):
        return _Tool(version)
    return _Tool(version, (prefix,), f"{prefix}/bin")


def _behind_pyenv(program: str, env: Mapping[str, str]) -> str:
    """The interpreter that a stand-in of pyenv starts by default; the program itself when it is none."""
    shims = Path(program).parent
    if shims.name != "shims":
        return program
    with suppress(OSError, IndexError):
        chosen = env.get("PYENV_VERSION") or (shims.parent / "version").read_text(encoding="utf-8")
        real = shims.parent / "versions" / chosen.split()[0].split(":")[0] / "bin" / Path(program).name
        return str(real) if real.exists() else program
    return program


def _rustup_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("RUSTUP_HOME") or Path(environ.get("HOME", "/root")) / ".rustup")


def _rust_questions(env: Mapping[str, str], memo: ToolMemo) -> dict[str, Callable[[], _Tool | None]]:
    """Each toolchain of rustup by itself, since the project's toolchain file chooses; else the one there is."""
    home = _rustup_home(env)
    toolchains = sorted(path for path in home.glob("toolchains/*") if (path / "bin" / "rustc").exists())
    if not toolchains or which("rustc", env) is None:
        return {
            "rustc": partial(_whole, ("rustc", "-vV"), env, memo),
            "cargo": partial(_first_line, ("cargo", "-V"), env, memo),
        }
    named = {f"rustc {path.name}": partial(_toolchain, path, env, memo) for path in toolchains}
    return {"rustc": partial(_rustup, home, env), **named}


def _rustup(home: Path, env: Mapping[str, str]) -> _Tool | None:
    """The stand-ins of rustup and which toolchain they choose by default."""
    found = which("rustc", env)
    if found is None:
        return None
    default = ""
    with suppress(OSError, tomllib.TOMLDecodeError):
        default = str(tomllib.loads((home / "settings.toml").read_text(encoding="utf-8")).get("default_toolchain", ""))
    directory = os.path.dirname(found)
    return _Tool(f"rustup, default {default}", (directory, str(home)), "" if _is_system(found) else directory)


def _toolchain(path: Path, env: Mapping[str, str], memo: ToolMemo) -> _Tool:
    rustc = memo.ask((str(path / "bin" / "rustc"), "-vV"), env)
    with suppress(LamellaError):
        rustc += "\n" + memo.ask((str(path / "bin" / "cargo"), "-V"), env)
    targets = sorted(item.name for item in (path / "lib" / "rustlib").glob("*") if (item / "lib").is_dir())
    return _Tool(f"{rustc}\ntargets: {' '.join(targets)}")


def _whole(argv: tuple[str, ...], env: Mapping[str, str], memo: ToolMemo) -> _Tool | None:
    found = which(argv[0], env)
    return _Tool(memo.ask((found, *argv[1:]), env), *_place(found)) if found else None


def _system() -> dict[str, str]:
    release = os_release()
    parts = {"os-release": " ".join(release.get(name, "") for name in ("ID", "VERSION_ID", "VERSION_CODENAME")).strip()}
    for path in _PACKAGE_DATABASES:
        with suppress(OSError), open(path, "rb") as file:
            parts["packages"] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            break
    return parts


def _etc() -> list[str]:
    return [path for name in _ETC for path in sorted(glob.glob(f"/etc/{name}"))]
