"""Scenario x Modification x Expectation on both real engines: plan, build and image agree (CONVENTIONS 21).

The embedded engine compiles with the host's Rust. A builder has none, so there the toolchain is a Debian with cargo, and
the base is of the same suite.
"""

# ruff: noqa: E501  rows of a table read better on one line
from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lamella.host.locks import hold
from tests.integration.components.presence import require_program
from tests.integration.e2e.conftest import Cli, copy_store, write_tree
from tests.integration.e2e.engines import engine_environment

TOML = """
[project]
schema = 1
name = "table-NAME"

[args]
word = "hello"

[layer.base]
bootstrap = "debian/bookworm"
users = [{ name = "app", uid = 10001, gid = 10001 }]

[layer.rust]
host = true

[layer.setup]
run = [["sh", "-c", "mkdir -p /var/lib/app && cat setup/* > /var/lib/app/all && echo $WORD >> /var/lib/app/all"]]
inputs = ["setup/**"]
env = { WORD = "{args.word}" }

[layer.app]
on = "rust"
to = "/app/tool"
cargo = { dir = "crate", bin = "tool" }

[layer.files]
files = [{ from = "conf", to = "/etc/app" }, { from = "run.sh", to = "/run.sh", mode = "0755" }]
owner = "app"

[image.table]
layers = ["base", "setup", "app", "files"]
user = "app"
entrypoint = ["/app/tool"]
"""

ON_BUILDER = (
    ('bootstrap = "debian/bookworm"', 'bootstrap = "debian/trixie"'),
    ("[layer.rust]\nhost = true", '[layer.rust]\nbootstrap = "debian/trixie"\napt = ["cargo", "gcc", "libc6-dev"]'),
)
"""What the project says otherwise where a builder runs its steps."""

LISTER = """
use std::{env, fs, path::Path};
fn main() {
    let mut names: Vec<String> = fs::read_dir("assets").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let text: String = names.iter().map(|n| format!("{}={};", n, fs::read_to_string(Path::new("assets").join(n)).unwrap().trim())).collect();
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("assets.txt"), text).unwrap();
    println!("cargo:rerun-if-changed=assets");
}
"""

FILES: dict[str, str | bytes] = {
    "crate/Cargo.toml": '[package]\nname = "tool"\nversion = "0.1.0"\nedition = "2021"\nbuild = "build.rs"\n\n[features]\nloud = []\n',
    "crate/Cargo.lock": 'version = 4\n\n[[package]]\nname = "tool"\nversion = "0.1.0"\n',
    "crate/build.rs": LISTER,
    "crate/src/main.rs": (
        'fn main() { println!("{} {} {}", env!("CARGO_PKG_VERSION"), include_str!(concat!(env!("OUT_DIR"), "/assets.txt")), '
        'if cfg!(feature = "loud") { "LOUD" } else { "quiet" }); }\n'
    ),
    "crate/assets/a.txt": "1\n",
    "crate/assets/b.txt": "2\n",
    "setup/1": "one\n",
    "conf/app.conf": "x = 1\n",
    "run.sh": "#!/bin/sh\n",
    "README.md": "read me\n",
    "notes/n.txt": "n\n",
}

APP = {"app", "app -> /app/tool"}
CONF, RUN = {"files -> /etc/app"}, {"files -> /run.sh"}

Edit = Callable[[Path], None]


def write(name: str, text: str) -> Edit:
    """Replaces or adds a file."""

    def edit(root: Path) -> None:
        write_tree(root, {name: text})

    return edit


def remove(name: str) -> Edit:
    """Removes a file."""
    return lambda root: (root / name).unlink()


def sub(name: str, before: str, after: str) -> Edit:
    """Replaces a piece of a file, which must be there once."""

    def edit(root: Path) -> None:
        text = (root / name).read_text()
        assert text.count(before) == 1, f"{before!r} is {text.count(before)} times in {name}"
        (root / name).write_text(text.replace(before, after))

    return edit


