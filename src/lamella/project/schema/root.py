"""The root of the settings table: every table of ``lamella.toml`` in the order of the reference page."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from lamella.project.formats import FORMATS
from lamella.project.schema.grammar import (
    Choice,
    Integer,
    ListOf,
    MapOf,
    Row,
    Table,
    TableOf,
    Text,
    flag,
    text,
    texts,
)
from lamella.project.schema.image import AXIS_PATTERN, IMAGE
from lamella.project.schema.layer import LAYER
from lamella.project.settings import CacheSpec, EngineSpec, SecretSpec
from lamella.project.version import VERSION

__all__ = ["CORE", "PROJECT", "SCHEMA_VERSION", "root_rows", "root_table"]

SCHEMA_VERSION = 1
"""The only value of ``project.schema``."""


def _secret(**values: object) -> SecretSpec:
    """A secret; its name is the key of its table and set by the caller."""
    return SecretSpec(name="", **values)  # type: ignore[arg-type]


PROJECT = Table(
    "project",
    "The project itself.",
    (
        Row("schema", Integer(SCHEMA_VERSION, SCHEMA_VERSION), "version of this format: 1", required=True),
        Row("name", text("image_name", constant=True), "name", required=True),
        Row("repository", text("repository"), "where images go", shown="none: local images only"),
        Row("version", Text(VERSION, constant=True), "where the version comes from", shown="none"),
        Row("ignore", texts("glob", constant=True), "globs that are no inputs, beyond .dockerignore"),
    ),
)
_CELLS = Table(
    "cells",
    "Combinations of axis values.",
    (
        Row("exclude", ListOf(AXIS_PATTERN), "combinations that do not exist"),
        Row("allow_failure", ListOf(AXIS_PATTERN), "combinations whose failure is reported and not fatal"),
    ),
)
_SECRET = Table(
    "secrets.N",
    "A secret. Its value never enters a key, a layer or a log.",
    (
        Row("env", text("env_name", constant=True), "environment variable it comes from"),
        Row("file", text("text", constant=True), "file it comes from"),
        flag("optional", "steps run without it"),
        Row("version", text("text", constant=True), "enters the key: change it to run the steps again"),
    ),
    _secret,
    one_of=(("env", "file"),),
)

_CACHE = Table(
    "cache",
    "Where records and states are kept.",
    (
        Row(
            "repository",
            text("repository", constant=True),
            "repository of records",
            shown="the project's with -cache",
        ),
        flag("state", "states travel too", default=True),
        Row("size", text("size", constant=True), "bound of the local store"),
    ),
    CacheSpec,
)
_ENGINE = Table(
    "engine",
    "What runs steps.",
    (
        Row(
            "name",
            Choice(("auto", "local", "buildkit")),
            "engine",
            default="auto",
        ),
        Row("jobs", Integer(1, 1024), "steps at once", shown="by cores"),
        Row("memory", text("size", constant=True), "memory for all steps", shown="what is free"),
    ),
    EngineSpec,
)

CORE: tuple[Row, ...] = (
    Row("project", TableOf(PROJECT), "the project itself", required=True),
    Row("axes", MapOf(FORMATS["axis_name"], texts("axis_value", constant=True, at_least=1)), "variant dimensions"),
    Row("cells", TableOf(_CELLS), "combinations of axis values"),
    Row("args", MapOf(FORMATS["arg_name"], text("text", constant=True)), "build arguments and their defaults"),
    Row("secrets", MapOf(FORMATS["name"], TableOf(_SECRET)), "secrets"),
    Row("layer", MapOf(FORMATS["name"], TableOf(LAYER)), "layers"),
    Row("image", MapOf(FORMATS["image_name"], TableOf(IMAGE)), "images"),
    Row("cache", TableOf(_CACHE), "where records and states are kept"),
    Row("engine", TableOf(_ENGINE), "what runs steps"),
)
"""The tables a build reads."""


def root_rows(written: Iterable[str]) -> dict[str, Row]:
    """The rows of the file's tables. Those beyond ``CORE`` are only loaded when one of them is written.

    Loading them takes as long as parsing an ordinary file, and an ordinary file has none.
    """
    core = {row.key: row for row in CORE}
    return core if core.keys() >= set(written) else root_table().by_key


@cache
def root_table() -> Table:
    """The whole file as one table."""
    from lamella.project.schema.delivery import ROWS

    return Table("", "The project file.", (*CORE, *ROWS))
