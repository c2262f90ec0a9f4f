"""Values go in, their own readers get the same values out; what has no place in a file is refused with exit 9."""

from __future__ import annotations

import io
import json
import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lamella.canonical import FrozenMap
from lamella.eject.dockerfile_text import instruction_lines, stage_lines
from lamella.eject.hcl import Template, block_lines, hcl_text
from lamella.eject.make_text import make_target, make_word, script_word
from lamella.eject.text import check_text, wrapped
from lamella.eject.values import (
    Add,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Health,
    Inline,
    Label,
    Mount,
    Prefixed,
    Remark,
    Run,
    Script,
    Stage,
    User,
    Workdir,
)
from lamella.eject.yaml_text import CWD_MARK, UID_MARK, yaml_text
from lamella.errors import HostileInputError
from lamella.oci.config import Healthcheck

TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30)
"""Everything that may stand on a line."""

NASTY = [
    "",
    " ",
    "a b",
    "$HOME",
    "${X}",
    "a\\",
    '"',
    "'",
    "`id`",
    "#no",
    "a=b",
    "$$",
    "%{x}",
    "<<EOF",
    "-",
    "é",
    "*",
    "[a]",
]


def unquoted(word: str) -> str:
    """A word of ENV or LABEL as BuildKit reads it (frontend/dockerfile/shell): quotes go, escapes are resolved."""
    out, inside, position = "", False, 0
    while position < len(word):
        char = word[position]
        if char == '"':
            inside = not inside
        elif char == "\\":
            position += 1
            out += word[position]
        else:
            assert char != "$", "an unescaped dollar would be expanded"
            assert inside or char not in " '\t", "an unquoted space would end the word"
            out += char
        position += 1
    assert not inside
    return out


@given(TEXT)
def test_a_value_of_env_reads_back(value: str) -> None:
    (line,) = instruction_lines(Env(FrozenMap({"A": value})), {})
    assert unquoted(line.removeprefix("ENV A=")) == value


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("word", ["WORKDIR", "USER"])
def test_a_single_value_reads_back(word: str, value: str) -> None:
    (line,) = instruction_lines(Workdir(value) if word == "WORKDIR" else User(value), {})
    assert unquoted(line.removeprefix(f"{word} ")) == value


@given(TEXT, TEXT)
def test_a_label_reads_back(name: str, value: str) -> None:
    item = Label(FrozenMap({name: value}))
    if not name or "=" in name:
        with pytest.raises(HostileInputError):
            instruction_lines(item, {})
        return
    (line,) = instruction_lines(item, {})
    written, _, rest = line.removeprefix("LABEL ").partition("=")
    assert (unquoted(written), unquoted(rest)) == (name, value)


def test_several_values_stand_on_lines_of_their_own() -> None:
    lines = instruction_lines(Env(FrozenMap({"A": "1", "B": "2", "PATH": Prefixed("/opt/a b")})), {})
    assert lines == ["ENV A=1 \\", "    B=2 \\", '    PATH="/opt/a b:${PATH}"']


@given(st.lists(st.text(max_size=20).filter(lambda text: text.isprintable() or text in "\t\n"), min_size=1, max_size=4))
def test_exec_form_reads_back(argv: list[str]) -> None:
    for item in (Entrypoint(tuple(argv)), Cmd(tuple(argv))):
        (line,) = instruction_lines(item, {})
        assert json.loads(line.partition(" ")[2]) == argv


@given(st.lists(TEXT.filter(bool), min_size=1, max_size=6))
def test_a_command_of_run_reads_back(argv: list[str]) -> None:
    lines = instruction_lines(Run((tuple(argv),)), {})
    text = " ".join(line.removesuffix(" \\") for line in lines).removeprefix("RUN ")
    assert shlex.split(text) == argv or text.startswith(("rm ", "dnf ", "zypper "))
    assert not any(line.lstrip().startswith("#") for line in lines), "a line like that would be taken for a comment"


def test_a_command_of_several_lines_is_written_in_exec_form() -> None:
    (line,) = instruction_lines(Run((("bash", "-c", "a\n\tb"),)), {})
    assert json.loads(line.removeprefix("RUN ")) == ["bash", "-c", "a\n\tb"]


