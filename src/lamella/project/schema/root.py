"""The root of the settings table: every table of ``lamella.toml`` in the order of the reference page."""

from __future__ import annotations

from lamella.project.formats import FORMATS
from lamella.project.schema import delivery
from lamella.project.schema.grammar import Integer, ListOf, MapOf, Row, Table, TableOf, Text, flag, text, texts
from lamella.project.schema.image import AXIS_PATTERN, IMAGE
from lamella.project.schema.layer import LAYER
from lamella.project.spec import SecretSpec
from lamella.project.version import VERSION

__all__ = ["PROJECT", "ROOT", "SCHEMA_VERSION"]

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

ROOT = Table(
    "",
    "The project file.",
    (
        Row("project", TableOf(PROJECT), "the project itself", required=True),
        Row("workspace", TableOf(delivery.WORKSPACE), "projects that share lock, cache and engine", nullable=True),
        Row("axes", MapOf(FORMATS["axis_name"], texts("axis_value", constant=True, at_least=1)), "variant dimensions"),
        Row("cells", TableOf(_CELLS), "combinations of axis values"),
        Row("args", MapOf(FORMATS["arg_name"], text("text", constant=True)), "build arguments and their defaults"),
        Row("secrets", MapOf(FORMATS["name"], TableOf(_SECRET)), "secrets"),
        Row("layer", MapOf(FORMATS["name"], TableOf(LAYER)), "layers"),
        Row("image", MapOf(FORMATS["image_name"], TableOf(IMAGE)), "images"),
        Row("device", MapOf(FORMATS["axis_value"], TableOf(delivery.DEVICE)), "devices by axis value"),
        Row("service", MapOf(FORMATS["name"], TableOf(delivery.SERVICE)), "services"),
        Row("generate", MapOf(FORMATS["name"], TableOf(delivery.GENERATE)), "generators"),
        Row("check", MapOf(FORMATS["name"], TableOf(delivery.CHECK)), "gates"),
        Row("bench", TableOf(delivery.BENCH), "thresholds of timings"),
        Row("channel", MapOf(FORMATS["name"], TableOf(delivery.CHANNEL)), "ways to publish"),
        Row("retain", MapOf(FORMATS["name"], TableOf(delivery.RETAIN)), "retention policies"),
        Row("cache", TableOf(delivery.CACHE), "where records and states are kept"),
        Row("engine", TableOf(delivery.ENGINE), "what runs steps"),
        Row("ci", TableOf(delivery.CI), "workflow files"),
        Row("cycle", TableOf(delivery.CYCLE), "commands around an edit-to-running cycle"),
    ),
)
"""The whole file."""
