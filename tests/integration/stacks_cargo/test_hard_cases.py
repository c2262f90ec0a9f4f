"""Shapes of projects that are easy to get wrong, with the real Cargo."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

import subprocess

import pytest

from lamella.errors import ConfigError
from lamella.project.spec import CargoSpec
from tests.integration.stacks_cargo.bench import CargoBench, StepFailedError
from tests.integration.stacks_cargo.conftest import MakeBench
from tests.integration.stacks_cargo.trees import MANY_SIDED, TINY


def test_a_path_dependency_in_a_submodule_inherits_from_the_outer_workspace(make_bench: MakeBench) -> None:
    files = {
        **TINY,
        "Cargo.toml": TINY["Cargo.toml"] + '\n[workspace.package]\nversion = "7.0.0"\nedition = "2021"\n',
        "app/Cargo.toml": TINY["app/Cargo.toml"].replace("../lib", "../third/sub/lib"),
        "third/sub/lib/Cargo.toml": '[package]\nname = "lib"\nversion.workspace = true\nedition.workspace = true\n',
        "third/sub/lib/src/lib.rs": 'pub fn number() -> u32 { env!("CARGO_PKG_VERSION_MAJOR").parse().unwrap() }\n',
    }
    files["Cargo.toml"] = files["Cargo.toml"].replace('"app", "lib"', '"app"')
    del files["lib/Cargo.toml"], files["lib/src/lib.rs"]
    assert make_bench(files).build().output() == "7 0.1.0\n"


def test_an_excluded_crate_with_a_workspace_of_its_own_is_a_path_dependency(make_bench: MakeBench) -> None:
    files = {
        **TINY,
        "Cargo.toml": '[workspace]\nmembers = ["app"]\nexclude = ["lib"]\nresolver = "2"\n',
        "lib/Cargo.toml": TINY["lib/Cargo.toml"] + '\n[workspace]\n\n[dev-dependencies]\nnot-locked-by-anyone = "1"\n',
    }
    assert make_bench(files).build().output() == "1 0.1.0\n"


def test_a_build_script_that_reads_another_crates_folder(make_bench: MakeBench) -> None:
    files = {
        **TINY,
        "Cargo.toml": TINY["Cargo.toml"].replace('"lib"]', '"lib", "proto"]'),
        "proto/Cargo.toml": '[package]\nname = "proto"\nversion = "0.1.0"\nedition = "2021"\n',
        "proto/src/lib.rs": "\n",
        "proto/schema/a.txt": "schema",
        "app/build.rs": (
            'fn main() { println!("cargo:rustc-env=S={}", std::fs::read_to_string("../proto/schema/a.txt").unwrap()); }\n'
        ),
        "app/src/main.rs": 'fn main() { println!("{}", env!("S")); let _ = (itoa::Buffer::new(), lib::number()); }\n',
    }
    with pytest.raises(StepFailedError, match="No such file or directory"):
        make_bench(files).build()
    declared = make_bench(files, inputs=("proto/schema/**",))
    assert declared.build().output() == "schema\n"
    declared.write("proto/schema/a.txt", "other")
    assert declared.app().output() == "other\n"


def test_a_readme_behind_a_link_is_included(make_bench: MakeBench) -> None:
    files = {
        **TINY,
        "README.md": "Words",
        "app/src/main.rs": (
            'fn main() { println!("{}", include_str!("../README.md")); let _ = (itoa::Buffer::new(), lib::number()); }\n'
        ),
    }
    bench = make_bench(files)
    bench.links["app/README.md"] = "../README.md"
    assert bench.build().output() == "Words\n"


def test_a_lone_package_with_libraries_beside_its_manifest(make_bench: MakeBench) -> None:
    """A root package holds the whole project; members below it that are not used stay outside."""
    files = {
        "Cargo.toml": (
            '[workspace]\nmembers = ["libs/*"]\n\n[package]\nname = "tool"\nversion = "1.2.3"\nedition = "2021"\n\n'
            '[dependencies]\nitoa = "1"\nused = { path = "libs/used" }\n'
        ),
        "src/main.rs": 'fn main() { println!("{} {}", used::f(), itoa::Buffer::new().format(1)); }\n',
        "libs/used/Cargo.toml": '[package]\nname = "used"\nversion = "0.1.0"\nedition = "2021"\n',
        "libs/used/src/lib.rs": "pub fn f() -> u8 { 3 }\n",
        "libs/unused/Cargo.toml": '[package]\nname = "unused"\nversion = "0.1.0"\n\n[dependencies]\nmemchr = "2"\n',
        "libs/unused/src/lib.rs": "this does not compile\n",
    }
    bench = make_bench(files)
    outcome = bench.lowered()
    assert not any(path.startswith("libs/unused") for path in outcome.staged(outcome.app))
    assert bench.build().output() == "3 1\n"


def test_a_git_dependency_keeps_its_locked_commit(make_bench: MakeBench) -> None:
    """A repository on the host's disk cannot be seen by a step, so here only the lock and the skeleton are looked at."""
    git = "https://example.invalid/repo"
    commit = "0123456789012345678901234567890123456789"
    lock = (
        'version = 4\n\n[[package]]\nname = "app"\nversion = "0.1.0"\ndependencies = [\n "dep",\n]\n\n'
        f'[[package]]\nname = "dep"\nversion = "0.5.0"\nsource = "git+{git}?branch=main#{commit}"\n'
    )
    manifest = (
        f'[package]\nname = "app"\nversion = "0.1.0"\n\n[dependencies]\ndep = {{ git = "{git}", branch = "main" }}\n'
    )
    outcome = make_bench({"Cargo.toml": manifest, "Cargo.lock": lock, "src/main.rs": "fn main() {}\n"}).lowered()
    staged = outcome.staged(outcome.deps)
    assert commit in staged["Cargo.lock"].decode()
    assert f'git = "{git}"' in staged["Cargo.toml"].decode()


