"""Ranges as npm reads them; the rows are from node-semver's documentation and its edge cases."""

from __future__ import annotations

import pytest

from lamella.stacks.node.semver import is_range, parse_version, satisfies

ROWS = [
    ("1.2.3", "1.2.3", True),
    ("1.2.4", "1.2.3", False),
    ("1.2.3", "v1.2.3", True),
    ("1.9.0", "^1.2.3", True),
    ("2.0.0", "^1.2.3", False),
    ("0.2.9", "^0.2.3", True),
    ("0.3.0", "^0.2.3", False),
    ("0.0.3", "^0.0.3", True),
    ("0.0.4", "^0.0.3", False),
    ("0.1.0", "^0.0", False),
    ("0.9.0", "^0.x", True),
    ("1.2.9", "~1.2.3", True),
    ("1.3.0", "~1.2.3", False),
    ("1.9.9", "~1", True),
    ("2.0.0", "~1", False),
    ("1.5.0", "1.2 - 2.3", True),
    ("2.3.9", "1.2 - 2.3", True),
    ("2.4.0", "1.2 - 2.3", False),
    ("2.3.4", "1.2.3 - 2.3.4", True),
    ("2.3.5", "1.2.3 - 2.3.4", False),
    ("5.0.0", "*", True),
    ("5.0.0", "", True),
    ("1.7.0", "1.x", True),
    ("2.0.0", "1.X", False),
    ("1.2.0", ">=1.2 <2", True),
    ("2.0.0", ">=1.2 <2", False),
    ("20.19.2", ">= 18", True),
    ("20.19.2", "^18 || ^20", True),
    ("21.0.0", "^18 || ^20", False),
    ("1.3.0", ">1.2", True),
    ("1.2.9", ">1.2", False),
    ("1.2.9", "<=1.2", True),
    ("1.2.3-beta.1", "^1.2.3-alpha", True),
    ("1.2.4-beta.1", "^1.2.3-alpha", False),
    ("2.0.0-rc.1", "^1.2.3", False),
    ("1.2.3", "^1.2.3-alpha", True),
    ("1.2.3-alpha.10", ">1.2.3-alpha.9", True),
    ("1.2.3+build", "1.2.3", True),
]


@pytest.mark.parametrize(("version", "text", "expected"), ROWS)
def test_a_version_lies_in_a_range(version: str, text: str, expected: bool) -> None:
    assert satisfies(version, text) is expected


@pytest.mark.parametrize("text", ["latest", "file:../x", "npm:other@1", "git+https://x/y", "workspace:^", "1.2.3.4"])
def test_what_is_no_range_is_not_taken_for_one(text: str) -> None:
    assert not is_range(text)
    assert satisfies("1.2.3", text) is None


@pytest.mark.parametrize("text", ["1.2", "x", "", "1.2.3.4", "one"])
def test_what_is_no_version_is_not_taken_for_one(text: str) -> None:
    assert parse_version(text) is None
