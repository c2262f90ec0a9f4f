"""Reading, cutting and writing Cargo.lock; findings of a stale one."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

import pytest

from lamella.errors import ConfigError
from lamella.stacks.cargo.lockfile import parse_lockfile, render_lockfile
from lamella.stacks.cargo.matching import check_lock, locked_dependency
from lamella.stacks.cargo.workspace import load_workspace
from tests.unit.stacks.cargo.harness import Layer, lower
from tests.unit.stacks.cargo.shop import APP, CORE, HEAD, entry, lock_of, shop


def test_a_lock_as_cargo_writes_it_comes_back_byte_by_byte() -> None:
    data = lock_of().encode()
    lock = parse_lockfile(data, "Cargo.lock")
    assert render_lockfile(lock.packages, lock.version) == data


def test_another_spelling_means_the_same() -> None:
    text = lock_of().replace("version = 4\n\n", "version = 4\n[metadata_of_some_tool]\nx = 1\n\n")
    assert parse_lockfile(text.encode(), "Cargo.lock") == parse_lockfile(lock_of().encode(), "Cargo.lock")


def test_unused_patches_are_no_packages() -> None:
    text = lock_of() + '\n[[patch.unused]]\nname = "ghost"\nversion = "1.0.0"\n'
    assert parse_lockfile(text.encode(), "Cargo.lock") == parse_lockfile(lock_of().encode(), "Cargo.lock")


def test_names_are_resolved_as_short_as_they_are_unambiguous() -> None:
    entries = [entry("a", "1.0.0", "b 1.0.0", "b 2.0.0", own=True), entry("b", "1.0.0"), entry("b", "2.0.0")]
    lock = parse_lockfile((HEAD + "\n".join(entries)).encode(), "Cargo.lock")
    assert [found.version for found in lock.dependencies(lock.own("a")[0])] == ["1.0.0", "2.0.0"]


def test_reachable_keeps_the_order_of_the_file_and_leaves_out_the_rest() -> None:
    lock = parse_lockfile(lock_of().encode(), "Cargo.lock")
    assert [found.name for found in lock.reachable(lock.own("macros"))] == ["itoa", "macros", "syn", "unicode-ident"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 5\n", "newer than 4"),
        ("[root]\nname = 'a'\n", "format 1"),
        ("[[package]]\nname = 1 =\n", "not TOML"),
        ("[[package]]\nversion = '1'\n", "malformed"),
        (HEAD + entry("a", "1.0.0", "ghost", own=True), "names 0 packages"),
    ],
)
def test_a_lock_that_cannot_be_used_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _reach_all(text)
    assert "sub/Cargo.lock" in str(caught.value)
    assert caught.value.hint


def _reach_all(text: str) -> None:
    lock = parse_lockfile(text.encode(), "sub/Cargo.lock")
    lock.reachable(lock.packages)


def test_a_missing_lock_names_the_command_that_writes_it() -> None:
    with pytest.raises(ConfigError, match=r"there is no Cargo\.lock") as caught:
        lower(shop().edited({"Cargo.lock": None}), Layer())
    assert "cargo generate-lockfile" in caught.value.hint


STALE = [
    ("a requirement that no entry satisfies", {"crates/app/Cargo.toml": APP.replace('itoa = "1"', 'itoa = "2"')}, "itoa 2", 17),
    ("a dependency without an entry", {"crates/app/Cargo.toml": APP.replace('itoa = "1"', 'itoa = "1"\nrand = "0.9"')}, "rand 0.9", 18),
    ("an entry without a dependency", {"crates/core/Cargo.toml": CORE.replace("serde.workspace = true\n", "").replace('json = ["serde/rc"]', "json = []")}, "no longer does", 1),
    ("a member's version", {"crates/core/Cargo.toml": CORE.replace("version.workspace = true", 'version = "0.9.0"')}, "has version 0.3.0", 3),
    ("a member that the lock does not know", {"Cargo.lock": lock_of({"macros": None, "app": entry("app", "0.3.0", own=True)})}, "does not know", 2),
    ("a dev dependency of a member", {"crates/core/Cargo.toml": CORE + '\n[dev-dependencies]\nproptest = "1"\n'}, "proptest 1", 20),
    ("an optional dependency of a member", {"crates/core/Cargo.toml": CORE + '\n[target."cfg(windows)".dependencies]\nodbc = { version = "1", optional = true }\n'}, "odbc 1", 20),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "says", "line"), [row[1:] for row in STALE], ids=[row[0] for row in STALE])
def test_a_stale_lock_is_an_error_with_its_place_and_its_repair(
    edit: dict[str, str | None], says: str, line: int
) -> None:
    with pytest.raises(ConfigError) as caught:
        lower(shop().edited(edit), Layer())
    assert all("the lock is stale" in found.message for found in caught.value.problems)
    problem = next(found for found in caught.value.problems if says in found.message)
    assert (caught.value.exit_code, problem.line) == (2, line)
    assert problem.hint == "run: cargo update --workspace --manifest-path Cargo.toml"


def test_all_findings_come_in_one_run() -> None:
    edit = {"crates/app/Cargo.toml": APP.replace('itoa = "1"', 'itoa = "2"\nrand = "1"'), "crates/core/Cargo.toml": CORE.replace("version.workspace = true", 'version = "1.0.0"')}  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        lower(shop().edited(edit), Layer())
    # the application's edge to the library is stale as well: the lock knows no shop-core of that version
    assert len(caught.value.problems) >= 3


def test_an_unrelated_member_may_be_stale() -> None:
    edit = {"crates/other/Cargo.toml": '[package]\nname = "other"\nversion = "9.0.0"\n'}
    assert lower(shop().edited(edit), Layer()).deps


def test_of_two_versions_the_one_that_fits_is_taken() -> None:
    lock = lock_of(
        {
            "itoa": entry("itoa", "1.0.1") + "\n" + entry("itoa", "0.4.8"),
            "app": entry(
                "app", "0.3.0", "cc", "ext", "itoa 0.4.8", "itoa 1.0.1", "macros", "serde_json", "shop-core", "tempfile",
                "uses-patched", "winapi", own=True,
            ),
            "ext": entry("ext", "2.0.0", "itoa 1.0.1", own=True),
            "macros": entry("macros", "0.3.0", "itoa 1.0.1", "syn", own=True),
            "patched": entry("patched", "1.4.0", "itoa 1.0.1", own=True),
            "serde_json": entry("serde_json", "1.0.9", "itoa 1.0.1", "serde"),
        }
    )  # fmt: skip
    manifest = APP.replace('itoa = "1"', 'itoa = "1"\nold-itoa = { package = "itoa", version = "0.4" }')
    workspace = load_workspace(shop().edited({"Cargo.lock": lock, "crates/app/Cargo.toml": manifest}), "")
    package = workspace.package("crates/app")
    check_lock(workspace, (package,))
    versions = {
        dependency.key: found.version
        for dependency in package.dependencies
        if dependency.package == "itoa" and (found := locked_dependency(workspace.lock, package, dependency))
    }
    assert versions == {"itoa": "1.0.1", "old-itoa": "0.4.8"}
