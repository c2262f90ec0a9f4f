"""The shape of the two steps, what they see, what is said beforehand."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.definition import definition_key
from lamella.graph.mount import BindMount, CacheMount, SecretMount, StateMount
from lamella.graph.op import BootstrapOp, ExecOp, OutputPath, SourceOp
from lamella.graph.vertex import Vertex
from lamella.project.lock import Lock, ToolPin
from lamella.project.spec import CargoSpec, Need
from lamella.stacks.base import NeededProduct
from lamella.stacks.cargo.selection import split_flags
from lamella.testing.tree import MemoryTree
from tests.unit.stacks.cargo.harness import Layer, Outcome, lower
from tests.unit.stacks.cargo.shop import APP, FILES, ROOT, entry, lock_of, shop

SPEC = CargoSpec(package="app", bin="app")
LAYER = Layer(SPEC)


def argv_of(outcome: Outcome, vertex: str) -> tuple[str, ...]:
    """The command line of ``cargo build``."""
    return next(command.argv for command in outcome.op(vertex).commands if command.argv[:2] == ("cargo", "build"))


def toml_at(outcome: Outcome, vertex: str, path: str) -> dict[str, object]:
    return tomllib.loads(outcome.staged(vertex)[path].decode())


def test_both_steps_have_one_environment_state_home_and_places() -> None:
    outcome = lower(
        shop(), replace(LAYER, spec=replace(SPEC, target="x86_64-unknown-linux-musl", flags=("-Copt-level=1",)))
    )
    deps, app = outcome.op(outcome.deps), outcome.op(outcome.app)
    assert deps.env == app.env
    assert app.env["CARGO_TARGET_DIR"] == "/lamella/target"
    kept = [[m for m in op.mounts if isinstance(m, (StateMount, CacheMount))] for op in (deps, app)]
    assert kept[0] == kept[1]
    assert [mount.target for mount in kept[0]] == ["/lamella/target", "/lamella/cargo"]
    after = argv_of(outcome, outcome.deps).index("--profile")
    tail = argv_of(outcome, outcome.app)
    assert argv_of(outcome, outcome.deps)[after:] == tail[tail.index("--profile") :]


def test_compiling_has_no_network_and_fetching_has() -> None:
    outcome = lower(shop(), LAYER)
    for vertex in (outcome.deps, outcome.app):
        op = outcome.op(vertex)
        assert op.network == "none"
        online = [command for command in op.commands if command.network]
        assert len(online) == 1
        assert "cargo fetch" in online[0].argv[2]
        assert online[0].unless == (*online[0].argv, "--offline")


def test_sources_are_staged_with_new_times() -> None:
    outcome = lower(shop(), LAYER)
    mounts = [m for m in outcome.op(outcome.app).mounts if isinstance(m, BindMount) and m.target == "/lamella/src"]
    assert [mount.touch for mount in mounts] == [True]


def test_the_product_is_the_binary_and_its_place_the_entrypoint() -> None:
    lowered = lower(shop(), LAYER).lowered
    placement = lowered.placements[0]
    assert (placement.vertex, placement.target, placement.rename) == (lowered.product, "/app/app", True)
    assert lowered.entrypoints == (("/app/app",),)
    assert [requirement.kind for requirement in lowered.requirements] == ["glibc"]


def test_where_it_goes_and_whose_it_is_can_be_said() -> None:
    lowered = lower(
        shop(), replace(LAYER, extra=FrozenMap({"to": "/usr/bin/x", "owner": "7:7", "mode": 0o750}))
    ).lowered
    placement = lowered.placements[0]
    assert (placement.target, placement.owner, placement.mode) == ("/usr/bin/x", "7:7", "0750")
    assert lowered.entrypoints == (("/usr/bin/x",),)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (SPEC, "debug/app"),
        (replace(SPEC, profile="release"), "release/app"),
        (replace(SPEC, profile="dist"), "dist/app"),
        (replace(SPEC, target="aarch64-unknown-linux-musl"), "aarch64-unknown-linux-musl/debug/app"),
        (replace(SPEC, bin="tool"), "debug/tool"),
    ],
)
def test_the_binary_is_taken_from_where_cargo_documents_it(spec: CargoSpec, path: str) -> None:
    outcome = lower(shop(), replace(LAYER, spec=spec))
    assert outcome.op(outcome.app).outputs == (OutputPath(f"/lamella/target/{path}", path.rsplit("/", 1)[1]),)


def test_a_target_in_the_configuration_counts_and_musl_needs_no_glibc() -> None:
    config = '[build]\ntarget = "x86_64-unknown-linux-musl"\n'
    outcome = lower(shop().edited({".cargo/config.toml": config}), LAYER)
    assert "/x86_64-unknown-linux-musl/" in outcome.op(outcome.app).outputs[0].source
    assert outcome.lowered.requirements == ()


def test_the_skeleton_asks_for_exactly_what_the_own_packages_ask_for() -> None:
    outcome = lower(shop(), LAYER)
    manifest = toml_at(outcome, outcome.deps, "Cargo.toml")
    assert manifest["dependencies"] == {
        "itoa": {"version": "=1.0.1", "default-features": True},
        "serde": {"version": "=1.0.200", "default-features": True, "features": ["derive"]},
        "uses-patched": {"version": "=1.0.0", "default-features": True},
    }
    assert manifest["build-dependencies"] == {
        "cc": {"version": "=1.2.0", "default-features": True},
        "itoa": {"version": "=1.0.1", "default-features": True},
        "syn": {"version": "=2.0.7", "default-features": True, "features": ["full"]},
    }
    assert "target" not in manifest


def test_the_skeleton_names_no_own_package() -> None:
    outcome = lower(shop(), LAYER)
    staged = outcome.staged(outcome.deps)
    text = b"\n".join(staged.values())
    assert [name for name in (b"shop-core", b"macros", b'"ext"', b"0.3.0") if name in text] == []
    assert sorted(staged) == [
        ".cargo/config.toml",
        ".lamella/build.rs",
        ".lamella/deps.rs",
        "Cargo.lock",
        "Cargo.toml",
        "rust-toolchain.toml",
        "vendor/patched/Cargo.toml",
        "vendor/patched/src/lib.rs",
    ]


def test_the_final_step_sees_its_own_packages_and_nothing_of_the_others() -> None:
    outcome = lower(shop(), LAYER)
    staged = outcome.staged(outcome.app)
    assert sorted(path for path in staged if "/" in path and not path.startswith("crates/app/")) == [
        ".cargo/config.toml",
        "crates/core/Cargo.toml",
        "crates/core/src/lib.rs",
        "crates/macros/Cargo.toml",
        "crates/macros/src/lib.rs",
        "shared/ext/Cargo.toml",
        "shared/ext/src/lib.rs",
        "vendor/patched/Cargo.toml",
        "vendor/patched/src/lib.rs",
    ]
    assert "crates/app/tests/end.rs" not in staged
    assert "crates/app/tests/data/a.txt" in staged
    root = toml_at(outcome, outcome.app, "Cargo.toml")
    assert root["workspace"] == {
        "members": ["crates/app", "crates/core", "crates/macros"],
        "exclude": ["shared", "vendor"],
        "resolver": "2",
        "metadata": {"release": {"sign": False}},
    }
    assert b'name = "log"' not in staged["Cargo.lock"]
    assert b"tempfile" not in staged["Cargo.lock"] + staged["crates/app/Cargo.toml"]


def test_under_resolver_one_dev_dependencies_have_a_say_and_stay() -> None:
    outcome = lower(shop().edited({"Cargo.toml": ROOT.replace('resolver = "2"', 'resolver = "1"')}), LAYER)
    assert "tempfile" in toml_at(outcome, outcome.deps, "Cargo.toml")["dev-dependencies"]  # type: ignore[operator]
    assert b"tempfile" in outcome.staged(outcome.app)["crates/app/Cargo.toml"]


def test_two_versions_of_a_package_get_two_names() -> None:
    lock = lock_of(
        {
            "itoa": entry("itoa", "0.4.8") + "\n" + entry("itoa", "1.0.1"),
            "app": entry("app", "0.3.0", "cc", "ext", "itoa 0.4.8", "itoa 1.0.1", "macros", "serde_json", "shop-core", "tempfile", "uses-patched", "winapi", own=True),
            "ext": entry("ext", "2.0.0", "itoa 1.0.1", own=True),
            "macros": entry("macros", "0.3.0", "itoa 1.0.1", "syn", own=True),
            "patched": entry("patched", "1.4.0", "itoa 1.0.1", own=True),
            "serde_json": entry("serde_json", "1.0.9", "itoa 1.0.1", "serde"),
        }
    )  # fmt: skip
    manifest = APP.replace(
        'itoa = "1"', 'itoa = "1"\nold = { package = "itoa", version = "0.4", default-features = false }'
    )
    outcome = lower(shop().edited({"Cargo.lock": lock, "crates/app/Cargo.toml": manifest}), LAYER)
    tables = toml_at(outcome, outcome.deps, "Cargo.toml")
    asked = tables["dependencies"]
    assert isinstance(asked, dict)
    assert asked["itoa-0_4_8"] == {"package": "itoa", "version": "=0.4.8", "default-features": False}
    assert asked["itoa-1_0_1"] == {"package": "itoa", "version": "=1.0.1", "default-features": True}


def test_a_condition_that_only_the_compiler_knows_is_kept() -> None:
    manifest = APP.replace("cfg(windows)", "cfg(tokio_unstable)")
    outcome = lower(shop().edited({"crates/app/Cargo.toml": manifest}), LAYER)
    target = toml_at(outcome, outcome.deps, "Cargo.toml")["target"]
    assert target == {
        "cfg(tokio_unstable)": {"dependencies": {"winapi": {"version": "=0.3.9", "default-features": True}}}
    }


def test_a_project_without_third_party_packages_has_one_step() -> None:
    files = {
        "Cargo.toml": '[package]\nname = "a"\nversion = "1.0.0"\n',
        "Cargo.lock": 'version = 4\n\n[[package]]\nname = "a"\nversion = "1.0.0"\n',
        "src/main.rs": "fn main() {}\n",
    }
    outcome = lower(MemoryTree(files), Layer())
    assert outcome.deps == ""
    assert outcome.op(outcome.app).outputs[0].target == "a"


def test_what_a_link_leads_to_is_seen_and_keyed() -> None:
    tree = MemoryTree(
        {**FILES, "LICENSE": "free\n"}, links={"crates/core/LICENSE": "../../LICENSE", "crates/core/x": "/etc"}
    )
    before, after = lower(tree, LAYER), lower(tree.edited({"LICENSE": "freer\n"}), LAYER)
    sources = [
        v.op for v in before.definition.vertices.values() if isinstance(v.op, SourceOp) and "build" in v.info.name
    ]
    assert "LICENSE" in before.tree.paths(sources[0].patterns)
    assert (before.key(before.deps) == after.key(after.deps), before.key(before.app) == after.key(after.app)) == (
        True,
        False,
    )


def test_products_of_other_layers_stand_at_their_paths_and_hide_what_lay_there() -> None:
    tree = shop().edited({"crates/app/dist/old.js": "old\n", "crates/app/dist/new.js": "new\n"})
    probe = lower(tree, LAYER)
    outcome = _with_need(tree)
    assert "crates/app/dist/old.js" in probe.staged(probe.app)
    assert not any(path.startswith("crates/app/dist") for path in outcome.staged(outcome.app))
    mounts = [m.target for m in outcome.op(outcome.app).mounts if isinstance(m, BindMount)]
    assert mounts == ["/lamella/made", "/lamella/src", "/lamella/src/crates/app/dist"]
    assert all("dist" not in m.target for m in outcome.op(outcome.deps).mounts)


def _with_need(tree: MemoryTree) -> Outcome:
    """The layer with a product of a source vertex, which stands for any other layer's."""
    product = Vertex(SourceOp(("migrations/**",)), ())
    need = NeededProduct(Need("ui", FrozenMap({".": "crates/app/dist"})), definition_key(product))
    return lower(tree, LAYER, (need,), more=(product,))


