"""A proposal as the text of ``lamella.toml``: each line with its reason as a comment."""

from __future__ import annotations

from lamella.init.propose import Proposal

__all__ = ["render_proposal"]

_COLUMN = 56
"""Where comments begin when the line is shorter."""


def render_proposal(proposal: Proposal) -> str:
    """The file's text; parses and validates as it is."""
    lines = ["# Written by lamella init. Every line may be changed; lamella plan says what a change means.", ""]
    lines += ["[project]", "schema = 1", f'name = "{proposal.name}"']
    if proposal.version:
        lines.append(_commented(f'version = "{proposal.version}"', proposal.version_why))
    for layer in proposal.layers:
        lines += ["", f"[layer.{layer.name}]", *(_commented(line, why) for line, why in layer.lines)]
    for image in proposal.images:
        lines += ["", f"[image.{image.name}]", *(_commented(line, why) for line, why in image.lines)]
    return "\n".join(lines) + "\n"


def _commented(line: str, why: str) -> str:
    return f"{line.ljust(_COLUMN)}# {why}" if why else line
