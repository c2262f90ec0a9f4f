"""The tail is the style: no file over 600 lines, no function over 80, nine of ten functions up to 35."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.unit.house.source_tree import ROOT, python_files

FILE_LINES = 600
FUNCTION_LINES = 80
FUNCTION_P90 = 35


def function_lengths(text: str, where: str) -> list[tuple[int, str]]:
    """Lines of every function, docstring and nested functions included, with its place."""
    return [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{where}:{node.lineno} {node.name}")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def percentile(values: list[int], share: float) -> int:
    """The value below which ``share`` of the sorted values lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def _lengths(*folders: str) -> list[tuple[int, str]]:
    return [
        length
        for path in python_files(*folders)
        for length in function_lengths(path.read_text(encoding="utf-8"), _name(path))
    ]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_longer_than_the_limit() -> None:
    lines = {_name(p): p.read_text(encoding="utf-8").count("\n") for p in python_files("src", "tests", "scripts")}
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def test_no_function_is_longer_than_the_limit() -> None:
    assert [entry for entry in _lengths("src", "tests", "scripts") if entry[0] > FUNCTION_LINES] == []


def test_nine_of_ten_functions_are_short() -> None:
    assert percentile([length for length, _ in _lengths("src")], 0.9) <= FUNCTION_P90


def test_lengths_count_docstrings_and_nested_functions() -> None:
    text = 'def outer():\n    """Says\n    what."""\n    def inner():\n        return 1\n    return inner\n'
    assert function_lengths(text, "x.py") == [(6, "x.py:1 outer"), (2, "x.py:4 inner")]


def test_percentile_of_ten_values() -> None:
    assert percentile(list(range(1, 11)), 0.9) == 10
    assert percentile([], 0.9) == 0
