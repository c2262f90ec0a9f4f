"""Scenario x Modification x Expectation: which of the two steps an edit runs again.

Every row starts from the same workspace and layer, changes one thing and says whose resolved key must differ.
"""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from lamella.canonical import FrozenMap
from lamella.project.lock import Lock, ToolPin
from lamella.project.spec import CargoSpec
from tests.unit.stacks.cargo.harness import Layer, Outcome, lower
from tests.unit.stacks.cargo.shop import APP, CORE, EXT, FILES, MACROS, OTHER, PATCHED, ROOT, entry, lock_of, shop

SPEC = CargoSpec(package="app", bin="app")
LAYER = Layer(SPEC, inputs=("migrations/**",))

NOTHING: tuple[str, ...] = ()
APP_ONLY = ("app",)
BOTH = ("deps", "app")

Edit = Mapping[str, str | None]

NEW_CRATE = '[package]\nname = "fresh"\nversion = "0.3.0"\nedition = "2021"\n\n[dependencies]\nitoa = "1"\n'


def bumped(version: str) -> dict[str, str | None]:
    """The files after a release that raises every member's version."""
    own = {name: lock_of().split(f'name = "{name}"')[1] for name in ("app", "macros", "other", "shop-core")}
    lock = lock_of()
    for name in own:
        lock = lock.replace(f'name = "{name}"\nversion = "0.3.0"', f'name = "{name}"\nversion = "{version}"')
    return {"Cargo.toml": ROOT.replace("0.3.0", version), "Cargo.lock": lock}


def swap(text: str, old: str, new: str) -> str:
    """``text`` with ``old`` replaced; a row whose text is not there would prove nothing."""
    assert old in text, f"{old!r} is not in the text"
    return text.replace(old, new)


def relocked(**changes: str | None) -> str:
    return lock_of({name.replace("_", "-"): text for name, text in changes.items()})


APP_DEPS = ("cc", "ext", "itoa", "macros", "serde_json", "shop-core", "tempfile", "uses-patched", "winapi")


def app_entry(*more: str, without: tuple[str, ...] = ()) -> str:
    names = sorted({*APP_DEPS, *more} - set(without))
    return entry("app", "0.3.0", *names, own=True)


