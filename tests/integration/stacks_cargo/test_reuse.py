"""Third-party crates are compiled once: what the dependency step compiled is fresh in the final step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamella.canonical import FrozenMap
from lamella.project.spec import CargoSpec
from tests.integration.stacks_cargo.conftest import MakeBench
from tests.integration.stacks_cargo.trees import MANY_SIDED, TINY

SETTINGS = {
    "dev": CargoSpec(),
    "release with thin LTO and abort": CargoSpec(profile="release"),
    "a custom profile with fat LTO": CargoSpec(profile="fat"),
    "a feature": CargoSpec(features=("extra",)),
    "without default features": CargoSpec(default_features=False),
    "a target": CargoSpec(target="x86_64-unknown-linux-gnu"),
    "flags": CargoSpec(flags=("--cfg", "special", "-Copt-level=1")),
}


@pytest.mark.parametrize("spec", SETTINGS.values(), ids=SETTINGS)
def test_the_final_step_compiles_no_third_party_crate(make_bench: MakeBench, spec: CargoSpec) -> None:
    bench = make_bench(MANY_SIDED, replace(spec, package="app"))
    deps, app = bench.deps(), bench.app()
    assert deps.observation.evidence.numbers["compiled_third_party"] > 10
    assert app.again() == []
    assert (app.observation.integrity, app.observation.warnings) == ((), ())
    assert app.output() == "[1] 5 7 0.3.0 4\n"


@pytest.mark.parametrize("resolver", ["1", "3"])
def test_other_feature_resolvers_get_the_same_reuse(make_bench: MakeBench, resolver: str) -> None:
    root = MANY_SIDED["Cargo.toml"].replace('resolver = "2"', f'resolver = "{resolver}"')
    bench = make_bench({**MANY_SIDED, "Cargo.toml": root}, CargoSpec(package="app"))
    bench.deps()
    app = bench.app()
    assert (app.again(), app.observation.warnings) == ([], ())


_LINKED = '\n[lib]\ncrate-type = ["cdylib", "rlib"]\n\n[dependencies]\nmemchr = "2"\n'


def test_libraries_that_are_linked_by_themselves_under_link_time_optimisation(make_bench: MakeBench) -> None:
    """Their dependencies must hold object code besides bitcode, so Cargo compiles them otherwise than for a binary."""
    files = {
        **TINY,
        "Cargo.toml": f"{TINY['Cargo.toml']}\n[profile.release]\nlto = true\n",
        "lib/Cargo.toml": TINY["lib/Cargo.toml"] + _LINKED,
        "lib/src/lib.rs": "pub fn number() -> u32 { memchr::memchr(1, &[0, 1]).unwrap() as u32 }\n",
    }
    bench = make_bench(files, CargoSpec(profile="release"))
    bench.deps()
    app = bench.app()
    assert (app.again(), app.output()) == ([], "1 0.1.0\n")


def test_a_vendored_registry_is_an_input_and_needs_no_network(make_bench: MakeBench) -> None:
    bench = make_bench(TINY)
    bench.vendor()
    bench.downloads = bench.folder / "empty-home"
    built = bench.build()
    assert (built.again(), built.output()) == ([], "1 0.1.0\n")
    assert not (bench.home / "registry").exists()
    before = bench.lowered()
    bench.write("vendor/itoa/README.md", "edited by hand")
    after = bench.lowered()
    assert before.key(before.deps) != after.key(after.deps)
    assert before.op(before.app).mounts != after.op(after.app).mounts, "the target directory must be another one"


def test_after_a_release_and_a_new_internal_crate_nothing_third_party_is_compiled(make_bench: MakeBench) -> None:
    bench = make_bench(MANY_SIDED, CargoSpec(package="app"))
    bench.build()
    before = bench.lowered()
    bench.write("Cargo.toml", MANY_SIDED["Cargo.toml"].replace("0.3.0", "0.4.0"))
    bench.write("crates/fresh/Cargo.toml", '[package]\nname = "fresh"\nversion = "1.0.0"\n[dependencies]\nitoa = "1"\n')
    bench.write("crates/fresh/src/lib.rs", "pub fn f() -> u8 { 9 }\n")
    manifest = MANY_SIDED["crates/app/Cargo.toml"]
    bench.write(
        "crates/app/Cargo.toml", manifest.replace("[dependencies]\n", '[dependencies]\nfresh = { path = "../fresh" }\n')
    )
    main = MANY_SIDED["crates/app/src/main.rs"]
    bench.write("crates/app/src/main.rs", main.replace("made()", "made() + fresh::f()"))
    bench.lock()
    after = bench.lowered()
    assert before.key(before.deps) == after.key(after.deps)
    app = bench.app()
    assert (app.again(), app.observation.integrity) == ([], ())
    assert app.output() == "[1] 14 7 0.4.0 4\n"


def test_a_cleared_target_directory_is_reported_and_gives_the_same_binary(make_bench: MakeBench) -> None:
    bench = make_bench(TINY)
    first = bench.build()
    bench.folder.joinpath("states").rename(bench.folder / "gone")
    second = bench.app()
    assert second.observation.integrity == ()
    assert "held no third-party package: 1 were compiled again" in second.observation.warnings[0]
    assert second.product.read_bytes() == first.product.read_bytes()


def test_an_edit_and_its_revert_give_the_first_binary_again(make_bench: MakeBench) -> None:
    """Incremental compilation is left on in the dev profile: it must not show in the bytes."""
    bench = make_bench(TINY)
    first = bench.build()
    bench.write("lib/src/lib.rs", "pub fn number() -> u32 { 2 }\npub fn more() -> u32 { number() + 1 }\n")
    assert bench.app().output() == "2 0.1.0\n"
    bench.write("lib/src/lib.rs", TINY["lib/src/lib.rs"])
    assert bench.app().product.read_bytes() == first.product.read_bytes()


def test_flags_of_the_layer_are_added_to_those_of_the_projects_configuration(make_bench: MakeBench) -> None:
    shown = 'println!("{} {}", cfg!(from_file), cfg!(from_layer));'
    main = f"fn main() {{ {shown} let _ = (itoa::Buffer::new(), lib::number()); }}\n"
    for table in ("[build]", '[target."cfg(unix)"]'):
        config = f'{table}\nrustflags = ["--cfg", "from_file"]\n'
        files = {**TINY, ".cargo/config.toml": config, "app/src/main.rs": f"#![allow(unexpected_cfgs)]\n{main}"}
        bench = make_bench(files, CargoSpec(flags=("--cfg", "from_layer")))
        built = bench.build()
        assert built.output() == "true true\n"
        assert built.again() == []


def test_a_workspace_below_the_projects_root_is_started_in_its_folder(make_bench: MakeBench) -> None:
    files = {f"backend/{path}": text for path, text in TINY.items()}
    files[".cargo/config.toml"] = '[env]\nGREETING = "hello"\n'
    files["backend/app/src/main.rs"] = (
        'fn main() { println!("{}", env!("GREETING")); let _ = (itoa::Buffer::new(), lib::number()); }\n'
    )
    bench = make_bench(files, CargoSpec(dir="backend"), root="backend")
    assert bench.build().output() == "hello\n"


def test_a_workspace_whose_member_is_named_as_folder(make_bench: MakeBench) -> None:
    config = '[env]\nGREETING = "near"\n'
    main = 'fn main() { println!("{}", env!("GREETING")); let _ = (itoa::Buffer::new(), lib::number()); }\n'
    bench = make_bench(
        {**TINY, "app/.cargo/config.toml": config, "app/src/main.rs": main}, CargoSpec(dir="app"), root=""
    )
    built = bench.build()
    assert (built.output(), built.again()) == ("near\n", [])


def test_environment_of_the_layer_reaches_build_scripts_of_both_steps(make_bench: MakeBench) -> None:
    files = {
        **TINY,
        "app/src/main.rs": 'fn main() { println!("{}", env!("WHO")); let _ = (itoa::Buffer::new(), lib::number()); }\n',
    }
    bench = make_bench(files, env=FrozenMap({"WHO": "us"}))
    assert bench.build().output() == "us\n"