def test_a_script_of_the_project_stays_one_word() -> None:
    """``cd`` or ``||`` in it must not act on the commands around it."""
    lines = instruction_lines(Run((("sh", "-c", "cd /x || exit 0"), ("make",))), {})
    assert lines == ["RUN sh -c 'cd /x || exit 0' \\", " && make"]


def test_mounts_and_variables_come_before_the_commands() -> None:
    mount = Mount((("type", "cache"), ("id", "a-${TARGETARCH}"), ("target", "/c")))
    secret = Mount((("type", "secret"), ("id", "s"), ("required", "")))
    item = Run((("make",), Script("a | b")), (mount, secret), FrozenMap({"X": "a b"}), "none")
    assert instruction_lines(item, {}) == [
        "RUN --network=none \\",
        "    --mount=type=cache,id=a-${TARGETARCH},target=/c \\",
        "    --mount=type=secret,id=s,required \\",
        "    export X='a b' \\",
        " && make \\",
        " && a | b",
    ]


@pytest.mark.parametrize("value", ["a,b", "a b", "$X", 'a"b'])
def test_a_mount_that_cannot_be_written_is_refused(value: str) -> None:
    item = Run((("make",),), (Mount((("type", "bind"), ("target", value))),))
    with pytest.raises(HostileInputError, match="of a mount"):
        instruction_lines(item, {})


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("a", "COPY a /t/"),
        ("a b", 'COPY ["a b", "/t/"]'),
        ("a[x]", 'COPY ["a[[]x]", "/t/"]'),
        ("$x", 'COPY ["\\\\$x", "/t/"]'),
        ("a'b", 'COPY ["a\\\\\'b", "/t/"]'),
    ],
)
def test_a_source_of_copy_stands_for_itself(source: str, written: str) -> None:
    assert instruction_lines(Copy((source,), "/t/"), {}) == [written]


@pytest.mark.parametrize("source", ["a*", "a?", "a\\b"])
def test_a_source_of_copy_that_has_no_spelling_is_refused(source: str) -> None:
    with pytest.raises(HostileInputError, match="cannot take literally"):
        instruction_lines(Copy((source,), "/t/"), {})


def test_a_copy_has_its_flags() -> None:
    item = Copy(("/out/a",), "/bin/a", 3, link=True, chown="1:2", chmod="0755")
    assert instruction_lines(item, {3: "build"}) == ["COPY --link --chown=1:2 --chmod=0755 --from=build /out/a /bin/a"]


def test_a_here_document_holds_its_text_as_it_is() -> None:
    lines = instruction_lines(Inline("a: $x\nEOF\n", "/etc/a.yaml"), {})
    assert lines == ["COPY <<'END' /etc/a.yaml", "a: $x", "EOF", "END"]


def test_a_download_needs_a_checksum() -> None:
    with pytest.raises(HostileInputError, match="no sha256"):
        instruction_lines(Add("https://example.test/a", "", "/a"), {})
    (line,) = instruction_lines(Add("https://example.test/a?b=$c", "0" * 64, "/a"), {})
    assert json.loads(line.partition("[")[1] + line.partition("[")[2]) == ["https://example.test/a?b=\\$c", "/a"]


def test_a_health_check_has_its_times() -> None:
    check = Healthcheck(("CMD", "a", "b c"), 10_000_000_000, 500, 0, 3)
    assert instruction_lines(Health(check), {}) == [
        "HEALTHCHECK --interval=10s --timeout=500ns --retries=3 \\",
        '  CMD ["a", "b c"]',
    ]


@pytest.mark.parametrize("base", ["a b", "a\nRUN x", "$BASE", ""])
def test_a_base_must_be_a_reference(base: str) -> None:
    with pytest.raises(HostileInputError):
        stage_lines(Stage(base), "x", {})


# ---- other files -----------------------------------------------------------------------------------------------------


@given(TEXT)
def test_a_text_of_hcl_reads_back(value: str) -> None:
    text = hcl_text(value)
    body = text[1:-1].replace("$${", "${").replace("%%{", "%{")
    assert re.sub(r"\\(.)", r"\1", body) == value
    assert not re.search(r'(?<!\\)(?:\\\\)*"', text[1:-1])
    assert not re.search(r"(?<!\$)\$\{|(?<!%)%\{", text[1:-1])


