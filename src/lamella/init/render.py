"""A proposal as the text of ``lamella.toml``: each line with its reason as a comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from lamella.init.values import Line, Proposal, Table

__all__ = ["render_proposal"]

_COLUMN = 44
"""Where comments begin beside a line that is shorter."""
_WIDTH = 120


def render_proposal(proposal: Proposal) -> str:
    """The file's text; parses and validates as it is."""
    lines = ["# Written by lamella init. Every line may be changed; lamella plan says what a change means.", ""]
    for table in (proposal.project, *proposal.tables):
        lines += [*_table(table), ""]
    return "\n".join(lines[:-1]) + "\n"


def _table(table: Table) -> Iterator[str]:
    yield f"[{table.header}]"
    for reason in table.why:
        yield from _comment(reason)
    for line in table.lines:
        yield from _line(line)


def _line(line: Line) -> Iterator[str]:
    """A single short reason stands beside the line, others above it."""
    beside = f"{line.text.ljust(_COLUMN)} # {line.why[0]}" if len(line.why) == 1 else ""
    if beside and len(beside) <= _WIDTH and len(line.text) <= _COLUMN + 16:
        yield beside
        return
    for reason in line.why:
        yield from _comment(reason)
    yield line.text


def _comment(text: str) -> Iterator[str]:
    """Reasons may quote names from the project: whatever breaks a line there must not break the file."""
    flat = "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
    for number, part in enumerate(textwrap.wrap(flat, _WIDTH - 4, break_long_words=False, break_on_hyphens=False)):
        yield f"# {part}" if number == 0 else f"#   {part}"