TREE_ROWS: list[tuple[str, Edit, tuple[str, ...]]] = [
    # ---- what cannot matter
    ("a comment in a member's manifest", {"crates/app/Cargo.toml": f"# note\n{APP}"}, NOTHING),
    ("a comment in the root manifest", {"Cargo.toml": f"{ROOT}# end\n"}, NOTHING),
    ("key order of a dependency", {"crates/app/Cargo.toml": swap(APP, '{ workspace = true, features = ["std"] }', '{ features = ["std"], workspace = true }')}, NOTHING),
    ("order of tables", {"crates/core/Cargo.toml": swap(CORE, "[lints]\nworkspace = true\n", "").replace("[dependencies]", "[lints]\nworkspace = true\n\n[dependencies]")}, NOTHING),
    ("inline instead of dotted inheritance", {"crates/core/Cargo.toml": swap(CORE, "serde.workspace = true", "serde = { workspace = true }")}, NOTHING),
    ("inherited version written out", {"crates/core/Cargo.toml": swap(CORE, "version.workspace = true", 'version = "0.3.0"')}, NOTHING),
    ("line endings of the lock", {"Cargo.lock": lock_of().replace("\n", "\r\n")}, NOTHING),
    ("the lock's head comment", {"Cargo.lock": lock_of().replace("# It is not", "# This is not")}, NOTHING),
    ("README outside the crates", {"README.md": "# Shop 2\n"}, NOTHING),
    ("a workflow file", {".github/workflows/ci.yml": "on: pull_request\n"}, NOTHING),
    ("the project file", {"lamella.toml": "[project]\nname = 1\n"}, NOTHING),
    ("a file nobody declared", {"docs/guide.md": "text\n"}, NOTHING),
    ("keywords of the package", {"Cargo.toml": swap(ROOT, 'keywords = ["shop"]', 'keywords = ["shop", "till"]')}, NOTHING),
    ("an unrelated member's source", {"crates/other/src/lib.rs": "fn x() {}\n"}, NOTHING),
    ("an unrelated member's dependency", {"crates/other/Cargo.toml": swap(OTHER, "0.4", "0.4.1")}, NOTHING),
    ("an unrelated member's third-party version", {"Cargo.lock": relocked(log=entry("log", "0.4.3"))}, NOTHING),
    ("an unrelated member's own version", {"crates/other/Cargo.toml": swap(OTHER, "version.workspace = true", 'version = "7.0.0"'), "Cargo.lock": relocked(other=entry("other", "7.0.0", "log", "serde", own=True))}, NOTHING),
    ("an unrelated member gone", {"crates/other/Cargo.toml": None, "crates/other/src/lib.rs": None, "Cargo.lock": relocked(other=None, log=None)}, NOTHING),
    ("a new member that nobody uses", {"crates/fresh/Cargo.toml": NEW_CRATE, "crates/fresh/src/lib.rs": "\n", "Cargo.lock": relocked(fresh=entry("fresh", "0.3.0", "itoa", own=True))}, NOTHING),
    ("an unused entry of workspace.dependencies", {"Cargo.toml": swap(ROOT, 'unused = "9"', 'unused = "10"')}, NOTHING),
    ("an exclude that concerns nobody", {"Cargo.toml": swap(ROOT, '"vendor", "shared"', '"vendor", "shared", "fuzz"')}, NOTHING),
    ("a profile that is not built", {"Cargo.toml": swap(ROOT, 'lto = "thin"', 'lto = "fat"')}, NOTHING),
    ("an integration test", {"crates/app/tests/end.rs": "#[test] fn u() {}\n"}, NOTHING),
    ("a benchmark", {"crates/app/benches/c.rs": "fn main() {}\n"}, NOTHING),
    ("a new example", {"crates/app/examples/show.rs": "fn main() {}\n"}, NOTHING),
    ("a dev dependency's version in the lock", {"Cargo.lock": relocked(tempfile=entry("tempfile", "3.2.0", "rustix"))}, NOTHING),
    ("what only a dev dependency needs", {"Cargo.lock": relocked(rustix=entry("rustix", "1.1.0"))}, NOTHING),
    ("a dev dependency more", {"crates/app/Cargo.toml": swap(APP, 'tempfile = "3"', 'tempfile = "3"\nrustix = "1"'), "Cargo.lock": relocked(app=app_entry("rustix"))}, NOTHING),
    ("a patch that the lock does not use", {"Cargo.toml": f'{ROOT}ghost = {{ path = "vendor/ghost" }}\n', "vendor/ghost/Cargo.toml": '[package]\nname = "ghost"\nversion = "1.0.0"\n'}, NOTHING),
    # ---- what only the own packages feel
    ("a source file", {"crates/app/src/main.rs": 'fn main() { println!("x"); }\n'}, APP_ONLY),
    ("a source file of a library below", {"crates/core/src/lib.rs": "pub fn f() {}\n"}, APP_ONLY),
    ("a source file more", {"crates/core/src/more.rs": "\n"}, APP_ONLY),
    ("a source file gone", {"crates/app/src/bin/tool.rs": None}, APP_ONLY),
    ("a procedural macro's source", {"crates/macros/src/lib.rs": "fn x() {}\n"}, APP_ONLY),
    ("an excluded path crate's source", {"shared/ext/src/lib.rs": "pub fn f() {}\n"}, APP_ONLY),
    ("a build script", {"crates/app/build.rs": "fn main() { let _ = 1; }\n"}, APP_ONLY),
    ("README inside a crate, which code may include", {"crates/app/README.md": "# Program\n"}, APP_ONLY),
    ("a test's data file, which code may include", {"crates/app/tests/data/a.txt": "b\n"}, APP_ONLY),
    ("a declared input", {"migrations/2.sql": "select 2;\n"}, APP_ONLY),
    ("every member's version", bumped("0.4.0"), APP_ONLY),
    ("a description, which code can read", {"Cargo.toml": swap(ROOT, "a shop", "the shop")}, APP_ONLY),
    ("lints of the workspace", {"Cargo.toml": swap(ROOT, '"forbid"', '"deny"')}, APP_ONLY),
    ("metadata of the workspace, which a build script can read", {"Cargo.toml": swap(ROOT, "sign = false", "sign = true")}, APP_ONLY),
    ("a profile for an own package", {"Cargo.toml": swap(ROOT, "opt-level = 1", "opt-level = 2")}, APP_ONLY),
    ("a looser requirement with the same lock", {"crates/app/Cargo.toml": swap(APP, 'itoa = "1"', 'itoa = ">=1, <3"')}, APP_ONLY),
    ("a feature of an own package that asks for nothing", {"crates/app/Cargo.toml": swap(APP, "color = []", "color = []\nmono = []")}, APP_ONLY),
    ("a dependency of another platform", {"crates/app/Cargo.toml": swap(APP, 'winapi = "0.3"', 'winapi = { version = "0.3", features = ["std"] }')}, APP_ONLY),
    ("another platform's version in the lock", {"Cargo.lock": relocked(winapi=entry("winapi", "0.3.10"))}, APP_ONLY),
    ("an optional dependency that is off, in the lock", {"Cargo.lock": relocked(regex=entry("regex", "1.9.1"))}, APP_ONLY),
    (
        "a new internal crate with no new third-party one",
        {
            "crates/fresh/Cargo.toml": NEW_CRATE,
            "crates/fresh/src/lib.rs": "\n",
            "crates/app/Cargo.toml": swap(APP, "[dependencies]\n", '[dependencies]\nfresh = { path = "../fresh" }\n'),
            "Cargo.lock": relocked(fresh=entry("fresh", "0.3.0", "itoa", own=True), app=app_entry("fresh")),
        },
        APP_ONLY,
    ),
    (
        "an internal crate renamed",
        {
            "crates/macros/Cargo.toml": swap(MACROS, 'name = "macros"', 'name = "makers"'),
            "crates/app/Cargo.toml": swap(APP, 'macros = { path = "../macros" }', 'makers = { path = "../macros" }'),
            "Cargo.lock": relocked(
                macros=None, makers=entry("makers", "0.3.0", "itoa", "syn", own=True), app=app_entry("makers", without=("macros",))
            ),
        },
        APP_ONLY,
    ),
    (
        "an internal crate moved",
        {
            "crates/macros/Cargo.toml": None,
            "crates/macros/src/lib.rs": None,
            "crates/deep/Cargo.toml": MACROS,
            "crates/deep/src/lib.rs": "\n",
            "crates/app/Cargo.toml": swap(APP, "../macros", "../deep"),
        },
        APP_ONLY,
    ),
    (
        "a dependency that moves to another own package",
        {
            "crates/app/Cargo.toml": swap(APP, 'uses-patched = "1"\n', ""),
            "crates/core/Cargo.toml": swap(CORE, "[dependencies]\n", '[dependencies]\nuses-patched = "1"\n'),
            "Cargo.lock": relocked(
                app=app_entry(without=("uses-patched",)),
                shop_core=entry("shop-core", "0.3.0", "regex", "serde", "uses-patched", own=True),
            ),
        },
        APP_ONLY,
    ),
    # ---- what third-party packages feel
    ("a third-party version", {"Cargo.lock": relocked(itoa=entry("itoa", "1.0.2"))}, BOTH),
    ("a third-party version far below", {"Cargo.lock": relocked(unicode_ident=entry("unicode-ident", "1.0.3"))}, BOTH),
    ("a checksum", {"Cargo.lock": relocked(itoa=entry("itoa", "1.0.1", checksum="d" * 64))}, BOTH),
    ("a new third-party dependency", {"crates/core/Cargo.toml": swap(CORE, "[dependencies]\n", '[dependencies]\nlog = "0.4"\n'), "Cargo.lock": relocked(shop_core=entry("shop-core", "0.3.0", "log", "regex", "serde", own=True))}, BOTH),
    ("a feature of a third-party package", {"Cargo.toml": swap(ROOT, '["derive"]', '["derive", "rc"]')}, BOTH),
    ("default features of a third-party package", {"Cargo.toml": swap(ROOT, 'features = ["derive"] }', 'features = ["derive"], default-features = false }')}, BOTH),
    ("a feature that an excluded path crate asks for", {"shared/ext/Cargo.toml": swap(EXT, "default-features = false", 'features = ["i128"]')}, BOTH),
    ("a build dependency", {"crates/app/Cargo.toml": swap(APP, 'cc = "1"', 'cc = { version = "1", features = ["parallel"] }')}, BOTH),
    ("a dependency of a procedural macro", {"crates/macros/Cargo.toml": swap(MACROS, '["full"]', '["full", "extra-traits"]')}, BOTH),
    ("an own default feature that brings in an optional one", {"crates/app/Cargo.toml": swap(APP, 'default = ["color"]', 'default = ["color", "json"]')}, BOTH),
    ("the profile that is built", {"Cargo.toml": swap(ROOT, "debug = 1", "debug = 2")}, BOTH),
    ("a profile for a third-party package", {"Cargo.toml": swap(ROOT, "[profile.release]", "[profile.dev.package.itoa]\nopt-level = 3\n\n[profile.release]")}, BOTH),
    ("a profile for all dependencies", {"Cargo.toml": swap(ROOT, "[profile.release]", '[profile.dev.package."*"]\nopt-level = 3\n\n[profile.release]')}, BOTH),
    ("the resolver", {"Cargo.toml": swap(ROOT, 'resolver = "2"', 'resolver = "1"')}, BOTH),
    ("Cargo's configuration", {".cargo/config.toml": '[build]\nrustflags = ["--cfg", "x"]\n'}, BOTH),
    ("the toolchain file", {"rust-toolchain.toml": '[toolchain]\nchannel = "1.91.0"\n'}, BOTH),
    ("a patched package's source", {"vendor/patched/src/lib.rs": "pub fn f() {}\n"}, BOTH),
    ("a patched package's manifest", {"vendor/patched/Cargo.toml": swap(PATCHED, '"1"', '{ version = "1", features = ["a"] }')}, BOTH),
    ("a patch taken away", {"Cargo.toml": ROOT.replace('patched = { path = "vendor/patched" }\n', ""), "Cargo.lock": relocked(patched=entry("patched", "1.4.0", "itoa"))}, BOTH),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "changed"), [row[1:] for row in TREE_ROWS], ids=[row[0] for row in TREE_ROWS])
