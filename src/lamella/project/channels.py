"""Channels: ways to publish, as each holds in one cell."""

from __future__ import annotations

from lamella.errors import ConfigError, Problem
from lamella.project.cells import Cell
from lamella.project.check import nearest
from lamella.project.decode import Decoder
from lamella.project.delivery import ChannelSpec
from lamella.project.merge import effective
from lamella.project.projectfile import ProjectFile
from lamella.project.schema.delivery import CHANNEL
from lamella.project.toml import Node

__all__ = ["channel_in", "find_channel"]


def find_channel(project: ProjectFile, name: str) -> ChannelSpec:
    """A channel as it is written outside of any ``when``; raises ConfigError for an unknown one."""
    found = project.delivery.channel.get(name)
    if found is None:
        known = project.delivery.channel
        hint = nearest(name, known) or ("the file has no channels" if not known else "")
        raise ConfigError(f"there is no channel {name!r} in {project.file}", hint=hint)
    return found


def channel_in(project: ProjectFile, name: str, cell: Cell) -> ChannelSpec:
    """A channel with its ``when`` branches for one cell; tags stay templates. Raises ConfigError."""
    problems: list[Problem] = []

    def report(node: Node, message: str, hint: str) -> None:
        problems.append(Problem(project.file, node.line, node.column, message, hint))

    table = effective(project.root_names("channel")[name], CHANNEL, cell.values, report)
    found: ChannelSpec = Decoder(project.file, None, problems).table(table, CHANNEL)
    if problems:
        raise ConfigError.from_problems(tuple(set(problems)))
    return found
