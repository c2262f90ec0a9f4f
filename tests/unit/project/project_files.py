"""Small project files for the tests of room 3, and what a file's problems look like."""

from __future__ import annotations

from pathlib import Path

from lamella.errors import ConfigError, Problem
from lamella.project.cells import Cell
from lamella.project.expand import expand
from lamella.project.load import parse_project
from lamella.project.projectfile import ProjectFile
from lamella.project.select import select_cells
from lamella.project.spec import CellSpec
from lamella.project.template import TemplateFacts

EXAMPLES = Path(__file__).parent.parent.parent / "data" / "schema-examples"
FACTS = TemplateFacts("1.4.0", "abc1234", 1_767_225_600, "/home/me/shop", 1000, "linux/amd64")
"""Version 1.4.0 on the first of January 2026."""

HEAD = '[project]\nschema = 1\nname = "shop"\n'
"""Three lines: what a test adds begins in line 4."""

IMAGE = '[image.web]\nlayers = ["base"]\n[layer.base]\nfrom = "debian:bookworm-slim"\n'


def load(text: str) -> ProjectFile:
    """The project in ``text``."""
    return parse_project(text.encode(), file="lamella.toml")


def example(letter: str) -> ProjectFile:
    """One of the five complete project files."""
    (path,) = EXAMPLES.glob(f"{letter}-*.toml")
    return parse_project(path.read_bytes(), file=path.name)


def findings(text: str) -> tuple[Problem, ...]:
    """Every problem of a file, in order; none for a sound one."""
    try:
        load(text)
    except ConfigError as error:
        return error.problems
    return ()


def problems(text: str) -> list[str]:
    """``LINE:COLUMN: MESSAGE`` of every problem of a file."""
    return [f"{item.line}:{item.column}: {item.message}" for item in findings(text)]


def hints(text: str) -> list[str]:
    """The hint of every problem of a file."""
    return [item.hint for item in findings(text)]


def first_cell(project: ProjectFile, image: str, **axes: str) -> Cell:
    """The image's default cell with some axes fixed."""
    return select_cells(project, [image], only={axis: [value] for axis, value in axes.items()})[0].cell


def expanded(text: str, image: str = "web", facts: TemplateFacts = FACTS, **axes: str) -> CellSpec:
    """The image's default cell, with some axes fixed, and everything it uses."""
    project = load(text)
    return expand(project, cell=first_cell(project, image, **axes), facts=facts, images=(image,))
