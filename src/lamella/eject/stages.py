"""Collects stages and finds names for them: the layer's where one stage serves every cell, else with what differs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lamella.canonical import FrozenMap
from lamella.eject.values import ArchSwitch, Copy, Instruction, Run, Stage
from lamella.values import dataclass, field, replace

__all__ = ["Stages", "needed_stages", "unified"]

Label = FrozenMap[str, str]
"""The cell that asked for a stage: axis to value, and ``arch``."""


@dataclass
class Stages:
    """Stages by number. Equal ones are one; who asked for each is kept for its name. Not thread-safe."""

    bodies: list[Stage] = field(default_factory=list)
    _numbers: dict[Stage, int] = field(default_factory=dict)
    _asked: dict[int, dict[str, list[Label]]] = field(default_factory=dict)
    _first_parts: set[int] = field(default_factory=set)

    def add_first_part(self, hint: str, stage: Stage, cell: Label) -> int:
        """A stage that only exists to be built upon: where one stage alone does, it becomes that one's beginning."""
        number = self.add(hint, stage, cell)
        self._first_parts.add(number)
        return number

    def fold(self, targets: Iterable[int]) -> None:
        """Joins first parts to the stage that builds on them, where there is only one."""
        needed = needed_stages(self, targets)
        users = {number: [other for other in needed if number in _references(self.bodies[other])] for number in needed}
        for number in needed:
            below = self.bodies[number].base
            if not isinstance(below, int) or below not in self._first_parts or users[below] != [number]:
                continue
            first, second = self.bodies[below], self.bodies[number]
            items = (*first.instructions, *second.instructions)
            self.bodies[number] = replace(second, base=first.base, instructions=items, native=first.native)

    def add(self, hint: str, stage: Stage, cell: Label) -> int:
        """The number of a stage. ``hint`` is the name that people would give it; a remark makes no difference."""
        plain = replace(stage, remark="")
        number = self._numbers.get(plain)
        if number is None:
            number = self._numbers[plain] = len(self.bodies)
            self.bodies.append(stage)
        cells = self._asked.setdefault(number, {}).setdefault(hint, [])
        if cell not in cells:
            cells.append(cell)
        return number

    def switch(self, hint: str, by_arch: Mapping[str, int], cell: Label) -> int:
        """One stage for several architectures: the only one there is, else one that chooses."""
        numbers = set(by_arch.values())
        if len(numbers) == 1:
            return numbers.pop()
        shared = FrozenMap({axis: value for axis, value in cell.items() if axis != "arch"})
        remark = "One stage for every architecture: BuildKit sets TARGETARCH."
        return self.add(hint, Stage(ArchSwitch(FrozenMap(by_arch)), remark=remark), shared)

    def hint(self, number: int) -> str:
        """What a stage would be called if it were the only one of its kind."""
        return next(iter(self._asked[number]))

    def names(self, numbers: Iterable[int], images: Mapping[int, str]) -> dict[int, str]:
        """Names for the stages, each once. ``images`` are those that are images: a layer of such a name steps back."""
        groups: dict[str, list[int]] = {}
        for number in numbers:
            hint = images.get(number) or self.hint(number)
            steps_back = number not in images and hint in images.values()
            steps_back = steps_back and not any(_chosen_by(self.bodies[image], number) for image in images)
            groups.setdefault(_stage_name(f"{hint}-layer" if steps_back else hint), []).append(number)
        out: dict[int, str] = {}
        used: set[str] = set()
        for hint, members in groups.items():
            for number in members:
                suffix = self._suffix(number, members)
                name = "-".join((hint, *suffix))
                out[number] = name = _free(name, used)
                used.add(name)
        self._name_after_switches(out, used)
        return out

    def _name_after_switches(self, names: dict[int, str], used: set[str]) -> None:
        """Stages that a switch chooses from are called like it, with the architecture behind."""
        settled: set[int] = set()
        for number in list(names):
            base = self.bodies[number].base
            for arch, child in base.stages.items() if isinstance(base, ArchSwitch) else ():
                wanted = f"{names[number]}-{arch}"
                if child not in settled and wanted not in used - {names[child]}:
                    used.discard(names[child])
                    used.add(wanted)
                    names[child] = wanted
                    settled.add(child)

    def _suffix(self, number: int, members: list[int]) -> tuple[str, ...]:
        """Values of the axes that tell a stage from the others of its hint."""
        if len(members) == 1:
            return ()
        cells = {member: [cell for cells in self._asked[member].values() for cell in cells] for member in members}
        axes = dict.fromkeys(axis for found in cells.values() for cell in found for axis in cell)
        words = []
        others = [member for member in members if member != number]
        for axis in axes:
            values = {member: {cell.get(axis, "") for cell in found} for member, found in cells.items()}
            if others and len(values[number]) == 1 and any(values[other] != values[number] for other in others):
                (word,) = values[number]
                words.append(word)
                others = [other for other in others if word in values[other]]
        return tuple(_stage_name(word) for word in words if word)