def touch_all(root: Path) -> None:
    """Every file gets another modification time, long ago."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (1_000_000_000, 1_000_000_000))


def same_size_same_time(root: Path) -> None:
    """Other bytes of the same size under the same modification time."""
    path = root / "conf" / "app.conf"
    status = path.stat()
    path.write_text("x = 7\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def older_source(root: Path) -> None:
    """A source changes and gets a time before everything that was compiled from it."""
    sub("crate/src/main.rs", "quiet", "soft!")(root)
    os.utime(root / "crate" / "src" / "main.rs", (1_000_000_000, 1_000_000_000))


def delete_under_watched_folder(root: Path) -> None:
    """A file below rerun-if-changed goes, and the folder gets its old time back (MECHANICS G)."""
    folder = root / "crate" / "assets"
    status = folder.stat()
    (folder / "b.txt").unlink()
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))


def bump_version(root: Path) -> None:
    """A release: manifest and lock."""
    for name in ("crate/Cargo.toml", "crate/Cargo.lock"):
        sub(name, "0.1.0", "0.2.0")(root)


@dataclass(frozen=True)
class Row:
    """One modification; ``prints`` is what the binary says afterwards, when that is the point."""

    name: str
    edit: Edit
    expected: frozenset[str] | set[str]
    prints: str = "0.1.0 a.txt=1;b.txt=2; quiet"
    arguments: tuple[str, ...] = ()


ROWS = (
    Row("nothing", lambda root: None, set()),
    Row("README outside the crate", write("README.md", "other"), set()),
    Row("README of the crate, which a macro may read", write("crate/README.md", "x"), {"app"}),
    Row("a file that no layer names", write("notes/new.txt", "x"), set()),
    Row("times of all files", touch_all, set()),
    Row("a comment in the manifest", sub("crate/Cargo.toml", "[features]", "# features\n[features]"), set()),
    Row("a comment in lamella.toml", sub("lamella.toml", "[args]", "# args\n[args]"), set()),
    Row("mode bits of group and others", lambda root: (root / "conf" / "app.conf").chmod(0o664), set()),
    Row("a config file", write("conf/app.conf", "x = 2\n"), CONF),
    Row("a config file, same size and time", same_size_same_time, CONF),
    Row("a new config file", write("conf/new.conf", "y"), CONF),
    Row("a config file becomes executable", lambda root: (root / "conf" / "app.conf").chmod(0o755), CONF),
    Row("the start script", write("run.sh", "#!/bin/sh\nexit\n"), RUN),
    Row("owner of files", sub("lamella.toml", 'owner = "app"', 'owner = "0:0"'), CONF | RUN),
    Row("a step's input", write("setup/1", "uno\n"), {"setup"}),
    Row("a step's new input", write("setup/2", "two\n"), {"setup"}),
    Row("an argument", lambda root: None, {"setup"}, arguments=("--build-arg", "word=bye")),
    Row("a step's command", sub("lamella.toml", "mkdir -p /var", "mkdir -p  /var"), {"setup"}),
    Row("a user", sub("lamella.toml", "uid = 10001", "uid = 10002"), {"base:users", "setup", *CONF, *RUN}),
    Row("a source", sub("crate/src/main.rs", "quiet", "still"), APP, "0.1.0 a.txt=1;b.txt=2; still"),
    Row("a source that is older than its binary", older_source, APP, "0.1.0 a.txt=1;b.txt=2; soft!"),
    Row("a file that a build script reads", write("crate/assets/a.txt", "9\n"), APP, "0.1.0 a.txt=9;b.txt=2; quiet"),
    Row("a file more in a folder that is listed", write("crate/assets/c.txt", "3"), APP, "0.1.0 a.txt=1;b.txt=2;c.txt=3; quiet"),
    Row("a file less under a watched folder", delete_under_watched_folder, APP, "0.1.0 a.txt=1; quiet"),
    Row("the version", bump_version,
        APP, "0.2.0 a.txt=1;b.txt=2; quiet"),
    Row("a feature", sub("lamella.toml", 'bin = "tool" }', 'bin = "tool", features = ["loud"] }'),
        APP, "0.1.0 a.txt=1;b.txt=2; LOUD"),
    Row("the profile", sub("lamella.toml", 'bin = "tool" }', 'bin = "tool", profile = "release" }'), APP),
)  # fmt: skip


@pytest.fixture(scope="module", params=["local", "docker28"])
def built_project(
    shared_store: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str, request: pytest.FixtureRequest
) -> tuple[Cli, Path]:
    """The scenario, built once per engine and test process. The engines find each other's records, so that each has a
    store of its own here.
    """
    text = TOML.replace("NAME", f"{worker_id}-{request.param}")
    if request.param == "local":
        require_program("cargo", "rustup")
    else:
        for before, after in ON_BUILDER:
            text = text.replace(before, after)
    env = engine_environment(request.param, request.getfixturevalue, tmp_path_factory.mktemp("client"))
    store = shared_store if request.param == "local" else shared_store.with_name(f"store-{request.param}")
    with hold(shared_store.parent / "lock", timeout=900):
        if not store.exists():
            copy_store(shared_store.parent / "pristine", store)
    cli = replace(Cli(store), env=env)
    folder = tmp_path_factory.mktemp("table")
    write_tree(folder, {**FILES, "lamella.toml": text})
    cli.build(folder)
    return cli, folder


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_change_builds_exactly_what_it_must(row: Row, built_project: tuple[Cli, Path], tmp_path: Path) -> None:
    """Built, modified, planned, built: plan, build, table and binary agree."""
    cli, before = built_project
    folder = tmp_path / "project"
    shutil.copytree(before, folder)
    row.edit(folder)
    planned = cli.planned(folder, *row.arguments)
    made = cli.built(folder, *row.arguments)
    assert made == row.expected
    assert {name for name, status in planned.items() if status == "build"} <= made
    assert made <= {name for name, status in planned.items() if status != "reused"}
    output = cli.run(folder, "run", "table", "--no-build").stdout
    assert output.strip() == row.prints
    assert cli.built(folder, *row.arguments) == set(), "a second build does nothing"
