"""Composition: config and manifest from base facts, layers and the image's table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import ConfigError
from lamella.graph.facts import BaseFacts, Interpreter, User
from lamella.images.compose import ImageLayer, compose
from lamella.images.requirements import check_requirements
from lamella.oci.config import RuntimeConfig, parse_config
from lamella.oci.manifest import Descriptor, parse_manifest
from lamella.oci.media import LAYER_GZIP
from lamella.planning.lowering import ImagePlan
from lamella.project.cells import Cell
from lamella.project.spec import DefaultsSpec, HealthcheckSpec, ImageSpec, PlainValue
from lamella.stacks.base import Requirement

CELL = Cell(FrozenMap({"profile": "dev", "platform": "linux/arm64"}))
BASE = BaseFacts(
    users=(User("root", 0, 0), User("shop", 10001, 10001)),
    tools=("sh", "bash"),
    libc="glibc",
    libc_version="2.36",
    runtime=RuntimeConfig(
        env=("PATH=/usr/bin", "LANG=C"), user="root", cmd=("/bin/sh",), labels=FrozenMap({"a": "base"})
    ),
)
LAYERS = (
    ImageLayer("base", Descriptor(LAYER_GZIP, digest_bytes(b"1"), 1), digest_bytes(b"d1")),
    ImageLayer("app", Descriptor(LAYER_GZIP, digest_bytes(b"2"), 2), digest_bytes(b"d2")),
)


def plan(image: ImageSpec, **fields: Any) -> ImagePlan:
    """An image's plan without vertices."""
    return ImagePlan(image, CELL, "", (), **fields)


def composed(facts: BaseFacts = BASE, **fields: Any) -> RuntimeConfig:
    """The runtime config of an image with these fields."""
    return compose(plan(ImageSpec("shop", **fields)), LAYERS, facts).config.runtime


def test_an_image_is_recomposed_from_its_parts() -> None:
    """Layers in order, diff_ids in the config, the cell's platform, bytes that parse back."""
    image = compose(plan(ImageSpec("shop")), LAYERS, BASE)
    config = parse_config(image.config.to_bytes())
    manifest = parse_manifest(image.manifest.to_bytes())
    assert [layer.digest for layer in manifest.layers] == [digest_bytes(b"1"), digest_bytes(b"2")]
    assert config.diff_ids == (digest_bytes(b"d1"), digest_bytes(b"d2"))
    assert str(config.platform) == "linux/arm64"
    assert manifest.config.digest == digest_bytes(image.config.to_bytes())
    assert [line.created_by for line in config.history] == ["lamella: base", "lamella: app"]


def test_time_is_constant_unless_given() -> None:
    """The same parts give the same digest at any hour."""
    first, second = (compose(plan(ImageSpec("shop")), LAYERS, BASE) for _ in range(2))
    later = compose(plan(ImageSpec("shop")), LAYERS, BASE, created="2026-01-02T03:04:05Z")
    assert first.digest == second.digest != later.digest


def test_the_base_shows_through_where_nothing_is_written() -> None:
    """User, environment, command and labels of the base stay."""
    runtime = composed()
    assert (runtime.user, runtime.cmd, runtime.env) == ("root", ("/bin/sh",), ("PATH=/usr/bin", "LANG=C"))


def test_the_image_wins_over_the_base() -> None:
    """What is written replaces; an entrypoint drops the base's command."""
    runtime = composed(
        user="shop", env=FrozenMap({"LANG": "de"}), entrypoint=("/app/shop",), labels=FrozenMap({"a": "own"})
    )
    assert runtime.user == "shop"
    assert dict(entry.split("=") for entry in runtime.env)["LANG"] == "de"
    assert (runtime.entrypoint, runtime.cmd) == (("/app/shop",), ())
    assert runtime.labels["a"] == "own"


def test_a_layers_programs_come_first_on_the_path() -> None:
    """A virtual environment is active without a line in the file."""
    image = compose(plan(ImageSpec("shop"), path=("/opt/venv/bin",)), LAYERS, BASE)
    assert "PATH=/opt/venv/bin:/usr/bin" in image.config.runtime.env


def test_the_only_program_is_the_entrypoint() -> None:
    """Two programs are none: the base's start stays."""
    one = compose(plan(ImageSpec("shop"), entrypoints=(("/app/a",),)), LAYERS, BASE)
    two = compose(plan(ImageSpec("shop"), entrypoints=(("/app/a",), ("/app/b",))), LAYERS, BASE)
    assert one.config.runtime.entrypoint == ("/app/a",)
    assert two.config.runtime.entrypoint == ()


