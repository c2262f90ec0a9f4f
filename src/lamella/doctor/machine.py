"""Checks of the machine: system, programs, ids, sandbox, disk. They change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lamella.doctor.values import Doctor, Finding, Fix
from lamella.errors import LamellaError
from lamella.host.probes import cpu_count, memory_bytes, subordinate_range, user_namespaces_refused

__all__ = ["disk", "free_range", "identity", "programs", "sandbox", "store", "system"]

SANDBOX = "sandbox"
"""What needs the things that only the embedded engine needs."""
INODES_WARN = 200_000
"""Free inodes below which a build may run out: one base image has some ten thousand files."""
RANGE = 65_536
"""Subordinate ids that a root file system needs: it may have any 16-bit owner."""
_FIRST = 100_000
"""Where ranges begin by custom (subuid(5))."""

_PROGRAMS = (
    ("bwrap", "bubblewrap", "every step runs in it", "error"),
    ("mmdebstrap", "mmdebstrap", "layers with bootstrap, toolchains and default bases need it", "warning"),
    ("apt-get", "apt", "mmdebstrap fetches with it", "warning"),
    ("git", "git", "without it ignored files count as sources, and there are no commits or tags", "warning"),
)


def system(doctor: Doctor) -> Iterator[Finding]:
    """Python, the operating system, processors and memory."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("python", "ok", f"{version} at {sys.executable}")
    if not doctor.linux:
        yield Finding(
            "system",
            "error",
            "the embedded engine needs Linux",
            Fix("run Lamella on Linux, in a Linux VM, or with a builder"),
            needed_by=SANDBOX,
        )
        return
    name = doctor.release.get("PRETTY_NAME", "Linux")
    memory = memory_bytes()
    size = f", {memory / 1024**3:.1f} GiB memory" if memory else ""
    yield Finding("system", "ok", f"{name}, {cpu_count()} processors{size}")


def programs(doctor: Doctor) -> Iterator[Finding]:
    """Programs that the embedded engine starts, and the keys of Debian's archive."""
    for program, package, use, state in _PROGRAMS:
        found = doctor.find(program)
        if found:
            yield Finding(program, "ok", found)
        else:
            fix = Fix(f"install the package {package}", (package,))
            yield Finding(program, state, f"not found: {use}", fix, needed_by=SANDBOX)
    debian = "debian" in (doctor.release.get("ID"), *doctor.release.get("ID_LIKE", "").split()[:1])
    if doctor.find("mmdebstrap") and not (debian and doctor.release.get("ID") == "debian"):
        if any(doctor.keyrings.glob("debian-archive-keyring.*")):
            yield Finding("keyring", "ok", "Debian's archive can be verified")
        else:
            package = "debian-archive-keyring"
            text = "the keys of Debian's archive are not here: bootstrapping Debian will be refused"
            yield Finding("keyring", "warning", text, Fix(f"install the package {package}", (package,)))


def identity(doctor: Doctor) -> Iterator[Finding]:
    """An ordinary user needs user namespaces, ranges of subordinate ids (subuid(5)), and what maps them."""
    if doctor.uid == 0:
        yield Finding("user", "ok", "root: no id mapping is needed")
        return
    refused, remedy = user_namespaces_refused()
    if refused:
        yield Finding("namespaces", "error", refused, Fix(remedy), needed_by=SANDBOX)
    if doctor.find("newuidmap") is None or doctor.find("newgidmap") is None:
        fix = Fix("install the package uidmap", ("uidmap",))
        yield Finding("newuidmap", "error", "not found: ids cannot be mapped", fix, needed_by=SANDBOX)
    for kind, option in (("subuid", "--add-subuids"), ("subgid", "--add-subgids")):
        found = subordinate_range(kind, doctor.uid, doctor.user, etc=doctor.etc)
        if found is not None and found.count >= RANGE:
            last = found.start + found.count - 1
            yield Finding(kind, "ok", f"{doctor.user} has {found.start}-{last} in {doctor.etc / kind}")
            continue
        start = free_range(doctor.etc / kind)
        command = ("usermod", option, f"{start}-{start + RANGE - 1}", doctor.user)
        few = f"only {found.count} ids" if found is not None else "no ids"
        text = f"{doctor.user} has {few} in {doctor.etc / kind}; {RANGE} are needed"
        fix = Fix(f"as root: {' '.join(command)}", commands=(command,))
        yield Finding(kind, "error", text, fix, needed_by=SANDBOX)


def free_range(file: Path) -> int:
    """The start of a range that overlaps none of a subuid(5) file."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return _FIRST
    ends = [_FIRST]
    for line in lines:
        _, _, rest = line.partition(":")
        start, _, count = rest.partition(":")
        if start.isdigit() and count.isdigit():
            ends.append(int(start) + int(count))
    return max(ends)


def store(doctor: Doctor) -> Iterator[Finding]:
    """The store can be opened by this release."""
    try:
        text = doctor.open_store()
    except LamellaError as error:
        yield Finding("store", "error", error.message, Fix(error.hint or "set LAMELLA_STORE to a folder of your own"))
    else:
        yield Finding("store", "ok", text or str(doctor.store))


def sandbox(doctor: Doctor) -> Iterator[Finding]:
    """A step really starts: namespaces, overlay and bubblewrap together."""
    if not doctor.linux:
        return
    try:
        doctor.probe()
    except LamellaError as error:
        fix = Fix(error.hint or "lamella --debug doctor shows more")
        yield Finding("sandbox", "error", error.message, fix, needed_by=SANDBOX)
    else:
        yield Finding("sandbox", "ok", "it starts, and its overlay can be written")


def disk(doctor: Doctor) -> Iterator[Finding]:
    """Space and inodes where the store is."""
    place = doctor.store
    while not place.exists() and place != place.parent:
        place = place.parent
    stats = os.statvfs(place)
    free = stats.f_bavail * stats.f_frsize
    text = f"{free / 1024**3:.1f} GiB free at {doctor.store}"
    fix = Fix("free some space, run lamella cache gc, or set LAMELLA_STORE to a larger disk")
    if free < doctor.want_free:
        yield Finding("disk", "warning", text, fix)
    elif stats.f_files and stats.f_favail < INODES_WARN:
        yield Finding("disk", "warning", f"{text}, but only {stats.f_favail} inodes", fix)
    else:
        yield Finding("disk", "ok", text)
