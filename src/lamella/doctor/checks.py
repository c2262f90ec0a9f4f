"""The checks of the host, each a function to findings. They change nothing; a ``Fix`` is a value."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lamella.errors import LamellaError
from lamella.process import run, which

__all__ = ["Doctor", "Finding", "Fix", "examine"]

_DISK_WARN = 10 * 1024**3
"""Bytes free below which builds are likely to fail: one Rust build may need several GiB."""


@dataclass(frozen=True, slots=True)
class Fix:
    """How to repair: Debian ``packages`` to install, or only ``words`` for people."""

    words: str
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. ``state`` is ok, warning or error; an error means that builds cannot work."""

    name: str
    state: str
    text: str
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class Doctor:
    """What the checks look at. ``probe`` starts the sandbox and raises SandboxError; ``environ`` is the user's."""

    store: Path
    environ: Mapping[str, str]
    probe: Callable[[], None]


_PROGRAMS = (
    ("bwrap", "bubblewrap", "steps run in it", "error"),
    ("mmdebstrap", "mmdebstrap", "bootstraps Debian bases", "warning"),
    ("git", "git", "tells which files are ignored, and versions", "warning"),
)


def examine(doctor: Doctor) -> tuple[Finding, ...]:
    """All findings, in an order that reads from the ground up."""
    checks = (_python, _programs, _ids, _sandbox, _disk, _uv, _docker, _certificates)
    return tuple(finding for check in checks for finding in check(doctor))


def _python(_doctor: Doctor) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("python", "ok", f"{version} at {sys.executable}")


def _programs(doctor: Doctor) -> Iterator[Finding]:
    for program, package, use, state in _PROGRAMS:
        found = which(program, doctor.environ)
        if found:
            yield Finding(program, "ok", str(found))
        else:
            fix = Fix(f"install the package {package}", (package,))
            yield Finding(program, state, f"not found: {use}", fix)


def _ids(doctor: Doctor) -> Iterator[Finding]:
    """An ordinary user needs ranges of subordinate ids (subuid(5)) and the programs that map them."""
    if os.geteuid() == 0:
        yield Finding("user", "ok", "root: no id mapping needed")
        return
    if which("newuidmap", doctor.environ) is None:
        yield Finding("id mapping", "error", "newuidmap is not there", Fix("install the package uidmap", ("uidmap",)))
    import pwd

    name = pwd.getpwuid(os.geteuid()).pw_name
    for file in ("/etc/subuid", "/etc/subgid"):
        ranged = _has_range(Path(file), name, os.geteuid())
        words = f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
        text = f"{name} has a range in {file}" if ranged else f"{name} has no range in {file}"
        yield Finding(Path(file).name, "ok" if ranged else "error", text, None if ranged else Fix(words))


def _has_range(file: Path, name: str, uid: int) -> bool:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return False
    return any(line.split(":")[0] in (name, str(uid)) for line in lines)


def _sandbox(doctor: Doctor) -> Iterator[Finding]:
    try:
        doctor.probe()
    except LamellaError as error:
        yield Finding("sandbox", "error", error.message, Fix(error.hint) if error.hint else None)
    else:
        yield Finding("sandbox", "ok", "a step ran in it")


def _disk(doctor: Doctor) -> Iterator[Finding]:
    place = doctor.store
    while not place.exists():
        place = place.parent
    stats = os.statvfs(place)
    free = stats.f_bavail * stats.f_frsize
    text = f"{free / 1024**3:.1f} GiB free at {doctor.store}"
    if free < _DISK_WARN:
        yield Finding("disk", "warning", text, Fix("free some space, or run: lamella cache gc"))
    else:
        yield Finding("disk", "ok", text)


def _uv(doctor: Doctor) -> Iterator[Finding]:
    """Uv comes as a wheel with Lamella; a broken installation shows here."""
    try:
        from uv import find_uv_bin

        version = run([find_uv_bin(), "--version"], env=dict(doctor.environ), timeout=20).stdout.decode().strip()
    except (ImportError, FileNotFoundError, LamellaError) as error:
        yield Finding("uv", "warning", f"cannot be run: {error}", Fix("install Lamella again"))
    else:
        yield Finding("uv", "ok", version)


def _docker(doctor: Doctor) -> Iterator[Finding]:
    if which("docker", doctor.environ) is None:
        yield Finding("docker", "ok", "not installed; only --load and run --engine docker need it")
        return
    answer = run(
        ["docker", "version", "--format", "{{.Server.Version}}"], env=dict(doctor.environ), timeout=20, check=False
    )
    version = answer.stdout.decode().strip()
    if answer.code == 0 and version:
        yield Finding("docker", "ok", f"engine {version} answers")
    else:
        yield Finding("docker", "ok", "client without a reachable engine; only --load and run --engine docker need it")


def _certificates(doctor: Doctor) -> Iterator[Finding]:
    name = next((n for n in ("LAMELLA_CA_BUNDLE", "SSL_CERT_FILE") if doctor.environ.get(n)), "")
    if name:
        yield Finding("certificates", "ok", f"{name} = {doctor.environ[name]} reaches steps too")