def test_an_unknown_user_lists_those_of_the_base() -> None:
    """SCHEMA question 2."""
    with pytest.raises(ConfigError) as caught:
        composed(user="shopp")
    assert "root, shop" in caught.value.hint


def test_a_numeric_user_need_not_be_known() -> None:
    """Numbers need no passwd."""
    assert composed(user="4711:4711").user == "4711:4711"


def test_defaults_as_environment() -> None:
    """``-e`` can override them; a list cannot be a variable."""
    values: FrozenMap[str, PlainValue] = FrozenMap({"PORT": 8080, "DEBUG": False})
    runtime = composed(defaults=DefaultsSpec(env_prefix="SHOP_", values=values, as_="env"))
    assert {"SHOP_PORT=8080", "SHOP_DEBUG=false"} <= set(runtime.env)
    with pytest.raises(ConfigError, match="not a scalar"):
        composed(defaults=DefaultsSpec(values=FrozenMap({"A": ("x",)}), as_="env"))


@pytest.mark.parametrize(
    ("tools", "interpreters", "expected"),
    [
        (("curl", "wget", "bash"), (), "curl"),
        (("wget", "bash"), (), "wget"),
        (("busybox",), (), "busybox"),
        (("bash",), (Interpreter("python", "/usr/bin/python3.11", "3.11"),), "/usr/bin/python3.11"),
        (("bash",), (), "bash"),
    ],
)
def test_a_health_check_uses_the_first_program_that_is_there(
    tools: tuple[str, ...], interpreters: tuple[Interpreter, ...], expected: str
) -> None:
    """SCHEMA question 3; the port is the first that is exposed."""
    facts = replace(BASE, tools=tools, interpreters=interpreters)
    check = composed(facts, healthcheck=HealthcheckSpec(http="/healthz"), expose=("8080/tcp",)).healthcheck
    assert check is not None
    assert check.test[1] == expected
    assert "8080" in " ".join(check.test)
    assert (check.interval, check.retries) == (30_000_000_000, 3)


def test_a_base_without_any_prober_is_an_error_that_names_them() -> None:
    """The error says what would do."""
    facts = replace(BASE, tools=("sh",))
    with pytest.raises(ConfigError, match="curl, wget, busybox, python or bash") as caught:
        composed(facts, healthcheck=HealthcheckSpec(http="/"), expose=("80/tcp",))
    assert "cmd" in caught.value.hint


def test_a_health_check_without_a_port_is_an_error() -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigError, match="no port"):
        composed(healthcheck=HealthcheckSpec(http="/"))


REQUIREMENTS = [
    (Requirement("glibc", "2.36", "layer app"), BASE, ""),
    (Requirement("glibc", "2.41", "layer app"), BASE, "linked against glibc 2.41, the base has 2.36"),
    (Requirement("glibc", "2.9", "layer app"), BASE, ""),
    (Requirement("glibc", "2.36", "layer app"), BaseFacts(), "the base has no C library"),
    (Requirement("interpreter", "python 3.11 /usr/bin/python3.11", "layer deps"), BASE, "the base has none"),
    (
        Requirement("interpreter", "python 3.11 /usr/bin/python3.11", "layer deps"),
        replace(BASE, interpreters=(Interpreter("python", "/usr/bin/python3.11", "3.11"),)),
        "",
    ),
    (
        Requirement("interpreter", "python 3.11 /usr/bin/python3.11", "layer deps"),
        replace(BASE, interpreters=(Interpreter("python", "/usr/bin/python3.12", "3.12"),)),
        "the base has 3.12 at /usr/bin/python3.12",
    ),
    (Requirement("tool", "bash", "layer x"), BASE, ""),
    (Requirement("tool", "git", "layer x"), BASE, "needs 'git' in the base"),
]


@pytest.mark.parametrize(("need", "base", "expected"), REQUIREMENTS)
def test_what_a_layer_needs_of_its_base_is_checked(need: Requirement, base: BaseFacts, expected: str) -> None:
    """DESIGN 7b.3: said before an hour is spent."""
    found = check_requirements(plan(ImageSpec("shop"), requirements=(need,)), base, lambda key: None)
    assert (expected in found[0].message) if expected else (found == ())


def test_the_libc_of_a_toolchain_comes_from_its_facts() -> None:
    """The value is only known from the toolchain's root file system."""
    need = Requirement("glibc", "", "layer app", rootfs="toolchain")
    facts = {"toolchain": BaseFacts(libc="glibc", libc_version="2.41")}
    found = check_requirements(plan(ImageSpec("shop"), requirements=(need,)), BASE, facts.get)
    assert "glibc 2.41" in found[0].message