def _chosen_by(stage: Stage, number: int) -> bool:
    return isinstance(stage.base, ArchSwitch) and number in stage.base.stages.values()


def _stage_name(text: str) -> str:
    """A name as stages may have it (BuildKit: ``[a-z][a-z0-9-_.]*``)."""
    name = re.sub(r"[^a-z0-9_.-]", "-", text.lower()).lstrip("-_.0123456789")
    return f"{name}-stage".lstrip("-") if name in ("", "scratch", "context") else name


def _free(name: str, used: set[str]) -> str:
    number = 2
    found = name
    while found in used:
        found, number = f"{name}-{number}", number + 1
    return found


def needed_stages(stages: Stages, targets: Iterable[int]) -> tuple[int, ...]:
    """The targets and the stages they stand on, those first."""
    done: dict[int, None] = {}

    def visit(number: int) -> None:
        if number in done or number < 0:
            return
        stage = stages.bodies[number]
        for other in _references(stage):
            visit(other)
        done[number] = None

    for target in targets:
        visit(target)
    return tuple(done)


def _references(stage: Stage) -> list[int]:
    found = [stage.base] if isinstance(stage.base, int) else []
    if isinstance(stage.base, ArchSwitch):
        found += list(stage.base.stages.values())
    for item in stage.instructions:
        if isinstance(item, Copy):
            found.append(item.stage)
        elif isinstance(item, Run):
            found += [mount.stage for mount in item.mounts]
    return found


def unified(stages: Stages, by_arch: Mapping[str, Stage], cell: Label) -> Stage | None:
    """One stage for all architectures where only the stages that it uses differ; those become switches.

    None where something else differs too.
    """
    arches, bodies = list(by_arch), list(by_arch.values())
    first = bodies[0]
    if all(body == first for body in bodies):
        return first
    if len({len(body.instructions) for body in bodies}) > 1 or len({body.native for body in bodies}) > 1:
        return None
    base: str | int | ArchSwitch | None = first.base
    if any(body.base != first.base for body in bodies):
        base = _switched(stages, arches, [body.base for body in bodies], cell)
    items: list[Instruction] = []
    for row in zip(*(body.instructions for body in bodies), strict=True):
        item = _unified_item(stages, arches, list(row), cell)
        if item is None:
            return None
        items.append(item)
    return None if base is None else replace(first, base=base, instructions=tuple(items))


def _switched(stages: Stages, arches: list[str], numbers: list[object], cell: Label) -> int | None:
    known = [number for number in numbers if isinstance(number, int) and number >= 0]
    if len(known) != len(numbers):
        return None
    return stages.switch(stages.hint(known[0]), dict(zip(arches, known, strict=True)), cell)


def _unified_item(stages: Stages, arches: list[str], row: list[Instruction], cell: Label) -> Instruction | None:
    first = row[0]
    if all(item == first for item in row):
        return first
    copies = [item for item in row if isinstance(item, Copy)]
    if isinstance(first, Copy) and len(copies) == len(row):
        number = _switched(stages, arches, [item.stage for item in copies], cell)
        if number is not None and len({replace(item, stage=number) for item in copies}) == 1:
            return replace(first, stage=number)
    return None
