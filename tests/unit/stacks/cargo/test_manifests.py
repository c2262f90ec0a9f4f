"""Reading manifests: inheritance, targets, errors with their place; writing them again."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

import tomllib
from datetime import date

import pytest

from lamella.errors import ConfigError
from lamella.stacks.cargo.document import inherited, parse_document
from lamella.stacks.cargo.package import Binary, read_package
from lamella.stacks.cargo.tomltext import toml_text
from lamella.stacks.cargo.workspace import load_workspace
from lamella.testing.tree import MemoryTree
from tests.unit.stacks.cargo.shop import shop

ROOT = parse_document(
    b"""\
[workspace.package]
version = "1.0.0"
readme = "docs/README.md"
authors = ["a"]
[workspace.dependencies]
plain = "1"
lib = { path = "libs/lib", version = "1", features = ["x"], default-features = false }
[workspace.lints.rust]
unsafe_code = "forbid"
""",
    "Cargo.toml",
)


def resolved(text: str) -> dict[str, object]:
    return inherited(parse_document(text.encode(), "crates/a/Cargo.toml"), ROOT)


def test_fields_of_the_package_come_from_the_workspace_with_paths_moved() -> None:
    raw = resolved(
        '[package]\nname = "a"\nversion.workspace = true\nreadme = { workspace = true }\nauthors.workspace = true\n'
    )
    assert raw["package"] == {"name": "a", "version": "1.0.0", "readme": "../../docs/README.md", "authors": ["a"]}


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("plain.workspace = true", {"version": "1"}),
        ("plain = { workspace = true, optional = true }", {"version": "1", "optional": True}),
        (
            "lib.workspace = true",
            {"path": "../../libs/lib", "version": "1", "features": ["x"], "default-features": False},
        ),
        (
            'lib = { workspace = true, features = ["y", "x"], default-features = true }',
            {"path": "../../libs/lib", "version": "1", "features": ["x", "y"], "default-features": True},
        ),
        (
            "lib = { workspace = true, default-features = false, public = true }",
            {"path": "../../libs/lib", "version": "1", "features": ["x"], "default-features": False, "public": True},
        ),
    ],
)
@pytest.mark.parametrize(
    "table",
    ["dependencies", "dev-dependencies", "build-dependencies", "build_dependencies", "target.'cfg(unix)'.dependencies"],
)
def test_dependencies_come_from_the_workspace(written: str, found: dict[str, object], table: str) -> None:
    raw = resolved(f"[{table}]\n{written}\n")
    for key in table.split(".") if "target" not in table else ("target", "cfg(unix)", "dependencies"):
        raw = raw[key]  # type: ignore[assignment]
    assert list(raw.values()) == [found]


def test_lints_come_from_the_workspace() -> None:
    assert resolved("[lints]\nworkspace = true\n")["lints"] == {"rust": {"unsafe_code": "forbid"}}


BROKEN = [
    (
        '[package]\nname = "a"\nedition.workspace = true\n',
        "edition inherits workspace.package.edition, which Cargo.toml",
        3,
    ),
    ("[dependencies]\nghost.workspace = true\n", "inherits workspace.dependencies.ghost", 2),
    ('[package]\nname = "a"\n[features]\nx = "y"\n', "feature x must be an array", 4),
    ('[package]\nname = "a"\n[dependencies]\nb = 1\n', "dependency b must be a version or a table", 4),
    ('[package]\nname = "a"\n[dependencies]\nb = { features = 1 }\n', "dependency b has a value of a wrong type", 4),
    ('[package]\nname = "a"\nversion = 1\n', "package.version must be a string", 3),
    ('[package]\nversion = "1.0.0"\n', "the package has no name", 1),
    ('package = "a"\n', "package must be a table", 1),
    ('[package]\nname = "a"\nname = "b"\n', "name is set twice", 3),
    ('[package\nname = "a"\n', "not TOML", 1),
]


@pytest.mark.parametrize(("text", "message", "line"), BROKEN, ids=[row[1] for row in BROKEN])
def test_what_is_wrong_is_said_with_its_place(text: str, message: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(text)
    problem = caught.value.problems[0]
    assert (problem.file, problem.line) == ("crates/a/Cargo.toml", line)
    assert message in problem.message


def _read(text: str) -> None:
    document = parse_document(text.encode(), "crates/a/Cargo.toml")
    read_package(document, inherited(document, ROOT), ())


def test_a_package_outside_any_workspace_cannot_inherit() -> None:
    tree = MemoryTree({"Cargo.toml": '[package]\nname = "a"\nversion.workspace = true\n'})
    with pytest.raises(ConfigError, match="no workspace holds this package") as caught:
        load_workspace(tree, "").package("")
    assert "lamella.toml" in caught.value.hint


@pytest.mark.parametrize(
    ("manifest", "files", "found"),
    [
        ("", ("src/main.rs",), [Binary("a", "src/main.rs")]),
        ("", ("src/main.rs", "src/bin/b.rs", "src/bin/c/main.rs"), [Binary("a", "src/main.rs"), Binary("b", "src/bin/b.rs"), Binary("c", "src/bin/c/main.rs")]),
        ("autobins = false\n", ("src/main.rs", "src/bin/b.rs"), []),
        ('[[bin]]\nname = "z"\npath = "src/main.rs"\n', ("src/main.rs",), [Binary("z", "src/main.rs")]),
        ('[[bin]]\nname = "a"\n', ("src/main.rs",), [Binary("a", "src/main.rs")]),
        ('[[bin]]\nname = "b"\n', ("src/bin/b/main.rs",), [Binary("b", "src/bin/b/main.rs")]),
        ('[[bin]]\nname = "b"\npath = "cli/b.rs"\n', ("src/lib.rs",), [Binary("b", "cli/b.rs")]),
    ],
)  # fmt: skip
def test_binaries_are_found_as_cargo_finds_them(manifest: str, files: tuple[str, ...], found: list[Binary]) -> None:
    document = parse_document(f'[package]\nname = "a"\n{manifest}'.encode(), "Cargo.toml")
    assert list(read_package(document, document.raw, files).binaries) == found


@pytest.mark.parametrize(
    ("build", "files", "has"),
    [
        ("", ("build.rs",), True),
        ("", (), False),
        ("build = false\n", ("build.rs",), False),
        ('build = "b.rs"\n', (), True),
    ],
)
def test_build_scripts_are_found_as_cargo_finds_them(build: str, files: tuple[str, ...], has: bool) -> None:
    document = parse_document(f'[package]\nname = "a"\n{build}'.encode(), "Cargo.toml")
    assert read_package(document, document.raw, files).build_script is has


def test_members_are_globs_paths_and_path_dependencies_below_the_root() -> None:
    workspace = load_workspace(shop(), "crates/core")
    assert workspace.directory == ""
    assert workspace.members == ("crates/app", "crates/core", "crates/macros", "crates/other")
    assert not workspace.is_member("shared/ext")


def test_a_glob_takes_directories_of_its_own_depth_only() -> None:
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["a/*", "b/*/*"]\nexclude = ["a/skip"]\n',
        **{
            f"{path}/Cargo.toml": '[package]\nname = "x"\n'
            for path in ("a/one", "a/one/deep", "a/skip", "b/one", "b/one/two")
        },
    }
    assert load_workspace(MemoryTree(files), "").members == ("a/one", "b/one/two")


def test_what_members_spells_out_wins_over_exclude() -> None:
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["a/in"]\nexclude = ["a"]\n',
        "a/in/Cargo.toml": '[package]\nname = "x"\n',
        "a/out/Cargo.toml": '[package]\nname = "y"\n',
    }
    workspace = load_workspace(MemoryTree(files), "a/in")
    assert (workspace.directory, workspace.members) == ("", ("a/in",))
    assert load_workspace(MemoryTree(files), "a/out").directory == "a/out"


@pytest.mark.parametrize(
    ("text", "resolver"),
    [
        ("[workspace]\n", 1),
        ('[workspace]\nresolver = "2"\n', 2),
        ('[package]\nname = "a"\nresolver = "3"\n', 3),
        ('[package]\nname = "a"\n', 1),
        ('[package]\nname = "a"\nedition = "2018"\n', 1),
        ('[package]\nname = "a"\nedition = "2021"\n', 2),
        ('[package]\nname = "a"\nedition = "2024"\n', 3),
        ('[workspace]\n[package]\nname = "a"\nedition = "2021"\n', 2),
    ],
)
def test_the_resolver_follows_what_is_written_then_the_edition(text: str, resolver: int) -> None:
    assert load_workspace(MemoryTree({"Cargo.toml": text}), "").resolver == resolver


def test_a_member_that_is_not_there_is_named() -> None:
    tree = MemoryTree({"Cargo.toml": '[workspace]\nmembers = ["gone"]\n'})
    with pytest.raises(ConfigError, match=r"member 'gone' has no Cargo\.toml"):
        _ = load_workspace(tree, "").members


@pytest.mark.parametrize(
    ("path", "says"), [("../gone", "not be checked out"), ("../../../far", "folder that holds all path")]
)
def test_a_path_dependency_that_is_not_there_is_named_with_its_place(path: str, says: str) -> None:
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["crates/a"]\n',
        "crates/a/Cargo.toml": f'[package]\nname = "a"\n\n[dependencies]\ngone = {{ path = "{path}" }}\n',
    }
    with pytest.raises(ConfigError, match="path dependency gone") as caught:
        load_workspace(MemoryTree(files), "").closure("crates/a")
    assert (caught.value.problems[0].line, says in caught.value.hint) == (5, True)


def test_what_is_written_reads_back_the_same() -> None:
    document = {
        "text": 'tab\t "quoted" \\ bell\x07 del\x7f ä',
        "numbers": [1, -2, 3.5, float("inf"), True],
        "day": date(2020, 2, 29),
        "tables": [{"a": 1, "b c": {"d": []}}, {}],
        "nested": {"cfg(unix)": {"x": {"y": 1}, "empty": {}}, "k": "v"},
    }
    assert tomllib.loads(toml_text(document)) == document


def test_equal_documents_have_one_spelling() -> None:
    assert toml_text({"b": {"d": 1, "c": 2}, "a": 1}) == toml_text({"a": 1, "b": {"c": 2, "d": 1}})
