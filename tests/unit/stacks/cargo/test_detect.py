"""What ``init`` is told about a tree."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

import pytest

from lamella.stacks.base import Detection
from lamella.stacks.cargo import CargoStack
from lamella.testing.tree import MemoryTree
from tests.unit.stacks.cargo.shop import FILES, HEAD, entry, shop


def detect(tree: MemoryTree) -> tuple[Detection, ...]:
    return CargoStack().detect(tree)


def test_a_workspace_with_one_program() -> None:
    found = detect(shop())
    assert len(found) == 1
    assert (found[0].directory, found[0].name, found[0].version) == ("", "app", "cargo:crates/app")
    assert found[0].entrypoint == ("/app/app",)
    layer = found[0].layers[0]
    assert layer.lines == ('cargo = { bin = "app" }',)
    assert any("only package of Cargo.toml with a binary" in reason for reason in layer.why)
    assert any("Rust 1.90.0" in reason for reason in layer.why)


def test_what_the_locked_crates_need_of_the_system() -> None:
    lock = HEAD + entry("app", "1.0.0", "openssl-sys", "libsqlite3-sys", own=True) + "\n" + entry("libsqlite3-sys", "0.30.0") + "\n" + entry("openssl-sys", "0.9.0")  # fmt: skip
    tree = MemoryTree(
        {"Cargo.toml": '[package]\nname = "app"\nversion = "1.0.0"\n', "Cargo.lock": lock, "src/main.rs": ""}
    )
    found = detect(tree)[0]
    assert found.base_packages == ("ca-certificates", "libsqlite3-0", "libssl3")
    assert "openssl-sys needs the Debian package libssl-dev" in found.layers[0].why


def test_a_bundled_library_needs_no_package() -> None:
    lock = HEAD + entry("app", "1.0.0", "libsqlite3-sys", own=True) + "\n" + entry("cc", "1.0.0") + "\n" + entry("libsqlite3-sys", "0.30.0", "cc")  # fmt: skip
    tree = MemoryTree(
        {"Cargo.toml": '[package]\nname = "app"\nversion = "1.0.0"\n', "Cargo.lock": lock, "src/main.rs": ""}
    )
    assert detect(tree)[0].base_packages == ()


def many(**changes: str | None) -> MemoryTree:
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["*"]\n',
        "Cargo.lock": HEAD,
        "bench/Cargo.toml": '[package]\nname = "bench"\npublish = false\n[dependencies]\nlib = { path = "../lib" }\ncli = { path = "../cli" }\nsrv = { path = "../srv" }\n',
        "bench/src/main.rs": "",
        "cli/Cargo.toml": '[package]\nname = "cli"\n',
        "cli/src/main.rs": "",
        "lib/Cargo.toml": '[package]\nname = "lib"\n',
        "lib/src/lib.rs": "",
        "srv/Cargo.toml": '[package]\nname = "srv"\n[dependencies]\nlib = { path = "../lib" }\n',
        "srv/src/main.rs": "",
        "srv/src/bin/tool.rs": "",
    }  # fmt: skip
    return MemoryTree(files).edited(changes)


@pytest.mark.parametrize(
    ("tree", "line", "why"),
    [
        (many(), 'cargo = { package = "srv", bin = "srv" }', "uses the most packages"),
        (many(**{"Cargo.toml": '[workspace]\nmembers = ["*"]\ndefault-members = ["cli", "lib"]\n'}), 'cargo = { package = "cli", bin = "cli" }', "only default member"),
        (many(**{"Cargo.toml": '[workspace]\nmembers = ["*"]\n[package]\nname = "top"\n', "src/main.rs": ""}), 'cargo = { package = "top", bin = "top" }', "package of the workspace's root"),
    ],
)  # fmt: skip
def test_of_several_programs_one_is_proposed_and_the_others_named(tree: MemoryTree, line: str, why: str) -> None:
    layer = detect(tree)[0].layers[0]
    assert layer.lines == (line,)
    assert why in layer.why[0]
    assert any(reason.startswith("other packages with binaries: ") for reason in layer.why)


def test_a_workspace_in_a_folder_says_so() -> None:
    tree = MemoryTree({f"backend/{path}": text for path, text in FILES.items()})
    found = detect(tree)[0]
    assert (found.directory, found.layers[0].lines) == ("backend", ('cargo = { dir = "backend", bin = "app" }',))


def test_two_workspaces_are_two_detections() -> None:
    lone = {"tools/x/Cargo.toml": '[package]\nname = "x"\n[workspace]\n', "tools/x/src/main.rs": ""}
    assert [found.name for found in detect(shop().edited(lone))] == ["app", "x"]


def test_files_read_outside_the_crates_become_inputs_with_the_place_that_names_them() -> None:
    edit = {
        "crates/app/src/main.rs": 'const A: &str = include_str!("../../../migrations/1.sql");\n\nfn main() {}\n',
        "crates/app/build.rs": 'fn main() { tonic("../../proto"); other("../../no/such/file"); near("../core/src/lib.rs"); }\n',
        "proto/a.proto": "",
    }
    layer = detect(shop().edited(edit))[0].layers[0]
    assert layer.lines == ('inputs = ["migrations/1.sql", "proto/**"]', 'cargo = { bin = "app" }')
    assert "crates/app/src/main.rs:1 names migrations/1.sql, which lies outside its crate" in layer.why


def test_libraries_fixtures_and_broken_manifests_are_passed_over() -> None:
    files = {
        "lib/Cargo.toml": '[package]\nname = "lib"\n',
        "lib/src/lib.rs": "",
        "tests/fixtures/x/Cargo.toml": '[package]\nname = "x"\n',
        "tests/fixtures/x/src/main.rs": "",
        "broken/Cargo.toml": "[package\n",
    }
    assert detect(MemoryTree(files)) == ()


def test_a_missing_lock_is_said() -> None:
    assert any(
        "Cargo.lock is missing" in reason for reason in detect(shop().edited({"Cargo.lock": None}))[0].layers[0].why
    )
