"""What is ejected of both examples and of the five schema examples, as people would read it."""

from __future__ import annotations

import pytest

from tests.unit.eject.projects import GOLDEN, golden_cases, texts

CASES = golden_cases()


@pytest.mark.parametrize("case", CASES)
def test_the_texts_are_the_expected_ones(case: str) -> None:
    """When a change is meant: python -m tests.unit.eject.projects, and read the difference."""
    written = texts(*CASES[case])
    assert set(written) == {path.name for path in (GOLDEN / case).iterdir()}
    for name, text in written.items():
        assert text == (GOLDEN / case / name).read_text(encoding="utf-8"), name


def test_every_folder_of_texts_has_a_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_the_same_project_gives_the_same_bytes(case: str) -> None:
    assert texts(*CASES[case]) == texts(*CASES[case])