def test_secrets_are_files_in_both_steps() -> None:
    outcome = lower(shop(), replace(LAYER, extra=FrozenMap({"secrets": ("token",)})))
    for vertex in (outcome.deps, outcome.app):
        assert SecretMount("token", target="/run/secrets/token") in outcome.op(vertex).mounts


@pytest.mark.parametrize("key", ["ssh", "services", "caches"])
def test_keys_of_later_releases_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' is not yet supported"):
        lower(shop(), replace(LAYER, extra=FrozenMap({key: ("x",)})))


# ---- the toolchain ---------------------------------------------------------------------------------------------------


def own(layer: Layer, **files: str | None) -> tuple[Outcome, tuple[str, ...], ExecOp]:
    """The layer on its own toolchain: with the command line of rustup and the step that installs it."""
    outcome = lower(
        shop().edited({path.replace("__", "/"): text for path, text in files.items()}),
        replace(layer, own_toolchain=True),
    )
    found = [
        v.op
        for v in outcome.definition.vertices.values()
        if v.info.name == "app:toolchain" and isinstance(v.op, ExecOp)
    ]
    rustup = next(command.argv for command in found[0].commands if command.argv[:2] == ("rustup", "toolchain"))
    return outcome, rustup, found[0]


def test_without_a_toolchain_layer_the_named_version_is_installed_on_a_bootstrapped_debian() -> None:
    outcome, rustup, step = own(LAYER)
    assert rustup[3] == "1.90.0"
    assert step.network == "host"
    assert any(isinstance(vertex.op, BootstrapOp) for vertex in outcome.definition.vertices.values())
    assert outcome.op(outcome.app).env["RUSTUP_TOOLCHAIN"] == "1.90.0"
    assert outcome.op(outcome.app).env["CARGO_HOME"] == "/lamella/cargo"
    assert outcome.lowered.notes == ()


