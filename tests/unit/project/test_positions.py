"""Every key and value of a TOML text is found where it stands, whatever its notation."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.project.merge import plain_value
from lamella.project.positions import MAX_DEPTH
from lamella.project.toml import MAX_BYTES, Node, read_toml


@dataclass
class Writer:
    """Writes TOML and remembers where each key and value begins."""

    draw: st.DrawFn
    text: str = ""
    keys: dict[tuple[object, ...], int] = field(default_factory=dict)
    values: dict[tuple[object, ...], int] = field(default_factory=dict)

    def put(self, text: str) -> None:
        self.text += text

    def blank(self, *, lines: bool = False) -> None:
        choices = ["", " ", "\t"] + (["\n", "\r\n", " # a ] } = \" ' comment\n", "\n\n"] if lines else [])
        self.put(self.draw(st.sampled_from(choices)))

    def key(self, name: str) -> None:
        forms = [_basic(name)]
        if name and all(char.isascii() and (char.isalnum() or char in "-_") for char in name):
            forms.append(name)
        if "'" not in name and name.isprintable():
            forms.append(f"'{name}'")
        self.put(self.draw(st.sampled_from(forms)))

    def value(self, value: object, path: tuple[object, ...], depth: int = 0) -> None:
        self.values[path] = len(self.text.replace("\r\n", "\n"))
        if isinstance(value, dict):
            self.inline(value, path, depth)
        elif isinstance(value, list):
            self.array(value, path, depth)
        elif isinstance(value, str):
            self.put(self.draw(st.sampled_from(_spellings(value))))
        elif isinstance(value, bool):
            self.put(str(value).lower())
        else:
            self.put(str(value))

    def array(self, items: list[object], path: tuple[object, ...], depth: int) -> None:
        self.put("[")
        for index, item in enumerate(items):
            self.blank(lines=True)
            self.value(item, (*path, index), depth + 1)
            self.blank(lines=True)
            if index + 1 < len(items) or self.draw(st.booleans()):
                self.put(",")
        self.blank(lines=True)
        self.put("]")

    def inline(self, table: dict[str, object], path: tuple[object, ...], depth: int) -> None:
        self.put("{")
        for index, (name, item) in enumerate(table.items()):
            self.put(", " if index else " ")
            self.entry(name, item, path, depth)
        self.put(" }")

    def entry(self, name: str, value: object, path: tuple[object, ...], depth: int = 0) -> None:
        self.keys[(*path, name)] = len(self.text.replace("\r\n", "\n"))
        self.key(name)
        if isinstance(value, dict) and len(value) == 1 and self.draw(st.booleans()):
            self.put(" . ")
            ((inner, item),) = value.items()
            self.entry(inner, item, (*path, name), depth + 1)
            return
        self.blank()
        self.put("=")
        self.blank()
        self.value(value, (*path, name), depth)


def _basic(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'


def _spellings(text: str) -> list[str]:
    forms = [_basic(text), '"""' + _basic(text)[1:-1] + '"""']
    if "'" not in text and text.isprintable():
        forms += [f"'{text}'", f"'''{text}'''", f"'''\n{text}'''"]
    if text and text.isprintable() and not {'"', "\\"} & set(text):
        forms.append(f'"""\\\n   {text}"""' if text[0] not in " \t" else f'"""\n{text}"""')
    return forms


_TEXTS = st.text(alphabet=st.sampled_from("ab =[]{}#'\"\\,.\nüñ€😀\x07"), max_size=8)
_SCALARS = st.one_of(_TEXTS, st.integers(-5, 5), st.booleans(), st.sampled_from([1.5, -0.25]))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3), st.lists(_SCALARS, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def documents(draw: st.DrawFn) -> Writer:
    writer = Writer(draw)
    for name, value in draw(st.dictionaries(st.sampled_from("abcd"), _VALUES, max_size=3)).items():
        writer.blank(lines=True)
        writer.entry(name, value, ())
        writer.put("\n")
    for table in draw(st.lists(st.sampled_from(["t", "u", 'v."x.y"', "w.z"]), unique=True, max_size=3)):
        path = {"t": ("t",), "u": ("u",), 'v."x.y"': ("v", "x.y"), "w.z": ("w", "z")}[table]
        repeat = draw(st.integers(0, 2)) if table == "u" else 0
        for index in range(max(repeat, 1)):
            writer.blank(lines=True)
            writer.put(f"[[ {table} ]]\n" if repeat else f"[{table}] # header\n")
            inside = (*path, index) if repeat else path
            for name, value in draw(st.dictionaries(st.sampled_from("klm"), _VALUES, max_size=2)).items():
                writer.entry(name, value, inside)
                writer.put("\n")
    return writer


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _walk(node: Node, path: tuple[object, ...] = ()) -> dict[tuple[object, ...], Node]:
    found = {path: node}
    if isinstance(node.value, FrozenMap):
        for key, item in node.value.items():
            found |= _walk(item, (*path, key))
    elif isinstance(node.value, tuple):
        for index, item in enumerate(node.value):
            found |= _walk(item, (*path, index))
    return found


def _tuples(value: object) -> object:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


@given(documents())
def test_places_are_where_the_writer_put_them_and_values_are_those_of_tomllib(writer: Writer) -> None:
    node = read_toml(writer.text.encode(), file="x")
    assert plain_value(node) == _tuples(tomllib.loads(writer.text))
    found = _walk(node)
    text = writer.text.replace("\r\n", "\n")
    for path, offset in writer.values.items():
        assert (found[path].line, found[path].column) == _place(text, offset), path
    for path, offset in writer.keys.items():
        assert (found[path].key_line, found[path].key_column) == _place(text, offset), path


def test_headers_say_where_a_table_begins() -> None:
    root = read_toml(b"\n[a.b]\nx = 1\n\n  [[ c.'d e' ]]\ny = 2\n[[c.'d e']]\n[a]\nz = 3\n", file="x")
    a, c = root.value["a"], root.value["c"]
    assert (a.line, a.column, a.key_column) == (8, 1, 2)
    assert (a.value["b"].line, a.value["b"].key_column) == (2, 4)
    assert [item.line for item in c.value["d e"].value] == [5, 7]
    assert c.value["d e"].value[0].value["y"].line == 6


def test_dates_and_numbers_with_odd_spelling_do_not_confuse_what_follows() -> None:
    text = (
        b"a = 1979-05-27 07:32:00Z\nb = [0x1f, 1e3, inf, 1979-05-27 , 07:32:00]\n"
        b"c = { d = 2024-01-01, e = -nan }\nf = 1"
    )
    root = read_toml(text, file="x")
    assert [item.column for item in root.value["b"].value] == [6, 12, 17, 22, 35]
    assert root.value["c"].value["e"].column == 27
    assert root.value["f"].line == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a = 1\nb = 2\na = 3\n", "f:3:1: a is set twice, first in line 1"),
        (b"[x]\ny = 1\n[z]\n[x]\n", "f:4:2: x is set twice, first in line 1"),
        (b"[a.b]\nc = 1\n[a]\nb = 2\n", "f:4:1: b is set twice, first in line 1"),
        (b"a = { b = 1,\tb = 2 }", "f:1:14: b is set twice, first in line 1"),
        (b"[[a]]\nb = 1\n[[a]]\nb = 2\nb = 3", "f:5:1: b is set twice, first in line 4"),
        (b"a.b = 1\na.b = 2", "f:2:3: b is set twice, first in line 1"),
        (b"a = [1,\n", "f:2:1: not TOML: "),
        (b"a = 1 b", "f:1:7: not TOML: "),
        (b"\na = 'x\n", "f:3:1: not TOML: "),
        (b"a = 1\nb = '\xff'", "f:2:6: byte 0xff is not UTF-8"),
        (b"\xef\xbb\xbfa = 1", "f:1:1: the file begins with a byte-order mark"),
        (b'a = "\x07"', "f:1:6: not TOML: "),
        (b"a = " + b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "f:1:69: values are nested more than 64 deep"),
        (b"a = " + b"[" * 30_000, "f:1:1: values are nested too deeply"),
        (b".".join([b"a"] * 80) + b" = 1", "f:1:129: a key has more than 64 parts"),
    ],
)
def test_what_is_not_toml_says_where(text: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_toml(text, file="f")
    assert str(caught.value).startswith(expected)
    assert caught.value.exit_code == 2


def test_a_huge_file_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ConfigError, match="more than 8388608"):
        read_toml(b"#" * (MAX_BYTES + 1), file="f")
