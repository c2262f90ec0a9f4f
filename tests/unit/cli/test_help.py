"""Every command explains itself, and a wrong word is answered with the right one."""

from __future__ import annotations

import re

import click
import pytest

from lamella.cli.app import COMMANDS, app
from tests.unit.cli.conftest import Cli


def all_commands() -> list[tuple[str, ...]]:
    """Every command and subcommand as the words that call it."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.commands]
    return found


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_a_command_explains_itself(cli: Cli, words: tuple[str, ...]) -> None:
    outcome = cli(*words, "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: lamella {' '.join(words)} ")
    body = outcome.out.partition("\n\n")[2]
    assert len(body.split("\n\n")[0]) > 20, "no sentence says what it does"


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("doctor", "shell", "completion")])
def test_help_has_an_example(cli: Cli, name: str) -> None:
    assert re.search(rf"^  lamella {name}\b", cli(name, "--help").out, re.MULTILINE)


def test_every_option_has_a_help_text() -> None:
    silent = []
    for words in all_commands():
        command: click.Command = app
        for word in words:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), word)
            assert found is not None
            command = found
        silent += [
            f"{' '.join(words)} {option.opts[0]}"
            for option in command.params
            if isinstance(option, click.Option) and not option.help and not option.hidden
        ]
    assert silent == []


def test_an_unknown_command_names_the_nearest(cli: Cli) -> None:
    outcome = cli("bild")
    assert (outcome.code, "Did you mean 'build'?" in outcome.err) == (2, True)


def test_an_unknown_option_is_a_usage_error(cli: Cli) -> None:
    assert cli("plan", "--nonsense").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(cli: Cli, shell: str) -> None:
    outcome = cli("completion", shell)
    assert outcome.code == 0
    assert "_LAMELLA_COMPLETE" in outcome.out


@pytest.mark.parametrize(
    "words", [("plan",), ("explain", "x"), ("build",), ("run",), ("shell", "x"), ("export", "x", "y")]
)
def test_without_a_project_init_is_named(cli: Cli, words: tuple[str, ...]) -> None:
    outcome = cli(*words)
    assert (outcome.code, "lamella init" in outcome.err) == (2, True)


@pytest.mark.parametrize(("word", "said"), [("help", "See 'lamella --help'"), ("biuld", "Did you mean 'build'?")])
def test_an_unknown_command_leads_to_the_right_one(cli: Cli, word: str, said: str) -> None:
    outcome = cli(word)
    assert outcome.code == 2
    assert said in outcome.err
