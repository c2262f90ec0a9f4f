"""Write docs/reference/commands.md from the commands themselves.

Usage: python scripts/command_reference.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from lamella.cli.app import COMMANDS, app

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"

HEAD = """\
<!-- Written by scripts/command_reference.py (make docs). Change the commands, not this page. -->
# Commands

`lamella COMMAND --help` shows the same. stdout is data, stderr is talk; `--format json` gives data for programs.
What the exit codes mean is in [exit-codes.md](exit-codes.md), what the environment changes in
[environment.md](environment.md).

Selectors are the same everywhere: `[IMAGES]...` names images of the project, none of them means all. Without further
options each image is taken in its default cell: the first value of every axis, profile dev, this machine's platform.
"""


def commands_page() -> str:
    """The whole page."""
    context = click.Context(app, info_name="lamella", **app.context_settings)
    rows = [f"| [`{name}`](#lamella-{name}) | {text} |" for name, (_, text) in COMMANDS.items()]
    parts = [
        HEAD,
        "\n".join(["| Command | Does |", "|---|---|", *rows]),
        _options(app, context, "Option before the command"),
    ]
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        parts += _command(command, name, context, level=2)
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _command(command: click.Command, name: str, parent: click.Context, *, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield f"{'#' * level} {context.command_path}"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield from _help(command.help or "")
    yield _options(command, context, "Option")
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _command(found, inner, context, level=level + 1)


def _help(text: str) -> Iterator[str]:
    """Paragraphs; one that begins with click's mark for "as it is" keeps its lines."""
    for part in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        kept = part.startswith("\b\n")
        yield f"```console\n{part[2:]}\n```" if kept else _escaped(" ".join(part.split()))


def _options(command: click.Command, context: click.Context, title: str) -> str:
    rows = []
    for param in command.get_params(context):
        if isinstance(param, click.Option) and not param.hidden:
            record = param.get_help_record(context)
            if record is not None:
                names, text = record
                rows.append(f"| `{_cell(names)}` | {_cell(_escaped(' '.join(text.split())))} |")
    return "\n".join([f"| {title} | |", "|---|---|", *rows]) if rows else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    """``code`` marks of the help as Markdown's, and nothing that Markdown takes for markup."""
    return text.replace("``", "`").replace("<", "&lt;").replace("*", "\\*")


def main() -> None:
    PAGE.write_text(commands_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
