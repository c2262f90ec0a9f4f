"""``lamella completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from lamella.errors import InternalError

__all__ = ["command"]

_VARIABLE = "_LAMELLA_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, and the images and layers of the project at hand.

    \b
    bash   eval "$(lamella completion bash)"                      in ~/.bashrc (bash 4.4 or newer)
    zsh    eval "$(lamella completion zsh)"                       in ~/.zshrc
    fish   lamella completion fish > ~/.config/fish/completions/lamella.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise InternalError(f"click has no completion for {shell}")
    click.echo(found(context.find_root().command, {}, "lamella", _VARIABLE).source())
