"""The settings table is the one source: values' defaults, the JSON schema and the reference page follow it."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from lamella.canonical import FrozenMap
from lamella.project.decode import Decoder
from lamella.project.delivery import BenchSpec, CiSpec, CycleSpec, DeviceSpec, DevSpec, ServiceHealth
from lamella.project.schema.grammar import ListOf, MapOf, OneOf, Row, Table, TableOf, Text, Type
from lamella.project.schema.json_schema import json_schema
from lamella.project.schema.reference import reference_page
from lamella.project.schema.root import root_table
from lamella.project.settings import CacheSpec, EngineSpec
from lamella.project.spec import DefaultsSpec, HealthcheckSpec, NodeSpec, RunOptions
from lamella.project.toml import Node

REFERENCE = Path(__file__).parent.parent.parent.parent / "docs" / "reference"


def tables() -> dict[str, Table]:
    found: dict[str, Table] = {}

    def types(kind: Type) -> Iterator[Table]:
        if isinstance(kind, TableOf):
            yield kind.table
        elif isinstance(kind, (ListOf, MapOf)):
            yield from types(kind.item)
        elif isinstance(kind, OneOf):
            for option in kind.options:
                yield from types(option)

    def walk(table: Table) -> None:
        for row in table.rows:
            for inner in types(row.type):
                found[inner.name] = inner
                walk(inner)

    walk(root_table())
    return found


TABLES = tables()
HEAD = {"project": {"schema": 1, "name": "x"}}


def texts(kind: Type) -> Iterator[Text]:
    if isinstance(kind, Text):
        yield kind
    elif isinstance(kind, (ListOf, MapOf)):
        yield from texts(kind.item)
    elif isinstance(kind, OneOf):
        for option in kind.options:
            yield from texts(option)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("image.N.run", RunOptions()),
        ("layer.N.node", NodeSpec()),
        ("engine", EngineSpec()),
        ("cache", CacheSpec()),
        ("bench", BenchSpec()),
        ("ci", CiSpec()),
        ("cycle", CycleSpec()),
        ("device.VALUE", DeviceSpec()),
        ("service.N.dev", DevSpec()),
        ("image.N.defaults", DefaultsSpec()),
    ],
)
def test_an_empty_table_is_the_default_value(name: str, default: object) -> None:
    assert Decoder("").table(Node(FrozenMap(), 1, 1, 1, 1), TABLES[name]) == default


@pytest.mark.parametrize(
    ("name", "kind"), [("image.N.healthcheck", HealthcheckSpec), ("service.N.healthcheck", ServiceHealth)]
)
def test_health_defaults(name: str, kind: type) -> None:
    decoder = Decoder("")
    assert decoder.table(Node(FrozenMap(), 1, 1, 1, 1), TABLES[name]) == kind()
    assert [item.message for item in decoder.problems] == [f"{name} needs one of http, tcp, cmd"]


def test_a_value_has_a_field_for_every_key() -> None:
    checked = 0
    for table in TABLES.values():
        if dataclasses.is_dataclass(table.build):  # other values are made by a function, or are maps
            fields = {item.name.rstrip("_") for item in dataclasses.fields(table.build)}
            assert {row.key for row in table.rows} <= fields, table.name
            checked += 1
    assert checked > 15


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_row_says_what_it_is(name: str) -> None:
    for row in TABLES[name].rows:
        assert row.doc
        assert not row.doc.endswith(".")
        assert not (row.required and (row.default is not None or row.shown)), row.key


def test_tables_that_are_read_before_a_cell_is_known_hold_variables_only_in_free_text() -> None:
    from lamella.project.schema.delivery import ROWS

    def walk(rows: tuple[Row, ...]) -> Iterator[tuple[Row, Text]]:
        for row in rows:
            for kind in texts(row.type):
                yield row, kind
        for row in rows:
            inner = row.type.item if isinstance(row.type, MapOf) else row.type
            if isinstance(inner, TableOf):
                yield from walk(inner.table.rows)

    for row, kind in walk(ROWS):
        assert kind.constant or kind.raw or kind.form.name in ("text", "argument"), row.key


def test_the_schema_file_is_what_the_table_says() -> None:
    written = json.loads((REFERENCE / "lamella.schema.json").read_text(encoding="utf-8"))
    assert written == json_schema(), "run: python scripts/project_reference.py"
    jsonschema.Draft202012Validator.check_schema(written)


def test_the_reference_page_is_what_the_table_says() -> None:
    written = (REFERENCE / "lamella-toml.md").read_text(encoding="utf-8")
    assert written == reference_page(), "run: python scripts/project_reference.py"
    for name, table in TABLES.items():
        for row in table.rows:
            assert f"| `{row.key}` |" in written, (name, row.key)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("[layer.a]\nfrom = 'x'\n", True),
        ("[layer.a]\nform = 'x'\n", False),
        ("[layer.a]\napt = 'x'\n", False),
        ("[layer.a]\nfrom = 'x'\nhost = true\n", False),
        ("[layer.a]\nfreshness = '7 days'\n", False),
        ("[layer.a]\nfreshness = '{args.age}'\n", True),
        ("[layer.a]\nrun = ['a', 'b']\n", True),
        ("[layer.a]\nrun = [['a'], ['b']]\n", True),
        ("[layer.a]\nrun = 'a'\n", False),
        ("[layer.a.cargo]\nfeatures = ['x']\n[layer.a.when.profile.dev.when.x.y.cargo]\nfeatures = ['y']\n", True),
        ("[layer.a.when.profile.dev]\nform = 'x'\n", False),
        ("[layer.a]\nadd.apt = ['x']\nadd.cargo.features = ['y']\n", True),
        ("[layer.a]\nadd.from = 'x'\n", False),
        ("[layer.a]\nneeds = { b = 'x', c = { '/y' = '/z' } }\n", True),
        ("[image.a]\nexpose = [80, '53/udp']\n", True),
        ("[image.a]\nexpose = [70000]\n", False),
        ("[image.A]\n", False),
        ("[image.a.healthcheck]\ninterval = '3s'\n", True),
        ("[service.a]\nports = [1]\n", False),
        ("[service.a]\nfrom = 'x'\n", True),
        ("[axes]\na = []\n", False),
        ("[bogus]\n", False),
    ],
)
def test_the_json_schema_judges_like_the_checker(text: str, valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(HEAD | tomllib.loads(text)) is valid


def test_the_json_schema_needs_the_project_table() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not validator.is_valid({})
    assert not validator.is_valid({"project": {"schema": 2, "name": "x"}})
