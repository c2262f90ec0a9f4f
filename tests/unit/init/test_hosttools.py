"""When this machine's tools are taken for steps, and what is said when they are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.init.hosttools import HostSight, host_refusal
from lamella.init.propose import Asked
from lamella.init.render import render_proposal
from lamella.stacks.cargo import CargoStack
from lamella.stacks.node import NodeStack
from lamella.testing.tree import MemoryTree
from tests.unit.init.kinds import KINDS, RUST, VITE, npm_package
from tests.unit.init.proposals import BARE, HOST, RUSTC, proposal


def refusal(files: dict[str, str], host: HostSight = HOST) -> str:
    tree = MemoryTree(files)
    (found,) = (CargoStack() if "Cargo.toml" in files else NodeStack()).detect(tree)
    return host_refusal(tree, found, host)


def rustup(**toolchains: str) -> HostSight:
    named = {f"rustc {name.replace('_', '.')}": f"release: {release}" for name, release in toolchains.items()}
    return replace(HOST, versions=FrozenMap({"rustc": "rustup, default stable", **named}))


def test_all_programs_must_be_there() -> None:
    assert refusal(RUST) == ""
    assert refusal(RUST, BARE) == "cargo, rustc, cc are not on PATH"
    assert refusal(RUST, replace(HOST, programs=HOST.programs - {"cc"})) == "cc is not on PATH"


@pytest.mark.parametrize(
    ("channel", "fits"),
    [("1.92", True), ("1.92.0", True), ("stable", True), ("1.80", False), ("nightly-2026-01-01", False)],
)
def test_the_toolchain_that_the_project_names_must_be_installed(channel: str, fits: bool) -> None:
    host = rustup(**{"stable-x86_64": "1.92.0", "1_92_0-x86_64": "1.92.0"})
    answer = refusal({**RUST, "rust-toolchain.toml": f'[toolchain]\nchannel = "{channel}"\n'}, host)
    assert (answer == "") is fits
    assert fits or f"asks for Rust {channel}" in answer


def test_rust_of_the_system_is_taken_when_its_release_fits() -> None:
    host = replace(HOST, versions=FrozenMap({"rustc": RUSTC, "cargo": "cargo 1.92.0"}))
    assert refusal({**RUST, "rust-toolchain": "1.92"}, host) == ""
    assert refusal({**RUST, "rust-toolchain": "stable"}, host) == ""
    assert "1.80" in refusal({**RUST, "rust-toolchain": "1.80"}, host)


def test_an_older_rust_than_the_project_needs() -> None:
    manifest = RUST["Cargo.toml"].replace('edition = "2021"', 'edition = "2021"\nrust-version = "1.95"')
    assert refusal({**RUST, "Cargo.toml": manifest}) == "the project needs Rust 1.95, here is 1.92.0"


def test_another_node_than_the_project_asks_for() -> None:
    files = npm_package("page", VITE)
    wanting = files["package.json"].replace('"name"', '"engines": {"node": ">=22"}, "name"')
    assert refusal(files) == ""
    assert refusal({**files, "package.json": wanting}) == "the project asks for Node >=22, here is 20.19.2"


def test_python_takes_the_host_only_when_asked() -> None:
    assert "host = true" not in render_proposal(proposal(KINDS["uv-project"]))
    assert 'on = "host"' in render_proposal(proposal(KINDS["uv-project"], asked=Asked(host=True)))


def test_asking_for_a_host_that_cannot_is_an_error_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="--host: cargo cannot use this machine's tools: cargo, rustc, cc are not"):
        proposal(RUST, BARE, Asked(host=True))


def test_a_host_newer_than_every_base_is_an_error_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"glibc 2\.50") as caught:
        proposal(RUST, replace(HOST, glibc=(2, 50), suite=""))
    assert "--no-host" in caught.value.hint


def test_packages_that_the_compile_needs_and_the_machine_lacks_are_named() -> None:
    lock = RUST["Cargo.lock"].replace(' "itoa",\n', ' "itoa",\n "openssl-sys",\n')
    lock += '\n[[package]]\nname = "openssl-sys"\nversion = "0.9.0"\n'
    files = {**RUST, "Cargo.lock": lock, "Cargo.toml": RUST["Cargo.toml"] + 'openssl-sys = "0.9"\n'}
    host = replace(HOST, packages=frozenset({"libc6"}))
    assert (
        "the compile needs packages that this machine lacks: apt-get install libssl-dev" in proposal(files, host).notes
    )
    assert not proposal(files, replace(HOST, packages=frozenset({"libssl-dev"}))).notes
