from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.graph.patterns import compile_patterns
from lamella.sources.selection import Coverage, Selector

PARTS = ["a", "b", "ab", "a", "b", "*", "**", "?", "[ab]", "[!a]", "a*", "*b", "**b", "a**", ".", ".x", "", "a."]
GLOBS = st.builds(
    lambda mark, lead, parts, tail: f"{mark}{lead}{'/'.join(parts)}{tail}",
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/", "./"]),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "c", ".x", "a."]), min_size=1, max_size=4).map("/".join)


def selects(selector: Selector, path: str) -> bool:
    """What a walk from the top down finds out about one file."""
    directory, _, name = path.rpartition("/")
    parts = directory.split("/") if directory else []
    for depth in range(len(parts) + 1):
        above = "/".join(parts[:depth])
        coverage = selector.coverage(above)
        if coverage is not Coverage.SOME:
            return coverage is Coverage.ALL
        leads = selector.leads(above)
        if depth < len(parts) and leads is not None and parts[depth] not in leads:
            return False
    return selector.files(directory, [name]) == [0]


@given(st.lists(GLOBS, min_size=1, max_size=5).map(tuple), st.lists(PATHS, min_size=1, max_size=8))
def test_whole_directories_are_decided_as_each_file_would_be(patterns: tuple[str, ...], paths: list[str]) -> None:
    selector, matches = Selector(patterns), compile_patterns(patterns)
    assert [selects(selector, path) for path in paths] == [matches(path) for path in paths]


@pytest.mark.parametrize(
    ("patterns", "directory", "coverage"),
    [
        (("**",), "", Coverage.ALL),
        (("crates/a",), "", Coverage.SOME),
        (("crates/a",), "crates/a", Coverage.ALL),
        (("crates/a/**",), "crates/a/src", Coverage.ALL),
        (("crates/a/**",), "crates/b", Coverage.NONE),
        (("crates/a/**", "!crates/a/target"), "crates/a", Coverage.SOME),
        (("crates/a/**", "!crates/a/target"), "crates/a/target", Coverage.NONE),
        (("*.md",), "docs", Coverage.NONE),
        (("**/*.md",), "docs", Coverage.SOME),
        ((), "", Coverage.NONE),
        (("!a",), "", Coverage.NONE),
    ],
)
def test_coverage(patterns: tuple[str, ...], directory: str, coverage: Coverage) -> None:
    assert Selector(patterns).coverage(directory) is coverage