EDITS = {
    "nothing": {},
    "a comment": {"crates/app/Cargo.toml": MANY_SIDED["crates/app/Cargo.toml"] + "# end\n"},
    "a requirement that the lock satisfies": {
        "crates/mac/Cargo.toml": MANY_SIDED["crates/mac/Cargo.toml"].replace('quote = "1"', 'quote = ">=1, <2"')
    },
    "a requirement that it does not": {
        "crates/mac/Cargo.toml": MANY_SIDED["crates/mac/Cargo.toml"].replace('quote = "1"', 'quote = "0.6"')
    },
    "a new dependency": {"crates/app/Cargo.toml": MANY_SIDED["crates/app/Cargo.toml"].replace('anyhow = "1"', 'anyhow = "1"\ncfg-if = "1"')},
    "a dependency less": {"crates/app/Cargo.toml": MANY_SIDED["crates/app/Cargo.toml"].replace('anyhow = "1"\n', "")},
    "a new version": {"Cargo.toml": MANY_SIDED["Cargo.toml"].replace("0.3.0", "0.3.1")},
    "a new dev dependency": {"crates/mac/Cargo.toml": MANY_SIDED["crates/mac/Cargo.toml"] + '\n[dev-dependencies]\ncfg-if = "1"\n'},
    "a feature that changes no edge": {"crates/lib-a/Cargo.toml": MANY_SIDED["crates/lib-a/Cargo.toml"].replace("json = [", "none = []\njson = [")},
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_we_call_a_lock_stale_when_cargo_does(make_bench: MakeBench, edit: dict[str, str]) -> None:
    bench = make_bench(MANY_SIDED, CargoSpec(package="app"))
    for path, text in edit.items():
        bench.write(path, text)
    if _cargo_accepts(bench):
        assert bench.lowered().app
    else:
        with pytest.raises(ConfigError) as caught:
            bench.lowered()
        assert all("the lock is stale" in problem.message for problem in caught.value.problems)


def _cargo_accepts(bench: CargoBench) -> bool:
    """Whether ``cargo metadata --locked`` takes the project as it is."""
    work = bench.folder / "oracle"
    for path, data in bench.files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(data.encode() if isinstance(data, str) else data)
    run = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(work / "Cargo.toml")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "--locked" in done.stderr, done.stderr
    return done.returncode == 0
