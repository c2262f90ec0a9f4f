"""Calls that write a project as files which work without Lamella."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lamella.api.session import Session
from lamella.build.parts import Parts, expand_cells, lower, selected_cells
from lamella.build.selection import Selection
from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.commit import replace_file
from lamella.eject.files import EjectedFile, Surroundings, ejected_files, fleet_file
from lamella.eject.probes import same_probes
from lamella.eject.recipe import Given, Recipe, Target, make_recipe
from lamella.eject.yaml_text import CWD_MARK, UID_MARK
from lamella.errors import ConfigError
from lamella.graph.facts import BaseFacts
from lamella.oci.platform import parse_platform
from lamella.planning.lowering import BuildGraph
from lamella.project.expand import complete_args
from lamella.project.spec import RunOptions
from lamella.project.template import Scope
from lamella.values import dataclass, replace

__all__ = ["Ejected", "differing_files", "eject_fleet", "eject_parts", "eject_project", "write_files"]

FindFacts = Callable[[str], BaseFacts | None]


@dataclass(frozen=True, slots=True)
class Ejected:
    """The files; other spellings of health checks in them; images whose base was never built here."""

    files: tuple[EjectedFile, ...]
    probes: FrozenMap[str, str] = EMPTY_MAP
    guessed: tuple[str, ...] = ()


def eject_project(
    session: Session, kind: str, selection: Selection, folder: Path, *, monolithic: bool = False
) -> Ejected:
    """The files of a kind for the selected images; nothing is written.

    ``selection`` without a profile means both: the files take the place of both. ``folder`` is where they will be,
    ``monolithic`` asks for one image in one Dockerfile with nothing beside it.

    Raises ConfigError for what plain Docker has no way to do, HostileInputError for a value that cannot be written.
    """
    place = os.path.relpath(folder, session.root).replace(os.sep, "/")
    selection = _both_profiles(selection, single=monolithic)
    graph = session.lower(selection)
    found = _recorded_facts(session, selection, graph)
    files, recipe = eject_parts(
        session.parts, kind, selection, place, find_facts=found, monolithic=monolithic, graph=graph
    )
    return Ejected(files, recipe.probes, recipe.guessed)


def eject_fleet(session: Session, selection: Selection) -> Ejected:
    """The script that makes a builder of Kubernetes pods for the platforms of a selection, of all cells when it names
    none. Raises ConfigError for a selection of nothing.
    """
    wanted = Selection(all=True) if selection == Selection() else selection
    names = dict.fromkeys(item.cell.platform for item in selected_cells(session.parts, wanted))
    return Ejected((fleet_file(session.project.name, [parse_platform(name) for name in names]),))


def eject_parts(
    parts: Parts,
    kind: str,
    selection: Selection,
    place: str,
    *,
    find_facts: FindFacts = lambda key: None,
    monolithic: bool = False,
    graph: BuildGraph | None = None,
) -> tuple[tuple[EjectedFile, ...], Recipe]:
    """The files of a kind over the parts of the use cases; ``place`` is their folder, seen from the project."""
    graph = graph or lower(parts, selection)
    if monolithic and len({(image.image.name, image.cell) for image in graph.images}) != 1:
        names = ", ".join(dict.fromkeys(image.image.name for image in graph.images))
        raise ConfigError(
            "--monolithic writes one image of one cell, and the selection has several",
            hint=f"name one of {names}, and one cell with --dev, --prod, --only or --platform",
        )
    _refuse_pins(graph)
    beside = "" if place == "." else place
    given = Given(parts.project, parts.tree, parts.lock, parts.facts.version, beside)
    recipe = make_recipe(graph, given, find_facts, single=monolithic)
    around = Surroundings(parts.project, place, _run_options(parts, selection), _scopes(parts))
    return ejected_files(kind, recipe, around, single=monolithic), recipe


def _refuse_pins(graph: BuildGraph) -> None:
    for plan in graph.images:
        if plan.image.pin is not None:
            hint = "take 'pin' out for this, or write a FROM of your own into the Dockerfile"
            raise ConfigError(f"image {plan.image.name!r} is pinned to a published one: not yet ejected", hint=hint)


def _both_profiles(selection: Selection, *, single: bool) -> Selection:
    """Both profiles where the selection names none; of a single file the one that is published."""
    if selection.profile or selection.all or "profile" in selection.only:
        return selection
    if single:
        return replace(selection, profile="prod")
    return replace(selection, only=selection.only.with_items({"profile": ("dev", "prod")}))


def _recorded_facts(session: Session, selection: Selection, graph: BuildGraph) -> FindFacts:
    """Facts of bases that were built here before."""
    results = session.plan(selection, graph=graph).results
    lookup = session.parts.lookup

    def find(key: str) -> BaseFacts | None:
        result = results.get(key)
        return lookup.facts(result.facts) if result is not None and result.facts else None

    return find


def _run_options(parts: Parts, selection: Selection) -> Callable[[Target], RunOptions]:
    """``image.N.run`` with marks for what only the caller's shell knows."""
    marked = replace(parts, facts=replace(parts.facts, cwd=CWD_MARK, uid=UID_MARK))
    found: dict[tuple[str, FrozenMap[str, str]], RunOptions] = {}
    for spec in expand_cells(marked, selection):
        for image in spec.images:
            found.setdefault((image.name, _without_platform(spec.cell.values)), image.run)
    return lambda target: found[target.image.name, target.axes]


def _without_platform(values: FrozenMap[str, str]) -> FrozenMap[str, str]:
    return FrozenMap({axis: value for axis, value in values.items() if axis != "platform"})


def _scopes(parts: Parts) -> Callable[[FrozenMap[str, str]], Scope]:
    facts = replace(parts.facts, cwd=CWD_MARK, uid=UID_MARK)
    args = complete_args(parts.project, parts.arguments)
    host = FrozenMap({"platform": parts.host.platform()})
    return lambda axes: Scope(facts, host.with_items(axes), args)


def differing_files(ejected: Ejected, folder: Path) -> tuple[tuple[EjectedFile, str], ...]:
    """Files on disk that are not what would be written, each with ``missing`` or ``differs``.

    A health check that asks for the same with another program is the same: a machine that has built the base knows its
    programs, another one goes by what the project says.
    """
    out = []
    for file in ejected.files:
        there = _read(folder / file.name)
        if there is None:
            out.append((file, "missing"))
        elif same_probes(there, ejected.probes) != same_probes(file.text, ejected.probes):
            out.append((file, "differs"))
    return tuple(out)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def write_files(ejected: Ejected, folder: Path, *, force: bool = False) -> tuple[tuple[EjectedFile, str], ...]:
    """Writes the files and says of each ``written``, ``replaced`` or ``unchanged``.

    Raises ConfigError, before anything is written, for files that are there with another content unless ``force``.
    """
    before = {file.name: _read(folder / file.name) for file in ejected.files}
    taken = [file.name for file in ejected.files if before[file.name] not in (None, file.text)]
    if taken and not force:
        raise ConfigError(
            f"{', '.join(taken)} in {folder} would be replaced",
            hint="--force replaces, --check only compares, --output FOLDER writes elsewhere",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}") from error
    out = []
    for file in ejected.files:
        was = before[file.name]
        if was == file.text:
            out.append((file, "unchanged"))
            continue
        replace_file(folder / file.name, file.text.encode(), mode=file.mode, what=f"writing {file.name}")
        out.append((file, "written" if was is None else "replaced"))
    return tuple(out)
