"""Requirements and versions against the Cargo book's own tables."""

from __future__ import annotations

import pytest

from lamella.stacks.cargo.semver import parse_requirement, parse_version


@pytest.mark.parametrize(
    ("requirement", "inside", "outside"),
    [
        ("1.2.3", ("1.2.3", "1.9.0"), ("1.2.2", "2.0.0")),
        ("1.2", ("1.2.0", "1.9.0"), ("1.1.9", "2.0.0")),
        ("1", ("1.0.0", "1.9.0"), ("0.9.0", "2.0.0")),
        ("0.2.3", ("0.2.3", "0.2.9"), ("0.2.2", "0.3.0")),
        ("0.2", ("0.2.0", "0.2.9"), ("0.1.9", "0.3.0")),
        ("0.0.3", ("0.0.3",), ("0.0.2", "0.0.4")),
        ("0.0", ("0.0.0", "0.0.9"), ("0.1.0",)),
        ("0", ("0.0.0", "0.9.0"), ("1.0.0",)),
        ("^1.2.3", ("1.3.0",), ("2.0.0",)),
        ("~1.2.3", ("1.2.3", "1.2.9"), ("1.3.0",)),
        ("~1.2", ("1.2.0", "1.2.9"), ("1.3.0",)),
        ("~1", ("1.0.0", "1.9.0"), ("2.0.0",)),
        ("*", ("0.0.0", "9.0.0"), ()),
        ("1.*", ("1.0.0", "1.9.0"), ("2.0.0",)),
        ("1.2.*", ("1.2.0", "1.2.9"), ("1.3.0",)),
        (">=1.2.0", ("1.2.0", "9.0.0"), ("1.1.9",)),
        (">1", ("2.0.0",), ("1.9.0",)),
        ("> 1.2.3", ("1.2.4",), ("1.2.3",)),
        ("<2", ("1.9.0",), ("2.0.0",)),
        ("<=1.2", ("1.2.9",), ("1.3.0",)),
        ("=1.2.3", ("1.2.3", "1.2.3+build"), ("1.2.4",)),
        ("=1.2", ("1.2.0", "1.2.9"), ("1.3.0",)),
        (">=1.2, <1.5", ("1.2.0", "1.4.9"), ("1.1.0", "1.5.0")),
        ("1.0.0-rc.1", ("1.0.0-rc.1", "1.0.0-rc.2", "1.0.0", "1.1.0"), ("1.0.0-beta.1", "1.1.0-rc.1")),
        ("", ("0.0.1",), ("1.0.0-rc.1",)),
        ("1.0.0+meta", ("1.0.0", "1.1.0"), ("2.0.0",)),
    ],
)
def test_what_a_requirement_takes(requirement: str, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    parsed = parse_requirement(requirement)
    assert [text for text in inside if not parsed.matches(parse_version(text))] == []
    assert [text for text in outside if parsed.matches(parse_version(text))] == []


def test_precedence_is_that_of_semver_section_11() -> None:
    names = ("alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1")
    ordered = [*(f"1.0.0-{name}" for name in names), "1.0.0"]
    assert sorted(sorted(ordered), key=lambda text: parse_version(text).sort_key()) == ordered


@pytest.mark.parametrize("text", ["1.2", "v1.0.0", "1.0.0.0", "", "one"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no version"):
        parse_version(text)


@pytest.mark.parametrize("text", ["1.2.3.4", "latest", "^", "1..2"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no version requirement"):
        parse_requirement(text)
