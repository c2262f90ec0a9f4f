"""A module imports only from rooms with a lower number, and nothing goes round in a circle."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.unit.house.source_tree import PACKAGE, ROOMS, TESTING, Module, parse_module, product


def wrong_directions(modules: Iterable[Module]) -> list[str]:
    """One line per import that the rooms do not allow."""
    return [
        f"{module.name}:{imported.line} imports {imported.target}: {reason}"
        for module in modules
        for imported in module.imports
        if (reason := refusal(module.room, imported.target))
    ]


def refusal(room: str, target: str) -> str:
    """Why a module of ``room`` may not import ``target``; empty when it may."""
    parts = target.split(".")
    if parts[0] != PACKAGE or len(parts) < 2 or parts[1] not in {*ROOMS, TESTING} or parts[1] == room:
        return ""
    other = parts[1]
    if room == TESTING:
        return "the shipped fakes know nothing of the command line" if ROOMS[other] == ROOMS["cli"] else ""
    if other == TESTING:
        return "only tests import the shipped fakes"
    if room == "":
        return "the package itself imports no room"
    here, there = ROOMS[room], ROOMS[other]
    if there > here:
        return f"room {there} is above room {here}"
    if there < here:
        return ""
    if here == 0:
        return "" if "errors" in parts[1:3] or other == "values" else "rooms of number 0 share only their errors"
    return "rooms of one number do not import each other"


def first_cycle(modules: Iterable[Module]) -> list[str]:
    """Modules that import each other in a circle, empty when there is none."""
    known = {module.name: module for module in modules}
    graph = {
        name: {found for imported in module.imports if (found := _module_of(imported.target, known)) and found != name}
        for name, module in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _module_of(target: str, known: Iterable[str]) -> str:
    """The module that an imported dotted name means: itself, or the module whose member it is."""
    parent = target.rpartition(".")[0]
    return target if target in known else parent if parent in known else ""


def test_every_module_stands_in_a_known_room() -> None:
    strangers = {module.room for module in product()} - {*ROOMS, TESTING, ""}
    assert strangers == set(), "a new room needs its number in source_tree.ROOMS and in ADR 2"


def test_modules_import_only_from_lower_rooms() -> None:
    assert wrong_directions(product()) == []


def test_no_import_goes_in_a_circle() -> None:
    assert first_cycle(product()) == []


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("oci", "from lamella.graph import keys"),
        ("oci", "def f():\n    import lamella.store.blobs"),
        ("store", "from lamella import registry"),
        ("host", "from lamella.canonical import FrozenMap"),
        ("planning", "from lamella.testing import memory_tree"),
        ("testing", "from lamella.cli import main"),
        ("", "from lamella.oci import digest"),
    ],
)
def test_an_import_against_the_rooms_is_found(room: str, text: str) -> None:
    name = ".".join(filter(None, (PACKAGE, room, "sample" if room else "")))
    assert len(wrong_directions([parse_module(name, text)])) == 1


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("graph", "from lamella.oci import digest"),
        ("graph", "from lamella.graph import op"),
        ("host", "from lamella.errors import SandboxError"),
        ("cli", "from lamella import __version__, api"),
        ("testing", "from lamella.engines import base"),
    ],
)
def test_an_import_along_the_rooms_is_allowed(room: str, text: str) -> None:
    assert wrong_directions([parse_module(f"{PACKAGE}.{room}.sample", text)]) == []


def test_a_circle_is_found_also_through_a_function() -> None:
    modules = [
        parse_module("lamella.oci.a", "from lamella.oci import b"),
        parse_module("lamella.oci.b", "from lamella.oci.c import thing"),
        parse_module("lamella.oci.c", "def thing():\n    from lamella.oci.a import other"),
    ]
    assert set(first_cycle(modules)) == {"lamella.oci.a", "lamella.oci.b", "lamella.oci.c"}
