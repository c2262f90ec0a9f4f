"""The command group. Each command lives in a file of its own and is imported when it is used."""

from __future__ import annotations

from importlib import import_module

import click

from lamella import __version__

__all__ = ["COMMANDS", "app"]

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("lamella.cli.init", "Write lamella.toml from what is there, and say why for each line"),
    "doctor": ("lamella.cli.doctor", "Check host, engine, tools and disk; repair what can be"),
    "lock": ("lamella.cli.lock", "Write lamella.lock: base digests, resolved sets, tools"),
    "outdated": ("lamella.cli.outdated", "What moved since the locks were written"),
    "plan": ("lamella.cli.plan", "Say what a build would do, and why, without doing it"),
    "explain": ("lamella.cli.explain", "Which inputs make a layer's key, and what changed"),
    "build": ("lamella.cli.build", "Build images"),
    "publish": ("lamella.cli.publish", "Build what is missing, push it, move tags"),
    "promote": ("lamella.cli.promote", "Give published images further tags, without building"),
    "run": ("lamella.cli.run_image", "Start an image"),
    "shell": ("lamella.cli.shell", "Open a shell where a layer's step runs"),
    "export": ("lamella.cli.export", "Copy a layer's product out"),
    "rebase": ("lamella.cli.rebase", "Put images on their bases as those are now"),
    "retain": ("lamella.cli.retain", "Delete old tags of a registry by rule; a plan unless --apply"),
    "registry": ("lamella.cli.registry", "List what a repository holds, in tags and bytes"),
    "pull": ("lamella.cli.pull", "Bring layers from the cache repository"),
    "images": ("lamella.cli.images", "List or remove images of the local store"),
    "cache": ("lamella.cli.cache", "Look after the local store"),
    "eject": ("lamella.cli.eject", "Write Dockerfile, bake, compose, Makefile or script that work without Lamella"),
    "completion": ("lamella.cli.completion", "Print a shell's completion script"),
}
"""Name → (module with a click command called ``command``, one line of help)."""


class LazyGroup(click.Group):
    """A group whose commands are imported on use, so that start-up stays short."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or an error that names the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1) if args[0] != "help" else []
            hint = f" Did you mean {near[0]!r}?" if near else " See 'lamella --help'."
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 a step failed, 2 usage or configuration, 3 integrity, 4 store busy, 5 resources, "
    "6 registry or network, 7 authentication, 8 sandbox, 9 hostile input, 130/143 signals.",
)
@click.version_option(__version__, "-V", "--version", prog_name="lamella", message="%(prog)s %(version)s")
@click.option("-D", "--debug", is_flag=True, help="Show tracebacks.")
def app(debug: bool) -> None:
    """Layered container images for Rust, Python and JavaScript projects.

    A project has one file, lamella.toml. Start with: lamella init, lamella plan, lamella build, lamella run.
    """
