"""Scenario x Modification x Expectation: each single input of a key rebuilds exactly what it must."""

# ruff: noqa: E501  rows of a table read better on one line
from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from lamella.canonical import FrozenMap
from lamella.testing.engine import FakeHost, MemoryLookup
from lamella.testing.scenarios import Scenario, planned, rebuilt, solve
from tests.unit.planning.project_mixed import CARGO_LOCK, FILES, MIXED, PACKAGE_LOCK

API = frozenset({"api", "api -> /app/api"})
API_DEPS = API | {"api:deps"}
UI = frozenset({"ui"}) | API  # the page is embedded in the binary
UI_DEPS = UI | {"ui:deps"}
USERS = frozenset({"base:users", "setup"})  # the chain above the packages
CONFIG = frozenset({"config -> /etc/api"})
START = frozenset({"config -> /start.sh"})
DIRS = frozenset({"mixed:config -> /"})
DEFAULTS = frozenset({"mixed:config -> /etc/api/defaults.yaml"})
MODEL = frozenset({"model -> /opt/model.bin"})
EXTRA = frozenset({"extra", "extra -> /usr/local/bin/tool"})
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """A modification: files to edit (None removes), one replacement in the project file, fields of the scenario."""

    name: str
    expected: frozenset[str]
    files: dict[str, bytes | str | None] = field(default_factory=dict)
    toml: tuple[str, str] | None = None
    host: FakeHost | None = None
    arguments: dict[str, str] = field(default_factory=dict)

    def apply(self, scenario: Scenario) -> Scenario:
        """The modified scenario."""
        after = scenario.edited(self.files)
        if self.toml is not None:
            after = after.toml_changed(*self.toml)
        if self.arguments:
            after = replace(after, arguments=FrozenMap(self.arguments))
        return after


def text(path: str) -> str:
    """A file of the scenario as text."""
    data = FILES[path]
    return data.decode() if isinstance(data, bytes) else data


def put(path: str, before: str, after: str) -> dict[str, bytes | str | None]:
    """One replacement in one file, which must be there."""
    whole = text(path)
    assert before in whole, f"{before!r} is not in {path}"
    return {path: whole.replace(before, after)}


