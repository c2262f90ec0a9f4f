"""Root file systems from a distribution's archive, with mmdebstrap(1): what is asked for, and what is kept of it.

Two runs that install the same packages give the same bytes: whatever depends on the machine, the hour or chance is
removed or emptied afterwards.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

from lamella.engines.local.environment import STEP_BASE
from lamella.engines.local.jobs import BootstrapJob
from lamella.engines.local.mounts import Overlay, mount_overlay, unmount_all
from lamella.engines.local.values import RunnerSettings
from lamella.errors import ConfigError, SandboxError, StepError
from lamella.graph.op import BootstrapOp
from lamella.host.probes import os_release
from lamella.host.rooted import Rooted
from lamella.process import SYSTEM_PATH, run, which
from lamella.values import dataclass

__all__ = [
    "ArchiveLine",
    "bootstrap_arguments",
    "normalise_debian",
    "parse_index_targets",
    "prepare",
    "run_bootstrap",
    "source_lines",
]

_ROLLING = frozenset({"sid", "unstable", "experimental", "rc-buggy"})
"""Suites without a suite for updates or security."""

REMOVED = (
    "dev/*",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/.pwd.lock",
    "tmp/*",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/archives/lock",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/extended_states~",
    "var/lib/apt/lists/*",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
    "var/log/*.log",
    "var/log/apt/*",
    "var/tmp/*",
)
"""Relative to the root; ``*`` stands for one name. Directories go with what they hold."""

EMPTIED = ("etc/machine-id",)
"""Made anew at first boot when it is empty (machine-id(5))."""


_FIXED_ENV = {
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SOURCE_DATE_EPOCH": STEP_BASE["SOURCE_DATE_EPOCH"],
}
_INDEX_TARGETS = (
    "indextargets",
    "--no-release-info",
    "--format",
    "$(REPO_URI) $(RELEASE) $(COMPONENT)",
    "Created-By: Packages",
)


@dataclass(frozen=True, slots=True)
class ArchiveLine:
    """One archive of the host's apt configuration: URI, suite, component."""

    uri: str
    suite: str
    component: str


def parse_index_targets(text: str) -> tuple[ArchiveLine, ...]:
    """What ``apt-get indextargets`` printed as ``URI SUITE COMPONENT`` lines, each once, in order."""
    rows = [line.split() for line in text.splitlines()]
    return tuple(dict.fromkeys(ArchiveLine(row[0], row[1], row[2]) for row in rows if len(row) == 3))


def source_lines(
    op: BootstrapOp, *, snapshot_mirror: str, host: tuple[ArchiveLine, ...], host_codename: str
) -> tuple[str, ...]:
    """The sources.list(5) lines of a bootstrap; empty leaves the choice to mmdebstrap.

    A pin needs the user's ``snapshot_mirror`` or a ``mirror`` of its own; else the host's own archives of the same
    distribution are used, with its code name replaced. Raises ConfigError for a pin without a mirror.
    """
    if op.snapshot and not op.mirror and not snapshot_mirror:
        raise ConfigError(
            f"{op.distribution}/{op.suite} is pinned to {op.snapshot}, and no snapshot mirror is configured",
            hint="set snapshot_mirror in the user's configuration to the base URL of a snapshot archive",
        )
    option = "[check-valid-until=no] " if op.snapshot else ""
    if op.mirror:
        return _archive(option, op.mirror, "", op.suite)
    if op.snapshot:
        base = snapshot_mirror.rstrip("/")
        security = f"{base}/{op.distribution}-security/{op.snapshot}" if op.distribution == "debian" else ""
        return _archive(option, f"{base}/{op.distribution}/{op.snapshot}", security, op.suite)
    return _of_host(op, host, host_codename)


def _archive(option: str, uri: str, security: str, suite: str) -> tuple[str, ...]:
    lines = [f"deb {option}{uri} {suite} main"]
    if security and suite not in _ROLLING:
        lines += [f"deb {option}{uri} {suite}-updates main", f"deb {option}{security} {suite}-security main"]
    return tuple(lines)


def _of_host(op: BootstrapOp, host: tuple[ArchiveLine, ...], codename: str) -> tuple[str, ...]:
    """The host's archives whose path ends in the distribution's name, for the wanted suite."""
    own = (op.distribution, f"{op.distribution}-security")
    lines: list[str] = []
    for line in host:
        tail = posixpath.basename(line.uri.rstrip("/"))
        known = line.suite == codename or line.suite.startswith(f"{codename}-")
        if tail not in own or not codename or not known or line.component != "main":
            continue
        suite = op.suite + line.suite[len(codename) :]
        if suite == op.suite or op.suite not in _ROLLING:
            lines.append(f"deb {line.uri.rstrip('/')} {suite} main")
    return tuple(lines) if any(line.endswith(f" {op.suite} main") for line in lines) else ()


