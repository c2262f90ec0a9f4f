"""The page of commands is what the commands say."""

from __future__ import annotations

import click
import pytest

from lamella.cli.app import COMMANDS, app
from scripts.command_reference import PAGE, command_page


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == command_page(), "run: make reference"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_option(name: str) -> None:
    section = command_page().partition(f"\n## lamella {name}\n")[2].partition("\n## ")[0]
    command = app.get_command(click.Context(app), name)
    assert command is not None
    shown = [parameter for parameter in command.params if isinstance(parameter, click.Option) and not parameter.hidden]
    missing = [option.opts[-1] for option in shown if option.opts[-1] not in section]
    assert (bool(section), missing) == (True, [])
