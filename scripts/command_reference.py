"""Write docs/reference/commands.md from the commands themselves.

Usage: python scripts/command_reference.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from lamella.cli.app import COMMANDS, app

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"

_HEAD = """\
# Commands

Written by `make reference` from the commands; `lamella COMMAND --help` says the same. What a command ends with:
[exit codes](exit-codes.md). What it reads of the environment: [environment variables](environment.md)."""


def command_page() -> str:
    """The page as text."""
    context = click.Context(app, info_name="lamella")
    parts = [_HEAD, _index()]
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        parts += _sections(command, context, name, 2)
    return "\n\n".join(parts) + "\n"


def _index() -> str:
    rows = [f"| [{name}](#lamella-{name}) | {_cell(text)} |" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["| Command | Does |", "|---|---|", *rows])


def _sections(command: click.Command, parent: click.Context, name: str, depth: int) -> Iterator[str]:
    """A command's parts, then those of its subcommands one heading deeper."""
    context = click.Context(command, info_name=name, parent=parent)
    yield f"{'#' * depth} {context.command_path}"
    yield f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}"
    yield from _text(inspect.cleandoc(command.help or ""))
    if rows := _options(command, context):
        yield "\n".join(["| Option | Meaning |", "|---|---|", *rows])
    if isinstance(command, click.Group):
        for sub, inner in command.commands.items():
            yield from _sections(inner, context, sub, depth + 1)


def _text(text: str) -> Iterator[str]:
    """Paragraphs; those behind click's mark for text that is not rewrapped become code."""
    for paragraph in text.split("\n\n"):
        mark, _, rest = paragraph.partition("\n")
        if mark == "\b":
            yield "\n".join(f"    {line}" for line in rest.splitlines())
        else:
            yield " ".join(paragraph.split())


def _options(command: click.Command, context: click.Context) -> list[str]:
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and "--help" not in parameter.opts:
            rows.append(f"| `{_cell(record[0])}` | {_cell(' '.join(record[1].split()))} |")
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(command_page(), encoding="utf-8")
