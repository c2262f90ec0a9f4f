"""Versions, engines and what they can do."""

from __future__ import annotations

import pytest

from lamella.engines.buildkit.levels import buildkit_of_engine, level_of, parse_version
from lamella.errors import SandboxError


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v0.25.1", (0, 25)),
        ("0.30.0", (0, 30)),
        ("28.5.2+dfsg4", (28, 5)),
        ("v0.8+unknown", (0, 8)),
        (" 20.10.24 ", (20, 10)),
    ],
)
def test_versions_as_builders_write_them(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "dev", "v1", "<none>", "0."])
def test_a_version_that_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(SandboxError, match="cannot be read"):
        parse_version(text)


@pytest.mark.parametrize(
    ("engine", "buildkit"),
    [
        ("20.10.24+dfsg1", (0, 8)),
        ("23.0.1", (0, 10)),
        ("27.2.0", (0, 15)),
        ("28.5.2", (0, 25)),
        ("29.0.0", (0, 25)),
        ("31.4.0", (0, 32)),
    ],
)
def test_an_engine_carries_a_buildkit(engine: str, buildkit: tuple[int, int]) -> None:
    assert buildkit_of_engine(engine) == buildkit


@pytest.mark.parametrize("engine", ["19.03.15", "18.9.1", "1.13.1"])
def test_engines_before_20_10_are_refused(engine: str) -> None:
    with pytest.raises(SandboxError, match="too old"):
        buildkit_of_engine(engine)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("0.8.3", "L0"),
        ("0.9.0", "L0"),
        ("0.10.6", "L1"),
        ("0.11.6", "L2"),
        ("0.12.5", "L2"),
        ("0.13.2", "L3"),
        ("0.25.1", "L4"),
    ],
)
def test_levels_by_version(version: str, name: str) -> None:
    assert level_of(version).name == name


def test_a_builder_below_0_8_is_refused() -> None:
    with pytest.raises(SandboxError, match=r"0\.7 is too old"):
        level_of("v0.7.2")


def test_abilities_grow_with_the_version() -> None:
    oldest, younger, young = level_of((0, 8)), level_of((0, 9)), level_of((0, 10))
    assert [oldest.run_network, oldest.mount_words, oldest.tmpfs_size, oldest.firm_readonly] == [False] * 4
    assert [younger.run_network, younger.mount_words, younger.tmpfs_size] == [True, True, False]
    assert not younger.named_contexts
    assert [young.tmpfs_size, young.firm_readonly, young.named_contexts] == [True] * 3
