"""The layer's own toolchain: which Node, which tool, in which version; and what stands on what ``on`` names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lamella.canonical import FrozenMap
from lamella.graph.mount import SecretMount
from lamella.graph.op import BootstrapOp
from lamella.project.lock import Lock, ToolPin
from lamella.stacks.node.tools import BUN, PNPM
from tests.unit.stacks.lowering import Given, lower
from tests.unit.stacks.node.samples import manifest_of, workspace


def own(tool: str, **changes: Any) -> Given:
    given = replace(workspace(tool), toolchain="")
    return given.edited(manifest_of(given, "ui/package.json", **changes)) if changes else given


def installed(given: Given) -> list[str]:
    """What npm installs into the toolchain."""
    commands = lower(given).step("ui:toolchain").commands
    return [command.argv[-1] for command in commands if command.argv[:3] == ("npm", "install", "--global")]


def test_npm_needs_nothing_beside_debians_packages() -> None:
    outcome = lower(own("npm"))
    assert installed(own("npm")) == []
    assert outcome.step("ui:toolchain").commands[1].argv[:2] == ("apt-get", "install")
    assert outcome.step("ui:toolchain").commands[1].argv[-2:] == ("nodejs", "npm")
    bootstraps = [vertex.op for vertex in outcome.definition.vertices.values() if isinstance(vertex.op, BootstrapOp)]
    assert [op.suite for op in bootstraps] == ["trixie"]


@pytest.mark.parametrize(("tool", "version"), [("bun", BUN), ("pnpm", PNPM["9"])])
def test_the_locks_tool_is_installed_in_a_fixed_version(tool: str, version: str) -> None:
    assert installed(own(tool)) == [f"{tool}@{version}"]


def test_the_project_says_which_version() -> None:
    assert installed(own("bun", packageManager="bun@1.2.3+sha512.abc")) == ["bun@1.2.3"]
    assert installed(own("npm", packageManager="npm@10.9.0")) == ["npm@10.9.0"]


def test_the_lock_says_which_version_when_the_project_does_not() -> None:
    pinned = Lock(tools=FrozenMap({"bun": ToolPin("1.3.0")}))
    assert installed(replace(own("bun"), lock=pinned)) == ["bun@1.3.0"]


@pytest.mark.parametrize(
    ("changes", "files", "node"),
    [
        ({"engines": {"node": ">=18"}}, {}, []),
        ({"engines": {"node": "^22.1"}}, {}, ["node@^22.1"]),
        ({"volta": {"node": "22.11.0"}}, {}, ["node@22.11.0"]),
        ({}, {"ui/.nvmrc": "v22\n"}, ["node@22"]),
        ({}, {".node-version": "20.19.2\n"}, []),
        ({}, {".nvmrc": "lts/jod\n"}, ["node@22"]),
        ({}, {".nvmrc": "lts/*\n"}, []),
        ({"engines": {"node": "latest"}}, {}, []),
    ],
)
def test_another_node_than_debians_comes_from_its_package(
    changes: dict[str, Any], files: dict[str, str], node: list[str]
) -> None:
    assert installed(own("npm", **changes).edited(dict(files))) == node


def test_a_toolchain_of_the_users_gets_the_tool_only_when_it_lacks_it() -> None:
    outcome = lower(workspace("bun"))
    first = outcome.step("ui:bun").commands[0]
    assert first.unless == ("bun", "--version")
    assert outcome.step("ui:bun").network == "host"
    assert "ui:npm" not in lower(workspace("npm")).keys


def test_a_secret_that_the_installers_settings_name_is_a_variable() -> None:
    given = workspace("npm").edited({".npmrc": "//registry.example/:_authToken=${NPM_TOKEN}\n"})
    given = replace(given, layer=replace(given.layer, secrets=("NPM_TOKEN", "other")))
    mounts = {mount.id: mount for mount in lower(given).step("ui:deps").mounts if isinstance(mount, SecretMount)}
    assert mounts["NPM_TOKEN"].env == "NPM_TOKEN"
    assert mounts["other"].target == "/run/secrets/other"
