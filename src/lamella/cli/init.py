"""``lamella init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamella.api.files import PROJECT_NAME
from lamella.api.session import open_store
from lamella.cli.messages import say
from lamella.cli.session import command_settings, project_session, session_options
from lamella.cli.settings import Settings
from lamella.clock import SystemClock
from lamella.commit import replace_file
from lamella.errors import ConfigError
from lamella.process import which

if TYPE_CHECKING:
    from lamella.init.propose import Proposal

__all__ = ["command"]

_PROGRAMS = ("cargo", "rustc", "cc", "node", "npm", "bun", "pnpm", "uv", "python3")
"""What stacks may ask of the host for ``host = true``."""


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".")
@click.option("--host/--no-host", "use_host", default=None, help="Run steps with the host's own tools, or never.")
@click.option("--force", is_flag=True, help="Replace an existing lamella.toml.")
@click.option("--stdout", is_flag=True, help="Print the file instead of writing it.")
@click.option("--no-lock", is_flag=True, help="Do not write lamella.lock afterwards.")
def command(folder: Path, use_host: bool | None, force: bool, stdout: bool, no_lock: bool) -> None:
    """Write lamella.toml for the project in FOLDER, from what is there, and say why for each line.

    Recognised are Cargo workspaces, uv and requirements projects, bun, npm and pnpm projects, and mixes of them.
    An existing Dockerfile is read for its base and port.

    \b
    lamella init                      here
    lamella init --host               steps run with this machine's own cargo, node, ...: fast for a trial
    lamella init --stdout             only show it
    """
    from lamella.init.render import render_proposal

    settings = command_settings()
    path = folder.resolve() / PROJECT_NAME
    if path.exists() and not (force or stdout):
        raise ConfigError(f"{path} is there already", hint="lamella init --force replaces it, --stdout only shows")
    proposal = _proposal(folder.resolve(), settings, use_host)
    text = render_proposal(proposal)
    if not stdout:
        replace_file(path, text.encode(), what="writing lamella.toml")
        say(f"wrote {path}")
    click.echo(text, nl=False)
    for note in proposal.notes:
        say(f"note: {note}")
    if stdout:
        return
    if not no_lock:
        session = project_session(path)
        _, written = session.write_lock(upgrade=None, say=say)
        if written:
            say("wrote lamella.lock")
    say("next: lamella plan, then lamella build")


def _proposal(folder: Path, settings: Settings, use_host: bool | None) -> Proposal:
    from lamella.init.propose import propose
    from lamella.sources.worktree import WorkTree
    from lamella.stacks.table import StackTable

    with open_store(session_options(settings)) as store:
        programs = [name for name in _PROGRAMS if which(name, settings.environ)]
        with WorkTree(folder, clock=SystemClock(), env=settings.environ, cache=store.scan) as tree:
            return propose(tree, folder.name, StackTable(), programs, use_host=use_host)