def test_a_variable_of_hcl_stands_between_its_parts() -> None:
    lines = block_lines("target", "a", {"tags": [Template(("x:", "-${y}"), "VERSION")]})
    assert lines == ['target "a" {', '  tags = ["x:${VERSION}-$${y}"]', "}"]
    with pytest.raises(HostileInputError):
        block_lines("target", "a", {"tags": Template(("x$", ""), "VERSION")})


YAML_VALUE = st.recursive(
    st.booleans()
    | st.integers(-9, 9)
    | TEXT
    | st.sampled_from(["on", "1e3", "null", "~", "12:30", "0x1f", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner),
    max_leaves=8,
)


@given(YAML_VALUE, st.sampled_from([(1, 1), (1, 2)]))
def test_a_compose_value_reads_back(value: Any, version: tuple[int, int]) -> None:
    """By readers of both versions of YAML, and after Compose has replaced ``$$``."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    assert _interpolated(yaml.load(io.StringIO(yaml_text({"value": value})))) == {"value": value}


def _interpolated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item) for item in value]
    if isinstance(value, str):
        assert not re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", value), "Compose would look for a variable"
        return value.replace("$$", "$")
    return value


def test_marks_become_variables_of_compose() -> None:
    assert yaml_text({"a": f"{CWD_MARK}/x:{UID_MARK}"}) == 'a: "${PWD}/x:${UID:-1000}"\n'


@given(TEXT)
def test_a_word_of_a_script_reads_back(value: str) -> None:
    assert shlex.split(script_word(value)) == [value]
    assert shlex.split(make_word(value).replace("$$", "$")) == [value]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "%", "$(x)", ".hidden", "a=b"])
def test_a_rule_of_make_has_a_plain_name(name: str) -> None:
    with pytest.raises(HostileInputError):
        make_target(name)


# ---- control characters ----------------------------------------------------------------------------------------------

CONTROL = ["\x00", "\x07", "\x1b", "\r", "\x0b", "\x7f", "\x85", "\u2028"]


@pytest.mark.parametrize("char", [*CONTROL, "\n", "\t"])
@pytest.mark.parametrize(
    "write",
    [
        lambda text: instruction_lines(Env(FrozenMap({"A": text})), {}),
        lambda text: instruction_lines(Label(FrozenMap({text: "a"})), {}),
        lambda text: instruction_lines(Workdir(text), {}),
        lambda text: instruction_lines(Copy((text,), "/a"), {}),
        lambda text: instruction_lines(Copy(("a",), text), {}),
        lambda text: instruction_lines(Run((("a", text), ("b",))), {}),
        lambda text: instruction_lines(Run((Script(text),)), {}),
        hcl_text,
        make_word,
        script_word,
    ],
)
def test_control_characters_are_refused(write: Any, char: str) -> None:
    with pytest.raises(HostileInputError, match=f"U\\+{ord(char):04X}") as caught:
        write(f"a{char}b")
    assert caught.value.exit_code == 9


@pytest.mark.parametrize("char", CONTROL)
@pytest.mark.parametrize(
    "write",
    [
        lambda text: instruction_lines(Entrypoint((text,)), {}),
        lambda text: instruction_lines(Remark(text), {}),
        lambda text: instruction_lines(Inline(f"{text}\n", "/a"), {}),
        lambda text: yaml_text({"a": text}),
    ],
)
def test_only_line_breaks_and_tabs_have_an_escape(write: Any, char: str) -> None:
    write("a\tb")
    with pytest.raises(HostileInputError):
        write(f"a{char}b")


def test_half_a_character_is_refused() -> None:
    with pytest.raises(HostileInputError, match="no valid Unicode"):
        check_text("a\ud800", "here")


def test_a_remark_cannot_end() -> None:
    """Every line of it has the mark, so that none becomes an instruction."""
    assert wrapped("one\nRUN rm -rf /\n  kept  as it is") == ["# one", "# RUN rm -rf /", "#   kept  as it is"]
    assert all(len(line) <= 110 for line in wrapped("word " * 60))
