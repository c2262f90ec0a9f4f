"""``lamella init``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamella.api.files import LOCK_NAME, PROJECT_NAME
from lamella.api.host import LocalHost
from lamella.api.session import open_store
from lamella.cli.messages import say
from lamella.cli.session import command_settings, project_session, session_options
from lamella.cli.settings import Settings
from lamella.clock import SystemClock
from lamella.commit import replace_file
from lamella.errors import AuthError, ConfigError, LamellaError, RegistryError, SandboxError
from lamella.init.bases import SUITES
from lamella.init.evidence import is_foreign
from lamella.init.hosttools import HostSight
from lamella.init.propose import Asked
from lamella.init.render import render_proposal
from lamella.process import which
from lamella.values import replace

if TYPE_CHECKING:
    from lamella.init.values import Proposal

__all__ = ["command"]

_PROGRAMS = ("cargo", "rustc", "cc", "node", "npm", "bun", "pnpm", "python3")
"""What stacks may ask of the host for ``host = true``."""

_NOT_WALKED = (".git", ".venv", "node_modules", "target", "venv")
_LARGEST = 1 << 20
"""Bytes of a Dockerfile or compose file that is read."""


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".")
@click.option("--host/--no-host", "use_host", default=None, help="Run steps with the host's own tools, or never.")
@click.option("--force", is_flag=True, help="Replace an existing lamella.toml.")
@click.option("--stdout", is_flag=True, help="Print the file instead of writing it.")
@click.option("--no-lock", is_flag=True, help="Do not write lamella.lock afterwards.")
def command(folder: Path, use_host: bool | None, force: bool, stdout: bool, no_lock: bool) -> None:
    """Write lamella.toml for the project in FOLDER, from what is there, and say why for each line.

    Recognised are Cargo workspaces, uv and requirements projects, bun, npm and pnpm projects, and mixes of them.
    Existing Dockerfiles and compose files are read for base, ports, user, environment, start command, health check.

    Rust and JavaScript steps run with the tools of this machine where those are there and fit; --no-host installs
    toolchains in a step instead, which needs their download servers.

    \b
    lamella init                      here
    lamella init --no-host            results that other machines may reuse
    lamella init --stdout             only show it
    """
    settings = command_settings()
    path = folder.resolve() / PROJECT_NAME
    if path.exists() and not (force or stdout):
        raise ConfigError(f"{path} is there already", hint="lamella init --force replaces it, --stdout only shows")
    asked = Asked(use_host, foreign=_foreign_files(path.parent))
    proposal = _proposal(path.parent, settings, asked)
    if not (stdout or no_lock):
        try:
            proposal = _write_and_lock(path, proposal, asked, lambda other: _proposal(path.parent, settings, other))
        except LamellaError:
            say(f"{path.name} is written, {LOCK_NAME} is not: correct what the message says, then run: lamella lock")
            raise
    elif not stdout:
        _write(path, proposal)
    click.echo(render_proposal(proposal), nl=False)
    for note in proposal.notes:
        say(f"note: {note}")
    if not stdout:
        say(f"next: {'lamella lock, lamella plan' if no_lock else 'lamella plan'}, then lamella build")


def _write(path: Path, proposal: Proposal) -> None:
    replace_file(path, render_proposal(proposal).encode(), what="writing lamella.toml")
    say(f"wrote {path}")


def _write_and_lock(path: Path, proposal: Proposal, asked: Asked, propose: Callable[[Asked], Proposal]) -> Proposal:
    """Writes project file and lock. Where an image cannot be pulled and the project allows a Python of Debian's, that
    is taken. Where only a default chose the suite and packages have no wheel for its Python, the older suite is tried
    and taken when it has more of them.
    """
    _write(path, proposal)
    try:
        before = _lock(path)
    except (RegistryError, AuthError) as error:
        asked = replace(asked, archive=True)
        second = propose(asked)
        if second.tables == proposal.tables:
            say("a base needs no registry where Debian has what the project wants: bootstrap in the place of from")
            raise
        say(f"{error.message}: Debian from its archive instead")
        proposal = second
        _write(path, proposal)
        before = _lock(path)
    older = next((suite for suite in SUITES if suite not in proposal.suites), "")
    if not before or not proposal.suites or not older:
        return proposal
    kept = {name: (path.parent / name).read_bytes() for name in (PROJECT_NAME, LOCK_NAME)}
    second = propose(replace(asked, prefer=older))
    _write(path, second)
    after = _lock(path)
    if len(after) < len(before):
        fewer = f"{', '.join(sorted(before - after))} would have to be built from source for a newer Python"
        return replace(second, notes=(*second.notes, fewer))
    for name, data in kept.items():
        replace_file(path.parent / name, data, what=f"writing {name}")
    say(f"{older} has no more wheels: kept the first choice")
    return proposal


def _lock(path: Path) -> frozenset[str]:
    """Writes the lock; names of packages that have no wheel."""
    with project_session(path) as session:
        _, written = session.write_lock(upgrade=None, say=say)
        sets = session.lock.python
    if written:
        say(f"wrote {path.with_name(LOCK_NAME)}")
    return frozenset(wheel.name for found in sets for wheel in found.wheels if not wheel.filename.endswith(".whl"))


def _proposal(folder: Path, settings: Settings, asked: Asked) -> Proposal:
    from lamella.init.propose import propose
    from lamella.sources.worktree import WorkTree
    from lamella.stacks.table import StackTable

    with open_store(session_options(settings)) as store:
        host = _host_sight(settings)
        with WorkTree(folder, clock=SystemClock(), env=settings.environ, cache=store.scan) as tree:
            return propose(tree, folder.name, StackTable(), host, asked)


def _foreign_files(root: Path) -> dict[str, bytes]:
    """Dockerfiles and compose files by path, also those that ignore files leave out; links are not followed."""
    found: dict[str, bytes] = {}
    for folder, names, files in os.walk(root):
        inside = os.path.relpath(folder, root)
        names[:] = [] if inside.count(os.sep) > 0 else sorted(name for name in names if name not in _NOT_WALKED)
        for name in files:
            path = Path(folder, name)
            shown = os.path.normpath(os.path.join(inside, name)).replace(os.sep, "/")
            if is_foreign(shown) and path.is_file() and path.stat().st_size <= _LARGEST:
                with suppress(OSError):
                    found[shown] = path.read_bytes()
    return found


def _host_sight(settings: Settings) -> HostSight:
    """What this machine has; nothing where the embedded engine cannot run at all."""
    host = LocalHost(settings.environ)
    programs = frozenset(name for name in _PROGRAMS if which(name, settings.environ))
    try:
        versions, facts = host.tools().parts, host.facts()
    except SandboxError:
        return HostSight()
    glibc = facts.libc_version.split(".") if facts.libc == "glibc" else []
    version = (int(glibc[0]), int(glibc[1])) if len(glibc) == 2 else (0, 0)
    release = facts.os_release
    suite = f"debian/{release.get('VERSION_CODENAME', '')}" if release.get("ID") == "debian" else ""
    return HostSight(programs, versions, version, suite, frozenset(facts.packages))
