"""Which package and binary a layer means, and what the error says when it cannot tell."""

# ruff: noqa: E501 - one row, one line

from __future__ import annotations

import pytest

from lamella.errors import ConfigError
from lamella.project.spec import CargoSpec
from lamella.testing.tree import MemoryTree
from tests.unit.stacks.cargo.harness import Layer, lower
from tests.unit.stacks.cargo.shop import HEAD, entry


def package(name: str, more: str = "") -> str:
    return f'[package]\nname = "{name}"\nversion = "1.0.0"\n{more}'


def tree(root: str | None = '[workspace]\nmembers = ["*"]\n', **changes: str | None) -> MemoryTree:
    """Two packages with binaries, one library."""
    files = {
        "Cargo.toml": root or "",
        "Cargo.lock": HEAD + "\n".join(entry(name, "1.0.0", own=True) for name in ("cli", "lib", "root", "server")),
        "cli/Cargo.toml": package("cli"),
        "cli/src/main.rs": "",
        "cli/src/bin/helper.rs": "",
        "lib/Cargo.toml": package("lib"),
        "lib/src/lib.rs": "",
        "server/Cargo.toml": package("server"),
        "server/src/main.rs": "",
    }
    return MemoryTree(files).edited(changes)


def chosen(files: MemoryTree, spec: CargoSpec) -> tuple[str, str]:
    details = lower(files, Layer(spec)).lowered.details
    return str(details["package"]), str(details["binary"])


@pytest.mark.parametrize(
    ("files", "spec", "found"),
    [
        (tree(), CargoSpec(package="server"), ("server", "server")),
        (tree(), CargoSpec(bin="helper"), ("cli", "helper")),
        (tree(), CargoSpec(bin="cli"), ("cli", "cli")),
        (tree(), CargoSpec(dir="server"), ("server", "server")),
        (tree(), CargoSpec(dir="cli", bin="server"), ("server", "server")),
        (tree('[workspace]\nmembers = ["*"]\ndefault-members = ["server"]\n'), CargoSpec(), ("server", "server")),
        (tree(**{"cli/src/main.rs": None, "cli/src/bin/helper.rs": None}), CargoSpec(), ("server", "server")),
        (
            tree(**{"cli/Cargo.toml": package("cli", 'default-run = "helper"\n')}),
            CargoSpec(package="cli"),
            ("cli", "helper"),
        ),
        (
            tree('[workspace]\nmembers = ["*"]\n' + package("root"), **{"src/main.rs": ""}),
            CargoSpec(),
            ("root", "root"),
        ),
        (tree(**{"lib/src/lib.rs": None, "lib/src/main.rs": ""}), CargoSpec(package="lib"), ("lib", "lib")),
    ],
)
def test_what_is_chosen(files: MemoryTree, spec: CargoSpec, found: tuple[str, str]) -> None:
    assert chosen(files, spec) == found


@pytest.mark.parametrize(
    ("files", "spec", "message", "hint"),
    [
        (tree(), CargoSpec(), "several packages have binaries: cli, server", "cargo.package"),
        (tree(), CargoSpec(package="servre"), "no member of Cargo.toml is named 'servre'", "did you mean 'server'? there are: cli, lib, server"),
        (tree(), CargoSpec(bin="sever"), "no package has a binary 'sever'", "did you mean 'server'? there are: cli, helper, server"),
        (tree(), CargoSpec(package="lib"), "package lib has no binary", "cargo.package"),
        (tree(), CargoSpec(package="cli"), "several binaries and no default-run: cli, helper", "cargo.bin"),
        (tree(), CargoSpec(package="cli", bin="x"), "package cli has no binary 'x'", "there are: cli, helper"),
        (tree(), CargoSpec(dir="backend"), "backend/Cargo.toml is not in the project", "cargo.dir"),
        (tree(**{"cli/src/main.rs": None, "cli/src/bin/helper.rs": None, "server/src/main.rs": None}), CargoSpec(), "no package of Cargo.toml has a binary", "cargo.dir"),
        (tree(**{"server/src/bin/helper.rs": ""}), CargoSpec(bin="helper"), "several packages have a binary 'helper': cli, server", "cargo.package"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_names_the_choices(files: MemoryTree, spec: CargoSpec, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(files, spec)
    assert (message in str(caught.value), hint in caught.value.hint) == (True, True), (
        str(caught.value),
        caught.value.hint,
    )


def test_a_feature_that_nobody_has_is_named() -> None:
    files = tree(**{"server/Cargo.toml": package("server", "[features]\njson = []\n[dependencies]\n")})
    with pytest.raises(ConfigError, match="server has no feature 'jsno'") as caught:
        chosen(files, CargoSpec(package="server", features=("jsno",)))
    assert "did you mean 'json'" in caught.value.hint