@pytest.mark.parametrize(
    ("file", "lock", "manifest", "version"),
    [
        ('[toolchain]\nchannel = "1.91"\n', Lock(tools=FrozenMap({"rust": ToolPin("1.80.0")})), APP, "1.91"),
        (None, Lock(tools=FrozenMap({"rust": ToolPin("1.80.0")})), APP, "1.80.0"),
        (None, Lock(), APP.replace("default-run", 'rust-version = "1.75"\ndefault-run'), "1.75"),
        (None, Lock(), APP, "stable"),
        ('[toolchain]\npath = "/opt/rust"\n', Lock(), APP, "stable"),
    ],
)
def test_the_version_is_the_files_the_locks_or_the_packages(
    file: str | None, lock: Lock, manifest: str, version: str
) -> None:
    tree = {"rust-toolchain.toml": file, "crates/app/Cargo.toml": manifest}
    outcome = lower(shop().edited(tree), replace(LAYER, own_toolchain=True, lock=lock))
    assert outcome.op(outcome.app).env["RUSTUP_TOOLCHAIN"] == version
    assert any("no fixed version" in note for note in outcome.lowered.notes) == (version == "stable")


def test_the_toolchain_has_what_locked_crates_and_settings_need() -> None:
    lock = lock_of({"cc": entry("cc", "1.2.0", "openssl-sys"), "openssl-sys": entry("openssl-sys", "0.9.1"), "log": entry("log", "0.4.2", "pq-sys"), "pq-sys": entry("pq-sys", "0.6.0")})  # fmt: skip
    spec = replace(SPEC, linker="mold", wrapper="sccache", target="aarch64-unknown-linux-gnu")
    outcome, rustup, step = own(replace(LAYER, spec=spec), **{"Cargo.lock": lock})
    install = next(command.argv for command in step.commands if command.argv[:2] == ("apt-get", "install"))
    assert {"gcc", "rustup", "libssl-dev", "mold", "sccache", "gcc-aarch64-linux-gnu"} <= set(install)
    assert "libpq-dev" not in install, "an unrelated member's needs"
    assert rustup[-2:] == ("--target", "aarch64-unknown-linux-gnu")
    assert outcome.op(outcome.app).env["RUSTC_WRAPPER"] == "sccache"