def test_an_edit_of_the_tree_changes_exactly_these_keys(edit: Edit, changed: tuple[str, ...]) -> None:
    assert _changed(lower(shop(), LAYER), lower(shop().edited(edit), LAYER)) == changed


LAYER_ROWS: list[tuple[str, Layer, tuple[str, ...]]] = [
    ("the same again", LAYER, NOTHING),
    ("template variables", replace(LAYER, variables=("accelerator",)), NOTHING),
    ("a tool's pin where the toolchain is a layer", replace(LAYER, lock=Lock(tools=FrozenMap({"rust": ToolPin("1.2.3")}))), NOTHING),
    ("where the binary goes", replace(LAYER, extra=FrozenMap({"to": "/usr/bin/shop"})), NOTHING),
    ("another binary", replace(LAYER, spec=replace(SPEC, bin="tool")), APP_ONLY),
    ("an own feature that asks for nothing", replace(LAYER, spec=replace(SPEC, features=("color",))), APP_ONLY),
    ("without default features that ask for nothing", replace(LAYER, spec=replace(SPEC, default_features=False)), APP_ONLY),
    ("inputs", replace(LAYER, inputs=("migrations/**", "README.md")), APP_ONLY),
    ("network for the compile", replace(LAYER, network=True), APP_ONLY),
    ("a feature that brings in a third-party package", replace(LAYER, spec=replace(SPEC, features=("json",))), BOTH),
    ("a feature named with its package", replace(LAYER, spec=replace(SPEC, features=("app/json",))), BOTH),
    ("the profile", replace(LAYER, spec=replace(SPEC, profile="release")), BOTH),
    ("the target", replace(LAYER, spec=replace(SPEC, target="x86_64-unknown-linux-musl")), BOTH),
    ("flags of the compiler", replace(LAYER, spec=replace(SPEC, flags=("-Ctarget-cpu=x86-64-v3",))), BOTH),
    ("flags of Cargo", replace(LAYER, spec=replace(SPEC, flags=("--config", "profile.dev.lto=true"))), BOTH),
    ("the linker", replace(LAYER, spec=replace(SPEC, linker="mold")), BOTH),
    ("the wrapper", replace(LAYER, spec=replace(SPEC, wrapper="sccache")), BOTH),
    ("a variable", replace(LAYER, env=FrozenMap({"CC": "clang"})), BOTH),
    ("the toolchain", replace(LAYER, rootfs="toolchain two"), BOTH),
    ("the toolchain's environment", replace(LAYER, env_of_rootfs=FrozenMap({"PATH": "/opt/bin"})), BOTH),
    ("the platform", replace(LAYER, platform="linux/arm64"), BOTH),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "changed"), [row[1:] for row in LAYER_ROWS], ids=[row[0] for row in LAYER_ROWS])
def test_an_edit_of_the_layer_changes_exactly_these_keys(layer: Layer, changed: tuple[str, ...]) -> None:
    assert _changed(lower(shop(), LAYER), lower(shop(), layer)) == changed


def _changed(before: Outcome, after: Outcome) -> tuple[str, ...]:
    """Names of the steps whose resolved keys differ."""
    deps = before.key(before.deps) != after.key(after.deps)
    app = before.key(before.app) != after.key(after.app)
    return ("deps",) * deps + ("app",) * app


def test_the_table_is_long_enough_and_says_each_thing_once() -> None:
    names = [row[0] for row in (*TREE_ROWS, *LAYER_ROWS)]
    assert len(names) == len(set(names)) >= 60


def test_the_keys_do_not_depend_on_the_order_in_which_files_are_found() -> None:
    backwards = shop().edited(dict(reversed(FILES.items())))
    assert _changed(lower(shop(), LAYER), lower(backwards, LAYER)) == NOTHING