def bootstrap_arguments(op: BootstrapOp, lines: tuple[str, ...], target: str) -> tuple[str, ...]:
    """The arguments of mmdebstrap, without the program."""
    arguments = [
        "--mode=root",
        "--format=directory",
        "--verbose",
        f"--variant={op.variant}",
        f"--architectures={op.architecture}",
        '--aptopt=Acquire::Languages "none"',
    ]
    if op.include:
        arguments.append(f"--include={','.join(op.include)}")
    return (*arguments, "--", op.suite, target, *lines)


def prepare(op: BootstrapOp, settings: RunnerSettings, target: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Arguments and environment of mmdebstrap for a bootstrap into ``target``. Raises ConfigError."""
    env = {"PATH": SYSTEM_PATH, **settings.env, **_FIXED_ENV}
    apt, host, codename = which("apt-get", env), "", os_release().get("VERSION_CODENAME", "")
    if apt is not None and not op.mirror and not op.snapshot:
        host = run((apt, *_INDEX_TARGETS), env=env, check=False).text
    lines = source_lines(
        op, snapshot_mirror=settings.snapshot_mirror, host=parse_index_targets(host), host_codename=codename
    )
    return bootstrap_arguments(op, lines, target), env


def run_bootstrap(
    job: BootstrapJob, env: Mapping[str, str], emit: Callable[[int, str], None], cancelled: Event, *, rootless: bool
) -> dict[str, Any]:
    """Runs mmdebstrap in the helper, in process ids of its own, and brings the result into its lasting form.

    It writes through an overlay that leaves out syncs: dpkg asks for one per file, the commit does one for all.
    """
    from lamella.engines.local.packages import dpkg_set
    from lamella.layers.snapshot import scan_upper

    folder = Path(job.folder)
    for name in ("lower", "work", "merged"):
        (folder / name).mkdir(mode=0o755)
    overlay = Overlay("/", (str(folder / "lower"),), job.result, str(folder / "work"))
    mount_overlay(overlay, str(folder / "merged"), rootless=rootless)
    try:
        _mmdebstrap(job, env, emit, cancelled)
    finally:
        unmount_all(str(folder / "merged"))
    with Rooted(job.result, links=False) as root:
        normalise_debian(root)
        packages = dpkg_set(root)
    (folder / "fileset").write_bytes(scan_upper(job.result, ()).to_bytes())
    (folder / "packages").write_bytes(packages)
    with Rooted(folder, links=False) as home:
        home.remove_tree("work")
    return {"fileset": str(folder / "fileset"), "packages": str(folder / "packages")}


_HINTS = (
    (
        r"is expired \(invalid since",
        "the mirror is behind, or this machine's clock is ahead (see: date)",
    ),
    (r"is not valid yet", "this machine's clock is behind (see: date)"),
    (
        r"(Could not resolve|Temporary failure resolving|Unable to connect|Could not connect|Connection timed out)",
        "the archive cannot be reached: check the network and the proxy settings",
    ),
    (r"does not have a Release file|404 +Not Found", "the archive does not have this suite: check its name"),
    (r"NO_PUBKEY|public key is not available", "as root: apt-get install debian-archive-keyring"),
)
"""Words of apt and what helps."""


def _mmdebstrap(job: BootstrapJob, env: Mapping[str, str], emit: Callable[[int, str], None], cancelled: Event) -> None:
    bwrap, mmdebstrap = which("bwrap", env), which("mmdebstrap", env)
    if mmdebstrap is None or bwrap is None:
        raise SandboxError("mmdebstrap is not installed", hint="as root: apt-get install mmdebstrap")
    inside = (bwrap, "--dev-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "--die-with-parent", "--new-session")
    done = run(
        (*inside, "--", mmdebstrap, *job.arguments),
        env=job.env,
        cwd=Path("/"),
        check=False,
        cancelled=cancelled,
        on_line=lambda stream, line: emit(stream, line.decode("utf-8", "replace")),
    )
    if cancelled.is_set():
        raise StepError("the bootstrap was cancelled")
    if done.code:
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        raise StepError(f"mmdebstrap ended with exit status {done.code}", hint=bootstrap_hint(said))


def bootstrap_hint(said: str) -> str:
    """What to do about the usual failures of an archive, by apt's own words; empty for others."""
    return next((hint for words, hint in _HINTS if re.search(words, said)), "")


def normalise_debian(root: Rooted) -> None:
    """Takes out of a fresh Debian what differs between machines, hours and runs."""
    for pattern in REMOVED:
        for path in _matching(root, pattern):
            with suppress(FileNotFoundError):
                root.remove_tree(path)
    for path in EMPTIED:
        if root.exists(path) and stat.S_ISREG(root.lstat(path).st_mode):
            with root.handle(path, os.O_WRONLY | os.O_TRUNC):
                pass


def _matching(root: Rooted, pattern: str) -> list[str]:
    """Paths of a pattern with ``*`` in its last part only."""
    directory, _, name = pattern.rpartition("/")
    if "*" not in name:
        return [pattern] if root.exists(pattern) else []
    before, _, after = name.partition("*")
    try:
        names = root.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [f"{directory}/{one}" for one in names if one.startswith(before) and one.endswith(after)]