def test_components_that_compile_nothing_are_not_installed() -> None:
    text = '[toolchain]\nchannel = "1.90.0"\ncomponents = ["clippy", "rust-src"]\ntargets = ["wasm32-wasip1"]\n'
    _, rustup, _ = own(LAYER, **{"rust-toolchain.toml": text})
    assert rustup[4:] == (
        "--profile",
        "minimal",
        "--no-self-update",
        "--component",
        "rust-src",
        "--target",
        "wasm32-wasip1",
    )


# ---- flags -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "linker", "rustc", "cargo"),
    [
        (("-Ctarget-cpu=native",), "", ("-Ctarget-cpu=native",), ()),
        (("-C", "lto", "--cfg", "x"), "", ("-C", "lto", "--cfg", "x"), ()),
        (("--config", "a=1", "-Cdebuginfo=1"), "", ("-Cdebuginfo=1",), ("--config", "a=1")),
        (("--config=a=1",), "", (), ("--config=a=1",)),
        (("-Zbuild-std", "-Zshare-generics"), "", ("-Zshare-generics",), ("-Zbuild-std",)),
        (("-Z", "build-std=core"), "", (), ("-Z", "build-std=core")),
        ((), "mold", ("-Clink-arg=-fuse-ld=mold",), ()),
        ((), "clang", ("-Clinker=clang",), ()),
        (("--ignore-rust-version",), "", (), ("--ignore-rust-version",)),
    ],
)
def test_flags_go_to_the_compiler_or_to_cargo(
    flags: tuple[str, ...], linker: str, rustc: tuple[str, ...], cargo: tuple[str, ...]
) -> None:
    assert split_flags(flags, linker) == (rustc, cargo)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("", "build.rustflags"),
        ('[build]\nrustflags = ["-g"]\n', "build.rustflags"),
        ('[target.x86_64-unknown-linux-gnu]\nrustflags = ["-g"]\n', "target.'cfg(all())'.rustflags"),
    ],
)
def test_flags_do_not_hide_those_of_the_configuration(config: str, key: str) -> None:
    layer = replace(LAYER, spec=replace(SPEC, flags=("-Cdebuginfo=0",)))
    outcome = lower(shop().edited({".cargo/config.toml": config}), layer)
    assert f'{key}=["-Cdebuginfo=0"]' in argv_of(outcome, outcome.app)


