"""What holds only between cells: every image expands in each of its cells, and no two write one tag."""

from __future__ import annotations

from collections import defaultdict

from lamella.errors import Problem
from lamella.project.cells import PLATFORM, Cell, ImageCell, combinations
from lamella.project.expand import Expander
from lamella.project.expand_image import TagNode
from lamella.project.projectfile import DEFAULT_PLATFORM, ProjectFile
from lamella.project.template import TemplateFacts
from lamella.values import dataclass, replace

__all__ = ["verify_cells"]

_VERSION = "987654321.123456789.192837465"
_STAND_IN = TemplateFacts(version=_VERSION, commit="c0ffee" * 6 + "c0ff", epoch=0, cwd="/cwd", uid=1000)
"""Facts of no real command: unlike any text a tag would hold literally, so that equal tags are equal templates."""


@dataclass(frozen=True, slots=True)
class _Writer:
    """Who writes a tag."""

    where: ImageCell
    tag: TagNode

    @property
    def identity(self) -> tuple[object, ...]:
        """An index is written by all platforms of a cell together, a manifest by one."""
        cell = self.where.cell
        return (self.where.image, cell.values if self.tag.single else cell.without(PLATFORM))


def verify_cells(project: ProjectFile, problems: list[Problem], broken: frozenset[str]) -> None:
    """Expand every image in every cell with stand-in facts; add what is wrong to ``problems``.

    ``broken`` names tables whose problems are known; what depends on them is not looked at.
    """
    facts = _STAND_IN if project.version is not None else replace(_STAND_IN, version=None)
    expander = Expander(project, project.args, facts, problems, broken)
    writers: dict[tuple[str, str], dict[tuple[object, ...], _Writer]] = defaultdict(dict)
    cells: dict[Cell, list[ImageCell]] = defaultdict(list)
    sound = {name for name in project.images if _sound_chain(project, name)}
    for where in project.cells(DEFAULT_PLATFORM):
        if where.image in sound:
            cells[where.cell].append(where)
    for cell, members in cells.items():
        expander.cell(cell, [where.image for where in members])
        for where in members:
            result = expander.image(where.image, cell)
            repository = result.spec.repository if result.spec is not None else None
            for tag in result.tags:
                writer = _Writer(where, tag)
                writers[repository or f"{project.name}/{where.image}", tag.tag].setdefault(writer.identity, writer)
    _clashes(project, writers, problems)
    _unused_layers(project, expander, problems)
    _cells_left(project, problems)


def _sound_chain(project: ProjectFile, name: str) -> bool:
    """Whether the image and all it extends are there, and it does not extend itself."""
    seen: set[str] = set()
    while name in project.images and name not in seen:
        seen.add(name)
        parent = project.images[name].value.get("extends")
        if parent is None:
            return True
        name = parent.value
    return False


def _clashes(
    project: ProjectFile,
    writers: dict[tuple[str, str], dict[tuple[object, ...], _Writer]],
    problems: list[Problem],
) -> None:
    """Two writers of one tag."""
    for (repository, _), by_identity in writers.items():
        if len(by_identity) < 2:
            continue
        first, second = list(by_identity.values())[:2]
        node = second.tag.node
        text = node.value if isinstance(node.value, str) else second.tag.tag
        message = f"tag {text!r} of {repository} would be written by {first.where} and by {second.where}"
        problems.append(Problem(project.file, node.line, node.column, message, _clash_hint(first, second)))


def _clash_hint(first: _Writer, second: _Writer) -> str:
    if first.where.image != second.where.image:
        return "give the images tags or a repository of their own"
    axes = [axis for axis, value in second.where.cell if first.where.cell.values[axis] != value and axis != PLATFORM]
    return f"put {{{axes[0]}}} into the tag" if axes else "put {platform} or {arch} into the tag"


def _unused_layers(project: ProjectFile, expander: Expander, problems: list[Problem]) -> None:
    """Layers that no image uses are well formed, too; no variable has to have a value for them."""
    unused = [name for name in project.layers if name not in expander.used_layers]
    if not unused:
        return
    others = Expander(project, project.args, _STAND_IN, problems, expander.broken)
    for cell in combinations(project.axes_for(), project.exclude):
        others.cell(cell, (), unused)


def _cells_left(project: ProjectFile, problems: list[Problem]) -> None:
    """Every image has at least one cell."""
    have = {where.image for where in project.cells()}
    for name, node in project.images.items():
        if name not in have:
            hint = "look at its cells and at cells.exclude"
            problems.append(Problem(project.file, node.line, node.column, f"image.{name} has no cell", hint))
