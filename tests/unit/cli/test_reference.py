"""The page of commands is the commands' own help."""

from __future__ import annotations

from lamella.cli.app import COMMANDS
from scripts.command_reference import PAGE, commands_page


def test_the_page_is_written_anew_by_make_docs() -> None:
    assert PAGE.read_text(encoding="utf-8") == commands_page(), "run: make docs"


def test_every_command_has_a_section_with_an_example_and_its_options() -> None:
    sections = commands_page().split("\n## lamella ")[1:]
    assert [section.partition("\n")[0] for section in sections] == list(COMMANDS)
    for section in sections:
        assert "```" in section.partition("| Option")[0]