def test_flags_are_joined_to_the_variable_that_would_hide_them() -> None:
    layer = replace(LAYER, spec=replace(SPEC, flags=("-Cdebuginfo=0",)), env=FrozenMap({"RUSTFLAGS": "-g"}))
    outcome = lower(shop(), layer)
    assert outcome.op(outcome.app).env["RUSTFLAGS"] == "-g -Cdebuginfo=0"
    assert not any("rustflags" in part for part in argv_of(outcome, outcome.app))


@pytest.mark.parametrize(
    ("layer", "files", "says"),
    [
        (
            replace(LAYER, spec=replace(SPEC, profile="release")),
            {"Cargo.toml": ROOT.replace('lto = "thin"', "lto = true")},
            "fat LTO",
        ),
        (replace(LAYER, variables=("commit", "accelerator")), {}, "commit in it"),
        (replace(LAYER, spec=replace(SPEC, volatile=("app",))), {}, "'volatile' is not yet in force"),
        (replace(LAYER, spec=replace(SPEC, flags=("-Ctarget-cpu=native",))), {}, "binds the result to this machine"),
    ],
)
def test_a_plan_says_what_will_cost(layer: Layer, files: dict[str, str], says: str) -> None:
    assert [note for note in lower(shop().edited(files), layer).lowered.notes if says in note]


def test_a_result_for_this_machines_processor_stays_here() -> None:
    outcome = lower(shop(), replace(LAYER, spec=replace(SPEC, flags=("-C", "target-cpu=native"))))
    assert (outcome.definition[outcome.deps].info.local, outcome.definition[outcome.app].info.local) == (True, True)