ROWS = (
    # nothing that ships
    Row("nothing changed", NOTHING),
    Row("README at the top", NOTHING, {"README.md": "# other\n"}),
    Row("a new file nobody names", NOTHING, {"notes.txt": "x"}),
    Row("an unrelated crate's source", NOTHING, {"crates/other/src/lib.rs": "pub fn more() {}\n"}),
    Row("a comment in the project file", NOTHING, toml=("[args]", "# arguments\n[args]")),
    Row("a comment in a manifest", NOTHING, put("crates/core/Cargo.toml", "[package]", "# core\n[package]")),
    Row("a comment in the workspace manifest", NOTHING, put("Cargo.toml", "[workspace]", "# ws\n[workspace]")),
    Row("order of keys in a manifest", NOTHING,
        put("crates/core/Cargo.toml", 'name = "core"\nversion = "0.3.0"', 'version = "0.3.0"\nname = "core"')),
    Row("lints of a member", API,  # the third-party part is not touched; a denied lint may fail the own part
        put("crates/core/Cargo.toml", "[dependencies]", '[lints.rust]\nunused = "warn"\n\n[dependencies]')),
    Row("description in package.json", UI,  # a script may read it; the installed packages are not touched
        put("ui/package.json", '"name": "ui",', '"name": "ui", "description": "page",')),
    Row("order of layers' tables", NOTHING, toml=("[layer.model]", "[layer.model]\n# the model\n")),
    Row("advice of a layer", NOTHING, toml=('to = "/opt/model.bin"', 'to = "/opt/model.bin"\nadvice = "ask"')),
    Row("freshness of the base", NOTHING, toml=('freshness = "7d"', 'freshness = "8d"')),
    Row("a label of the image", NOTHING, toml=("expose = [8080]", 'expose = [8080]\nlabels = { a = "b" }')),
    Row("an environment variable of the image", NOTHING, toml=("expose = [8080]", 'expose = [8080]\nenv = { A = "b" }')),
    Row("the image's port", NOTHING, toml=("expose = [8080]", "expose = [9090]")),
    Row("the image's entrypoint", NOTHING, toml=('entrypoint = ["/app/api"]', 'entrypoint = ["/start.sh"]')),
    Row("tags of the image", NOTHING, toml=("expose = [8080]", 'expose = [8080]\ntags = ["x"]')),
    Row("the image's name for another project", NOTHING, toml=('version = "1.0.0"', 'version = "1.0.0"\nrepository = "registry.example/m"')),
    # files layers
    Row("a config file", CONFIG, {"config/api.yaml": "a: 2\n"}),
    Row("a config file in depth", CONFIG, {"config/deep/more.yaml": "b: 3\n"}),
    Row("a new config file", CONFIG, {"config/new.yaml": "c: 1\n"}),
    Row("a config file removed", CONFIG, {"config/deep/more.yaml": None}),
    Row("the start script", START, {"start.sh": "#!/bin/sh\n"}),
    Row("owner of the config layer", CONFIG | START, toml=('owner = "app"\n\n[layer.model]', 'owner = "0:0"\n\n[layer.model]')),
    Row("mode of the start script", START, toml=('mode = "0755" }]\nowner', 'mode = "0700" }]\nowner')),
    Row("target of the config", frozenset({"config -> /etc/other"}), toml=('to = "/etc/api" }', 'to = "/etc/other" }')),
    Row("directories of the image", DIRS, toml=('"/data" = "app"', '"/data2" = "app"')),
    Row("owner of a directory", DIRS, toml=('"/data" = "app"', '"/data" = "0:0"')),
    Row("a runtime default", DEFAULTS, toml=("port = 8080 }", "port = 8081 }")),
    Row("the model's bytes", MODEL, {"model.bin": "other weights"}),
    Row("the model's place", frozenset({"model -> /opt/m2.bin"}), toml=('to = "/opt/model.bin"', 'to = "/opt/m2.bin"')),
    # fetches
    Row("a fetch's checksum", EXTRA, toml=("a" * 64, "b" * 64)),
    Row("a fetch's place to look, same checksum", NOTHING, toml=("files.example", "mirror.example")),
    Row("a fetch's mode", EXTRA, toml=('mode = "0755" }]\n\n[image', 'mode = "0700" }]\n\n[image')),
    # base and steps on it
    Row("packages of the base", USERS | {"base:packages"}, toml=('apt = ["python3"]', 'apt = ["python3", "curl"]')),
    Row("order of packages", NOTHING | frozenset(), toml=('apt = ["cargo", "gcc"]', 'apt = ["gcc", "cargo"]')),
    Row("suite of the base", USERS | {"base:root", "base:packages"},
        toml=('bootstrap = "debian/bookworm"', 'bootstrap = "debian/sid"')),
    Row("a user's id", USERS, toml=("uid = 10001", "uid = 10002")),
    Row("a step's command", frozenset({"setup"}), toml=("sh setup/init.sh", "sh -e setup/init.sh")),
    Row("a step's input", frozenset({"setup"}), {"setup/init.sh": "true\n"}),
    Row("a step's new input", frozenset({"setup"}), {"setup/more.sh": "true\n"}),
    Row("a step's environment", frozenset({"setup"}), toml=('MODE = "fast"', 'MODE = "slow"')),
    Row("a step's network", frozenset({"setup"}), toml=('inputs = ["setup/**"]', 'inputs = ["setup/**"]\nnetwork = true')),
    Row("a step's secret", frozenset({"setup"}),
        toml=('inputs = ["setup/**"]', 'inputs = ["setup/**"]\nsecrets = ["t"]\n[secrets]\nt = { env = "T" }\n[layer.setup.when.profile.dev]')),
    # cargo
    Row("source of the binary's crate", API, {"crates/api/src/main.rs": "fn main() {}\n"}),
    Row("source of an inner crate", API, {"crates/core/src/lib.rs": "pub fn answer() -> u32 { 43 }\n"}),
    Row("a new module", API, {"crates/core/src/more.rs": "//\n"}),
    Row("a module removed", API, {"crates/api/src/main.rs": None, "crates/api/src/bin/api.rs": "fn main() {}\n"}),
    Row("a declared input", API, {"migrations/2.sql": "select 1;\n"}),
    Row("a declared input removed", API, {"migrations/1.sql": None}),
    Row("an argument that a layer uses", API_DEPS, arguments={"channel": "beta"}),
    Row("an environment variable of the layer", API_DEPS, toml=('CHANNEL = "{args.channel}"', 'CHANNEL = "x"')),
    Row("a feature that asks nothing of third parties", API, toml=('bin = "api" }', 'bin = "api", features = ["extra"] }')),
    Row("default features off, none of third parties", API, toml=('bin = "api" }', 'bin = "api", default_features = false }')),
    Row("a compiler flag", API_DEPS, toml=('bin = "api" }', 'bin = "api", flags = ["-C", "debuginfo=1"] }')),
    Row("the profile", API_DEPS, toml=('bin = "api" }', 'bin = "api", profile = "release" }')),
    Row("a third-party crate bumped", API_DEPS,
        {"Cargo.lock": CARGO_LOCK.replace("1.0.9", "1.0.10").replace("af150ab6", "bf150ab6")}),
    Row("a third-party crate's features", API_DEPS,
        put("crates/api/Cargo.toml", 'serde = { version = "1" }', 'serde = { version = "1", features = ["alloc"] }')),
    Row("packages of the toolchain", API_DEPS | {"tools"}, toml=('apt = ["cargo", "gcc"]', 'apt = ["cargo", "clang"]')),
    Row("a Cargo configuration", API_DEPS, {".cargo/config.toml": "[net]\nretry = 3\n[profile.dev]\nopt-level = 1\n"}),
    Row("a toolchain file", API_DEPS, {"rust-toolchain.toml": '[toolchain]\nchannel = "1.85.0"\n'}),
    # node
    Row("source of the page", UI, {"ui/src/index.js": "console.log(2)\n"}),
    Row("a new source of the page", UI, {"ui/src/b.js": "1\n"}),
    Row("the page's build script", UI, {"ui/build.js": "2\n"}),
    Row("a locked npm package", UI_DEPS, {
        "ui/package-lock.json": PACKAGE_LOCK.replace("XI5MPz", "YI5MPz"),
    }),
    Row("packages of node's toolchain", UI_DEPS | {"nodejs"}, toml=('apt = ["nodejs", "npm"]', 'apt = ["nodejs", "npm", "git"]')),
    Row("which script is run", UI, files=put("ui/package.json", '"build": "node build.js"', '"build": "node build.js", "b2": "x"'),
        toml=('script = "build"', 'script = "b2"')),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_change_rebuilds_exactly_what_it_must(row: Row) -> None:
    """Built before, modified, solved again: the vertices without a record are these and no others."""
    assert rebuilt(MIXED, row.apply(MIXED)) == row.expected


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_going_back_rebuilds_nothing(row: Row) -> None:
    """A key is a function of inputs: what was built before is found again."""
    lookup = MemoryLookup()
    solve(MIXED, lookup)
    solve(row.apply(MIXED), lookup)
    assert not planned(MIXED, lookup).has_work


def test_a_plan_agrees_with_the_build_that_follows() -> None:
    """What a plan calls reused is reused, what it calls build is built, and nothing else is."""
    for row in ROWS:
        lookup = MemoryLookup()
        solve(MIXED, lookup)
        after = row.apply(MIXED)
        plan = planned(after, lookup)
        known = set(lookup.records)
        solve(after, lookup)
        made = {record.name for key, record in lookup.records.items() if key not in known}
        assert {item.name for item in plan.of_status("build")} <= made, row.name
        assert made <= {item.name for item in plan.vertices if item.status != "reused"}, row.name


def test_a_step_that_made_the_same_bytes_stops_the_rebuild() -> None:
    """Early cut-off: the page was built anew and is the same, so the binary is not."""
    same = {"ui": "the same page"}
    lookup = MemoryLookup()
    solve(MIXED, lookup, same_product=same)
    known = set(lookup.records)
    solve(MIXED.edited({"ui/src/index.js": "console.log( 1 )\n"}), lookup, same_product=same)
    assert {r.name for key, r in lookup.records.items() if key not in known} == {"ui"}


def test_newer_packages_under_the_same_step_are_another_toolchain() -> None:
    """A root file system is its key and its package set (DESIGN 3b)."""
    lookup = MemoryLookup()
    solve(MIXED, lookup)
    toolchain = next(key for key, record in lookup.records.items() if record.name == "tools")
    del lookup.records[toolchain]
    known = set(lookup.records)
    solve(MIXED, lookup, packages="2")
    made = {record.name for key, record in lookup.records.items() if key not in known}
    assert made == {"tools"} | API_DEPS
