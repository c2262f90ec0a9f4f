"""Values made to break what reads them later: refused with file, line and column, or kept as they are."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lamella.errors import ConfigError
from lamella.project.expand import expand
from lamella.project.formats import MAX_TEXT
from lamella.project.load import parse_project
from lamella.project.projectfile import ProjectFile
from lamella.project.select import select_cells
from lamella.project.spec import DefaultsSpec, RunSpec
from tests.unit.project.project_files import EXAMPLES, problems

PIECES = st.sampled_from(
    [
        "\n",
        "\r",
        "\t",
        '"',
        "'",
        "`",
        "$(id)",
        "${{ x }}",
        "\x00",
        "\x1b[2J",
        "\u202e",
        "\u2028",
        "{{",
        "}",
        "\\",
        " #",
        "a",
        "é",
    ]
)
HOSTILE = st.lists(PIECES, min_size=1, max_size=5).map("".join)
TEMPLATE = """[project]
schema = 1
name = "shop"
[args]
x = {plain}
[secrets]
s = {{ file = {plain} }}
[layer.base]
from = "debian"
advice = {plain}
env = {{ A = {plain} }}
[layer.step]
run = ["sh", "-c", {plain}]
[image.web]
layers = ["base", "step"]
cmd = [{plain}]
labels = {{ a = {plain} }}
[image.web.defaults]
file = "/d.yaml"
values = {{ a = {plain} }}
[check.c]
run = [{plain}]
"""
ALL_LINES = {5, 7, 10, 11, 13, 16, 17, 20, 22}
FREE_LINES = {10, 13, 16, 20, 22}  # line breaks and tabs may stand here


def attempt(data: bytes) -> ProjectFile | ConfigError:
    """The project, or why it is refused."""
    try:
        return parse_project(data, file="lamella.toml")
    except ConfigError as error:
        return error


def toml(text: str) -> str:
    """A basic string that says ``text``; JSON's escapes are TOML's, but for DEL and lone quotes of braces."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def document(text: str) -> bytes:
    """The file with ``text`` in every free string, its braces doubled so that they are no variables."""
    return TEMPLATE.format(plain=toml(text.replace("{", "{{").replace("}", "}}"))).encode()


@given(HOSTILE)
@example("\x00")
@example("a\nFROM evil")
@example("a\tb")
@example("$(id)`id`'\";{}")
def test_a_hostile_string_is_refused_with_its_place_or_kept(text: str) -> None:
    project = attempt(document(text))
    if isinstance(project, ConfigError):
        error = project
        assert error.exit_code == 2
        found = {item.line for item in error.problems}
        assert all(item.column > 0 and "control character U+" in item.message for item in error.problems)
        assert all(item.message.isprintable() for item in error.problems)
        assert found in (ALL_LINES, ALL_LINES - FREE_LINES)
        return
    cell = select_cells(project)[0].cell
    spec = expand(project, cell=cell)
    image = spec.image("web")
    assert project.args["x"] == text
    assert project.secrets["s"].file == text
    assert spec.layer("base").env["A"] == text
    assert spec.layer("base").advice == text
    assert spec.layer("step").spec == RunSpec((("sh", "-c", text),))
    assert (image.cmd, image.labels["a"]) == ((text,), text)
    assert isinstance(image.defaults, DefaultsSpec)
    assert image.defaults.values["a"] == text
    assert project.delivery.check["c"].run == ((text,),)


@given(st.sampled_from(["\n", "\t"]))
def test_line_breaks_stay_in_commands_and_values(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_project(document(f"a{text}b"), file="lamella.toml")
    assert FREE_LINES.isdisjoint(item.line for item in caught.value.problems)


@given(st.text(max_size=12))
def test_any_name_of_a_layer_is_a_name_or_refused(name: str) -> None:
    text = f'[project]\nschema = 1\nname = "shop"\n[layer.{toml(name)}]\nfrom = "a"\n'
    project = attempt(text.encode(errors="replace"))
    if isinstance(project, ConfigError):
        assert all(item.message.isprintable() for item in project.problems if "control" in item.message)
        assert {item.line for item in project.problems} <= {4}
    else:
        assert list(project.layers) == [name]


def test_a_string_of_a_mebibyte_is_refused_with_its_place() -> None:
    text = '[project]\nschema = 1\nname = "shop"\n[layer.a]\nfrom = "x"\nadvice = "' + "é" * 2**19 + '"\n'
    (problem,) = problems(text)
    assert problem == f"6:10: layer.a.advice: the string is longer than {MAX_TEXT} bytes"


def test_a_long_string_below_the_kernels_limit_is_kept() -> None:
    text = "x" * MAX_TEXT
    project = parse_project(document(text), file="lamella.toml")
    assert project.args["x"] == text


def test_a_value_with_thousands_of_problems_is_told_in_one_run() -> None:
    lines = "".join(f"[layer.l{index}]\nbogus = {index}\n" for index in range(2000))
    with pytest.raises(ConfigError) as caught:
        parse_project(f'[project]\nschema = 1\nname = "x"\n{lines}'.encode(), file="f")
    assert len(caught.value.problems) == 2000
    assert str(caught.value) == "2000 problems in the configuration"


VALUES = [
    "3",
    "true",
    '"x"',
    "[]",
    "{}",
    '["a"]',
    "{ a = 1 }",
    '[{ a = "b" }]',
    "1979-05-27",
    '"{version}"',
    '"{base.X}"',
]
WORDS = ["x", "dev", "base", "app", "when", "add", "cuda", "cargo", "layers", "needs"]


@settings(max_examples=150)
@given(st.sampled_from("ABCDE"), st.data())
def test_a_damaged_file_is_a_project_or_has_problems_with_places(letter: str, data: st.DataObject) -> None:
    (path,) = EXAMPLES.glob(f"{letter}-*.toml")
    lines = path.read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "value", "word"]))
        if change == "drop":
            del lines[at]
        elif change == "value" and "=" in lines[at]:
            lines[at] = lines[at].partition("=")[0] + "= " + data.draw(st.sampled_from(VALUES))
        elif words := re.findall(r"\w+", lines[at]):
            lines[at] = lines[at].replace(data.draw(st.sampled_from(words)), data.draw(st.sampled_from(WORDS)), 1)
    project = attempt("\n".join(lines).encode())
    if isinstance(project, ConfigError):
        assert project.problems
        assert all(item.line > 0 and item.column > 0 and item.message for item in project.problems)
    else:
        assert project.cells() or not project.images
