"""Asks uv: which wheels answer a request (for ``lamella lock``), and where a locked wheel of the default index lies.

uv reads the user's own configuration (indexes, credentials, certificates), so no index has a name here. What comes from
the user's default index is locked without a URL: another user may have another index with the same wheels.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from lamella.canonical import FrozenMap
from lamella.errors import AuthError, ConfigError, InternalError, LamellaError, RegistryError
from lamella.graph.op import Wheel
from lamella.oci.platform import machine_name
from lamella.process import Completed, run
from lamella.sources.wheel_request import ResolveRequest
from lamella.sources.wheel_tags import Target
from lamella.values import dataclass

__all__ = ["UvResolver", "find_uv"]

TIMEOUT = 1800.0
"""Seconds for one resolution; a source archive may have to be built for its metadata."""

_FINDING = threading.Lock()
_MANYLINUX = (17, 28, *range(31, 41))
"""The glibc minors that uv takes in ``--python-platform``."""

_NETWORK = ("error sending request", "Failed to fetch", "Could not connect", "dns error", "Network", "timed out")
_AUTH = ("401 Unauthorized", "403 Forbidden", "credentials")
_FROM = re.compile(r"^([A-Za-z0-9][\w.-]*)==(?:.*\n)*?(?=^\S|\Z)", re.MULTILINE)


def find_uv() -> str:
    """The uv program of our own dependency; raises InternalError when the installation is broken. Thread-safe."""
    from uv import find_uv_bin

    try:
        with _FINDING:  # sysconfig, which it asks, gives half of its answers to a second thread (CPython 3.11)
            return find_uv_bin()
    except FileNotFoundError as error:
        raise InternalError(f"the uv program is missing from its package: {error}") from error


@dataclass(frozen=True, slots=True)
class UvResolver:
    """Runs uv with ``env`` (the user's, so that their index configuration counts).

    ``size_of`` gives the bytes of a URL where an index tells no sizes, 0 when it cannot.
    """

    env: FrozenMap[str, str]
    size_of: Callable[[str], int] | None = None
    offline: bool = False

    def resolve(self, request: ResolveRequest) -> tuple[Wheel, ...]:
        """The wheels (source archives where no wheel fits) that answer a request, sorted by name.

        Raises ConfigError when no set fits the requirements, RegistryError or AuthError when an index cannot be
        asked.
        """
        bound = {name for index in request.indexes for name in index.packages}
        direct = {_name(line) for line in request.requirements}
        while True:
            with TemporaryDirectory(prefix="lamella-uv-") as folder:
                project = Path(folder, "pyproject.toml")
                project.write_text(_project(request, direct), encoding="utf-8")
                packages = self._compile(request, project)
                origins = self._origins(request, project)
            # An index binds only what the project itself asks for, so what came in by others is asked for as well.
            late = {package["name"] for package in packages} & bound - direct
            if not late:
                break
            direct |= late
        wheels = tuple(_wheel(package, request, origins) for package in packages if "vcs" not in package)
        _check_hashes(wheels, request)
        return tuple(sorted(self._with_sizes(wheels, packages), key=lambda wheel: wheel.name))

    def locate(self, wheels: tuple[Wheel, ...], python: str) -> dict[str, str]:
        """The URL of each wheel on the user's indexes now, by file name; ``python`` is ``3.11``.

        Only wheels with the locked sha256 count. Raises ConfigError when the indexes have no such file.
        """
        wanted = {wheel.filename: wheel for wheel in wheels if not wheel.url}
        if not wanted:
            return {}
        pins = "".join(sorted(f"{wheel.name}=={wheel.version}\n" for wheel in wanted.values()))
        argv = (*self._uv("-", python), "--no-deps", "--universal", "--format", "pylock.toml")
        with TemporaryDirectory(prefix="lamella-uv-") as folder:
            output = self._run(argv, Path(folder), stdin=pins.encode())
        found: dict[str, str] = {}
        for package in tomllib.loads(output.text).get("packages", ()):
            for item in package.get("wheels", ()):
                wheel = wanted.get(_filename(item))
                if wheel is not None and item.get("hashes", {}).get("sha256") == wheel.sha256:
                    found[wheel.filename] = str(item["url"])
        missing = sorted(set(wanted) - set(found))
        if missing:
            raise ConfigError(
                f"wheel {missing[0]} is not on the index with the locked sha256",
                hint="the index may have dropped or replaced it; run: lamella lock --upgrade",
                details=tuple(missing[1:]),
            )
        return found

    def _compile(self, request: ResolveRequest, project: Path) -> list[dict[str, Any]]:
        """The packages of the answer; source archives only when wheels alone give no answer."""
        argv = (*self._resolve_argv(request, project), "--format", "pylock.toml")
        chosen = any(option in ("--no-binary", "--only-binary") for option, _ in request.options)
        if not chosen:
            try:
                done = self._run((*argv, "--only-binary", ":all:"), project.parent)
            except ConfigError:
                done = self._run(argv, project.parent)
        else:
            done = self._run(argv, project.parent)
        exclude = set(request.exclude)
        return [entry for entry in tomllib.loads(done.text).get("packages", ()) if entry["name"] not in exclude]

    def _origins(self, request: ResolveRequest, project: Path) -> FrozenMap[str, str]:
        """The index of each package, asked for only where an unbound extra index may serve any of them."""
        if all(index.packages for index in request.indexes):
            return FrozenMap()
        argv = (*self._resolve_argv(request, project), "--emit-index-annotation", "--format", "requirements.txt")
        try:
            text = self._run((*argv, "--only-binary", ":all:"), project.parent).text
        except ConfigError:
            text = self._run(argv, project.parent).text
        found = {}
        for block in _FROM.finditer(text):
            origin = re.search(r"# from (\S+)", block[0])
            if origin:
                found[block[1].lower().replace("_", "-")] = origin[1]
        return FrozenMap(found)

    def _resolve_argv(self, request: ResolveRequest, project: Path) -> tuple[str, ...]:
        options = [word for option, value in request.options for word in _option(option, value)]
        platform = uv_platform(request.platform, request.libc)
        return (*self._uv(str(project), request.python), "--python-platform", platform, *options)

    def _uv(self, source: str, python: str) -> tuple[str, ...]:
        offline = ("--offline",) if self.offline else ()
        return (
            *(find_uv(), "pip", "compile", source, "--quiet", "--no-header", "--no-annotate", "--no-python-downloads"),
            *("--python", sys.executable, "--python-version", python, *offline),
        )

    def _run(self, argv: tuple[str, ...], cwd: Path, *, stdin: bytes | None = None) -> Completed:
        env = {
            name: value for name, value in self.env.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
        }
        done = run(argv, env=env, cwd=cwd, stdin=stdin, timeout=TIMEOUT, check=False, error=RegistryError)
        if done.code != 0:
            raise _failure(done)
        return done

    def _with_sizes(self, wheels: tuple[Wheel, ...], packages: list[dict[str, Any]]) -> list[Wheel]:
        """Sizes decide which wheels get layers of their own; an index without them is asked file by file."""
        if self.size_of is None:
            return list(wheels)
        from concurrent.futures import ThreadPoolExecutor

        urls = {_filename(item): str(item["url"]) for package in packages for item in _artifacts(package)}
        size_of = self.size_of

        def sized(wheel: Wheel) -> Wheel:
            if wheel.size:
                return wheel
            size = size_of(urls[wheel.filename])
            return Wheel(wheel.name, wheel.version, wheel.filename, wheel.sha256, wheel.url, size)

        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(sized, wheels))


def uv_platform(platform: str, libc: str) -> str:
    """The name uv has for a target: ``linux/amd64`` with ``manylinux_2_36`` is ``x86_64-manylinux_2_36``."""
    machine = machine_name(platform.split("/")[1])
    if machine not in ("x86_64", "aarch64"):
        raise ConfigError(
            f"Python packages cannot be resolved for {platform}",
            hint="linux/amd64 and linux/arm64 can; for others write a pylock.toml and name it in 'lock'",
        )
    if libc.startswith("musllinux"):
        return f"{machine}-unknown-linux-musl"
    newest = int(libc.rpartition("_")[2])
    minor = max((known for known in _MANYLINUX if known <= newest), default=_MANYLINUX[0])
    return f"{machine}-manylinux_2_{minor}"


def _project(request: ResolveRequest, direct: set[str]) -> str:
    """A ``pyproject.toml`` that asks the request: only there can an index be bound to names."""
    asked = {_name(line) for line in request.requirements}
    dependencies = [*request.requirements, *sorted(direct - asked)]
    lines = [
        "[project]",
        'name = "lamella-request"',
        'version = "0"',
        f'requires-python = ">={request.python}"',
        f"dependencies = {json.dumps(dependencies)}",
        "[tool.uv]",
        "package = false",
        f"constraint-dependencies = {json.dumps(list(request.constraints))}",
    ]
    sources: dict[str, str] = {}
    for number, index in enumerate(request.indexes):
        name = f"index-{number}"
        lines += ["[[tool.uv.index]]", f"name = {json.dumps(name)}", f"url = {json.dumps(index.url)}"]
        lines += ["explicit = true"] if index.packages else []
        sources |= {package: name for package in index.packages if package in direct}
    if request.default_index:
        lines += ["[[tool.uv.index]]", f"url = {json.dumps(request.default_index)}", "default = true"]
    if sources:
        lines.append("[tool.uv.sources]")
        lines += [
            f"{json.dumps(package)} = {{ index = {json.dumps(name)} }}" for package, name in sorted(sources.items())
        ]
    return "\n".join(lines) + "\n"


def _option(option: str, value: str) -> tuple[str, ...]:
    if option == "--pre":
        return ("--prerelease", "allow")
    return tuple(word for name in value.split(",") if name.strip() for word in (option, name.strip()))


def _name(line: str) -> str:
    """The name a canonical requirement line begins with."""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
    return match[0] if match else line


def _target(request: ResolveRequest) -> Target:
    kind, major, minor = request.libc.split("_")
    return Target(
        ".".join(request.python.split(".")[:2]),
        request.platform,
        libc="musl" if kind == "musllinux" else "glibc",
        libc_version=(int(major), int(minor)),
    )


def _artifacts(package: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Wheels first, then a direct archive, then the source archive."""
    found = list(package.get("wheels", ()))
    return found + [package[key] for key in ("archive", "sdist") if key in package]


def _filename(item: Mapping[str, Any]) -> str:
    return str(item.get("name") or unquote(urlsplit(str(item.get("url", ""))).path.rpartition("/")[2]))


def _wheel(package: Mapping[str, Any], request: ResolveRequest, origins: Mapping[str, str]) -> Wheel:
    """The best artefact for the target of those that fit; its URL is kept where the project itself names the place."""
    artifacts = _artifacts(package)
    best = _target(request).best(_filename(item) for item in artifacts)
    if not artifacts:
        raise ConfigError(
            f"{package['name']} is neither on an index nor at a URL",
            hint="folders of the project are named with -e or ./",
        )
    chosen = next((item for item in artifacts if _filename(item) == best), artifacts[-1])
    sha256 = chosen.get("hashes", {}).get("sha256", "")
    filename = _filename(chosen)
    if not sha256:
        raise ConfigError(f"the index gives no sha256 for {filename}", hint="take an index that does")
    named = {name for index in request.indexes for name in index.packages}
    urls = {index.url for index in request.indexes if not index.packages}
    keep = (
        "archive" in package
        or bool(request.default_index)
        or package["name"] in named
        or origins.get(str(package["name"]), "") in urls
    )
    url = str(chosen.get("url", "")) if keep else ""
    return Wheel(str(package["name"]), str(package["version"]), filename, sha256, url, int(chosen.get("size", 0)))


def _check_hashes(wheels: tuple[Wheel, ...], request: ResolveRequest) -> None:
    """What the project's files pin by hash must be one of these files."""
    allowed: dict[str, set[str]] = {}
    for name, digest in request.hashes:
        allowed.setdefault(name, set()).add(digest)
    for wheel in wheels:
        if wheel.name in allowed and f"sha256:{wheel.sha256}" not in allowed[wheel.name]:
            raise ConfigError(
                f"{wheel.filename} fits {request.platform} but is not among the hashes of {wheel.name}",
                hint="add its hash, with: uv pip compile --generate-hashes",
            )


def _failure(done: Completed) -> LamellaError:
    """The words of uv, under the exit code of whoever must act."""
    text = done.stderr.decode("utf-8", "replace").strip() or "uv gave no reason"
    first, *rest = text.splitlines()
    details = tuple(line.rstrip() for line in rest[:40])
    message = f"uv: {first.removeprefix('error: ').strip()}"
    if any(word in text for word in _AUTH):
        return AuthError(
            message, details=details, hint="give uv credentials for the index (its documentation: Authentication)"
        )
    if any(word in text for word in _NETWORK):
        return RegistryError(message, details=details, hint="check the network and the index that uv is configured for")
    return ConfigError(
        message, details=details, hint="loosen a requirement, or correct it, and run again: lamella lock"
    )
