"""What cargo, uv and npm say about newer versions, read."""

from __future__ import annotations

import json

import pytest

from lamella.api.outdated import newer_crates, newer_npm, newer_wheels, npm_locked
from lamella.errors import ConfigError


def test_crates() -> None:
    said = """    Updating crates.io index
     Locking 2 packages to latest compatible versions
    Updating itoa v1.0.5 -> v1.0.18
    Updating shop-core v0.1.0 (https://git.example/core#0a1b2c3d) -> #4e5f6a7b
      Adding ryu v1.0.2
warning: not updating lockfile due to dry run
"""
    assert newer_crates(said) == [("itoa", "1.0.5", "1.0.18"), ("shop-core", "0.1.0", "#4e5f6a7b")]


def test_wheels() -> None:
    said = "Using CPython 3.11.7\nResolved 3 packages in 95ms\nUpdate six v1.16.0 -> v1.17.0\nAdd idna v3.0\n"
    assert newer_wheels(said) == [("six", "1.16.0", "1.17.0")]


LOCK = {
    "packages": {
        "": {"name": "a", "version": "1.0.0"},
        "node_modules/is-odd": {"version": "2.0.0"},
        "node_modules/is-number": {"version": "7.0.0"},
        "node_modules/is-odd/node_modules/is-number": {"version": "4.0.0"},
    }
}


def test_npm_is_compared_with_the_lock_and_not_with_what_is_installed() -> None:
    locked = npm_locked(json.dumps(LOCK).encode())
    assert locked == {"is-odd": "2.0.0", "is-number": "7.0.0"}
    said = {
        "is-number": {"wanted": "7.0.0", "latest": "7.0.0", "dependent": "a"},
        "is-odd": {"wanted": "2.0.1", "latest": "3.0.1", "dependent": "a"},
        "left-pad": {"wanted": "1.3.0", "latest": "1.3.0"},
    }
    assert newer_npm(json.dumps(said).encode(), locked) == [("is-odd", "2.0.0", "2.0.1")]
    assert newer_npm(b"", locked) == []


@pytest.mark.parametrize("data", [b"<html>", b'{"error": {"code": "ENOTFOUND"}}', b"[]"])
def test_what_npm_cannot_say_is_no_answer(data: bytes) -> None:
    with pytest.raises(ConfigError):
        newer_npm(data, {})
