"""Rows of ``image.N``."""

from __future__ import annotations

from lamella.project.formats import FORMATS
from lamella.project.schema.grammar import (
    Choice,
    Free,
    Integer,
    Later,
    ListOf,
    MapOf,
    Number,
    OneOf,
    Row,
    Table,
    TableOf,
    Text,
    flag,
    text,
    texts,
)
from lamella.project.spec import DefaultsSpec, HealthcheckSpec, RunOptions

__all__ = ["AXIS_PATTERN", "HEALTH_ROWS", "IMAGE", "PORTS", "PROBES"]

_COMMAND = ListOf(Text(FORMATS["argument"], deferred=True))
_ENV = MapOf(FORMATS["env_name"], text("text", deferred=True))

AXIS_PATTERN = MapOf(
    FORMATS["axis_name"],
    ListOf(text("axis_value", constant=True), 1, bare=True),
)
"""Axis = value or array of values."""

PORTS = ListOf(OneOf((Integer(1, 65_535, str), text("published")), "a port or a string like 8080:80"))
"""Published ports."""

_EXPOSED = ListOf(OneOf((Integer(1, 65_535, "{}/tcp".format), text("port")), "a port number or a string like 53/udp"))

HEALTH_ROWS: tuple[Row, ...] = (
    Row("http", text("http_probe"), "path to ask with GET on the first exposed port, or :PORT/PATH"),
    Row("tcp", Integer(1, 65_535), "port to connect to"),
    Row("cmd", ListOf(Text(FORMATS["argument"]), 1), "command that ends with 0 when all is well"),
    Row("interval", text("duration"), "time between two checks", default="30s"),
    Row("timeout", text("duration"), "time one check may take", default="10s"),
    Row("start", text("duration"), "time to start in", default="5s"),
    Row("retries", Integer(1, 100), "failures in a row that count", default=3),
    Row(
        "device",
        text("axis_value"),
        "device that must be there; degrades to its fallback and never fails the container",
        later=Later("run", "device checks"),
    ),
)
PROBES = ("http", "tcp", "cmd")
"""Keys of a health check of which one is wanted."""


def _health(**values: object) -> HealthcheckSpec:
    """The value of a health check; ``:PORT`` in front of the path goes to ``port``."""
    http = values["http"]
    if isinstance(http, str) and http.startswith(":"):
        port, _, path = http[1:].partition("/")
        values |= {"http": f"/{path}", "port": int(port)}
    return HealthcheckSpec(**values)  # type: ignore[arg-type]


_HEALTHCHECK = Table(
    "image.N.healthcheck", "How the image says whether it is well.", HEALTH_ROWS, _health, one_of=(PROBES,)
)
_DEFAULTS = Table(
    "image.N.defaults",
    "Runtime defaults that the environment overrides.",
    (
        Row("file", text("absolute"), "YAML file in the image", shown="none: needed with as = file"),
        Row("env_prefix", Text(FORMATS["text"]), "prefix of the variables that override", default=""),
        Row("values", MapOf(FORMATS["label_name"], Free()), "the defaults"),
        Row("as", Choice(("file", "env")), "YAML the program reads, or image environment", default="file"),
    ),
    DefaultsSpec,
)
_RUN = Table(
    "image.N.run",
    "What `lamella run` gives the container.",
    (
        Row("ports", PORTS, "published ports"),
        Row("volumes", texts("mount"), "mounts SOURCE:/TARGET[:ro]"),
        Row("env", _ENV, "environment"),
        Row("env_file", text("path"), "file with environment; must be there"),
        Row("memory", text("size"), "memory limit"),
        Row("cpus", Number(0.01, 4096, "{:g}".format), "processors"),
        Row("network", text("name"), "bridge, host, none or a network's name", default="bridge"),
        Row("user", text("owner"), "user; host is the caller", shown="the image's"),
        Row("args", ListOf(Text(FORMATS["argument"])), "arguments after the entrypoint"),
    ),
    RunOptions,
)

IMAGE = Table(
    "image.N",
    "One image: an ordered list of layers and a runtime configuration.",
    (
        Row("layers", texts("name"), "layers, the base first", shown="those of extends"),
        Row(
            "extends",
            text("image_name", constant=True),
            "image to start from, per cell, without tags and cells",
        ),
        Row("pin", text("reference"), "published image to use instead", later=Later("build", "pinned images")),
        Row("cells", AXIS_PATTERN, "cells the image has", shown="all"),
        Row("repository", text("repository"), "repository", shown="the project's"),
        Row("user", text("owner"), "user the program runs as", shown="the base's"),
        Row("workdir", text("absolute"), "working directory", shown="the base's"),
        Row("entrypoint", _COMMAND, "program", shown="the only binary or console script", nullable=True),
        Row("cmd", _COMMAND, "default arguments", nullable=True),
        Row("env", _ENV, "environment"),
        Row("expose", _EXPOSED, "ports"),
        Row("volumes", texts("absolute"), "folders that are volumes"),
        Row("dirs", MapOf(FORMATS["absolute"], text("owner"), templates=True), "folders to make: path = owner"),
        Row("labels", MapOf(FORMATS["label_name"], text("text", deferred=True)), "labels"),
        Row("tags", texts("tag"), "tags of prod cells; dev cells have those under when.profile.dev", shown="latest"),
        Row("stop_signal", text("signal"), "signal that ends the program", shown="the base's"),
        flag("init", "run under a small init process"),
        flag("read_only", "the root file system is read-only when run"),
        Row("healthcheck", TableOf(_HEALTHCHECK), "health check", nullable=True),
        Row("defaults", TableOf(_DEFAULTS), "runtime defaults", nullable=True),
        Row("run", TableOf(_RUN), "options of `lamella run`"),
    ),
    varied=True,
)
