"""Globs of inputs."""

from __future__ import annotations

import pytest

from lamella.graph.patterns import compile_patterns, literal_prefix

CASES = [
    (("*.rs",), "a.rs", True),
    (("*.rs",), "src/a.rs", False),
    (("**/*.rs",), "a.rs", True),
    (("**/*.rs",), "x/y/a.rs", True),
    (("src/**",), "src/a/b", True),
    (("src/**",), "src", False),
    (("src",), "src/a/b", True),
    (("src/",), "src/a", True),
    (("./src",), "src/a", True),
    (("s?c",), "src", True),
    (("s?c",), "s/c", False),
    (("[ab].txt",), "a.txt", True),
    (("[!ab].txt",), "a.txt", False),
    (("[!ab].txt",), "c.txt", True),
    (("a[/]b",), "a/b", False),
    (("[",), "[", True),
    (("a.b",), "axb", False),
    (("a+(b)",), "a+(b)", True),
    (("**",), "any/thing", True),
    (("a/**/z",), "a/z", True),
    (("a/**/z",), "a/b/c/z", True),
    (("*", "!secret"), "secret", False),
    (("!secret", "*"), "secret", True),
    ((), "a", False),
]


@pytest.mark.parametrize(("patterns", "path", "expected"), CASES)
def test_globs_match_as_documented(patterns: tuple[str, ...], path: str, expected: bool) -> None:
    """``*`` stays in one part, ``**`` spans parts, the last match decides."""
    assert compile_patterns(patterns)(path) is expected


def test_literal_prefix_ends_at_the_first_wildcard() -> None:
    """Where a walk may start."""
    assert literal_prefix("a/b/*.rs") == "a/b"
    assert literal_prefix("**/x") == ""
    assert literal_prefix("!a/[bc]") == "a"
    assert literal_prefix("./a/b") == "a/b"
