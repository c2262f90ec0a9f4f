"""lamella.lock: what is written is read again, and what is no lock says how to repair it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import ConfigError
from lamella.graph.facts import Interpreter
from lamella.graph.op import Wheel
from lamella.project.lock import (
    EMPTY_LOCK,
    BasePin,
    BootstrapPin,
    Lock,
    ModelPin,
    PythonSet,
    ToolPin,
    parse_lock,
    render_lock,
)

D1, D2, D3 = (digest_bytes(text) for text in (b"1", b"2", b"3"))
PYTHON = Interpreter("python", "/usr/local/bin/python3.12", "3.12.4", "cpython-312")
NODE = Interpreter("node", "/usr/bin/node", "22.1.0")
WHEELS = (
    Wheel("numpy", "2.1.0", "numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl", D1[7:], "https://w.example/n.whl", 7),
    Wheel("torch", "2.4.0+cpu", "torch-2.4.0+cpu-cp312-cp312-linux_x86_64.whl", D2[7:]),
)
FULL = Lock(
    bases=FrozenMap(
        {
            "python:3.12": BasePin(
                D1,
                FrozenMap({"linux/arm64": D3, "linux/amd64": D2}),
                "debian",
                FrozenMap({"linux/amd64": (PYTHON, NODE), "linux/arm64": (PYTHON,)}),
                FrozenMap({"PATH": "/usr/local/bin:/usr/bin", "lock": "ü"}),
            ),
            "debian:bookworm-slim": BasePin(D2, FrozenMap({"linux/amd64": D1}), "debian"),
        }
    ),
    bootstraps=FrozenMap(
        {
            "debian/bookworm": BootstrapPin(snapshot="20260101T000000Z"),
            "debian/trixie": BootstrapPin("https://m.example"),
        }
    ),
    python=(PythonSet("deps", "", D2, ()), PythonSet("ml", "accelerator=cpu", D1, WHEELS)),
    tools=FrozenMap({"cargo-deny": ToolPin("0.16.1", D3[7:]), "sqlx-cli": ToolPin("0.8")}),
    models=FrozenMap({"acme/small": ModelPin("c0ffee", "main", FrozenMap({"model.onnx": D1[7:]}))}),
)


def broken(change: object, *path: str | int) -> str:
    """The message for the full lock with one value changed (an Ellipsis takes it out)."""
    document = json.loads(render_lock(FULL))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if change is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = change
    with pytest.raises(ConfigError) as caught:
        parse_lock(json.dumps(document).encode(), file="lamella.lock")
    assert "lamella lock" in caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("lock", [FULL, EMPTY_LOCK, Lock(tools=FULL.tools)])
def test_what_is_written_is_read_again(lock: Lock) -> None:
    data = render_lock(lock)
    assert parse_lock(data, file="lamella.lock") == lock
    assert render_lock(parse_lock(data, file="lamella.lock")) == data


def test_equal_locks_are_equal_bytes_whatever_order_they_were_made_in() -> None:
    other = Lock(
        bases=FrozenMap(dict(reversed(list(FULL.bases.items())))),
        bootstraps=FrozenMap(dict(reversed(list(FULL.bootstraps.items())))),
        python=(PythonSet("ml", "accelerator=cpu", D1, WHEELS[::-1]), PythonSet("deps", "", D2, ())),
        tools=FrozenMap(dict(reversed(list(FULL.tools.items())))),
        models=FULL.models,
    )
    assert render_lock(other) == render_lock(FULL)


def test_a_changed_wheel_is_one_changed_line() -> None:
    newer = Wheel("numpy", "2.1.1", "numpy-2.1.1-cp312-cp312-manylinux_2_17_x86_64.whl", D3[7:])
    other = Lock(python=(PythonSet("ml", "x", D1, (newer, WHEELS[1])),))
    lines = [render_lock(lock).splitlines() for lock in (Lock(python=(PythonSet("ml", "x", D1, WHEELS),)), other)]
    assert len(lines[0]) == len(lines[1])
    assert sum(a != b for a, b in zip(*lines, strict=True)) == 1
    assert lines[0][1] == b'  "lock": 1,'


def test_questions_to_a_lock() -> None:
    assert FULL.python_set(D1) == WHEELS
    assert FULL.python_set(D3) is None
    assert [item.variant for item in FULL.python_sets_of("ml")] == ["accelerator=cpu"]
    assert FULL.python_sets_of("nope") == ()
    assert FULL.interpreters("python", "linux/amd64") == (PYTHON,)
    assert FULL.interpreters("python", "linux/s390x") == ()
    assert FULL.interpreters("node", "linux/amd64") == (NODE,)


def test_a_newer_lock_is_refused_and_names_the_command() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_lock(b'{"lock": 2, "new": []}', file="lamella.lock")
    assert str(caught.value) == "lamella.lock: the lock has version 2, this Lamella knows 1"
    assert "lamella lock" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"lock": "1"}', b'{"lock": 0}', b'{"lock": true}', b"3"])
def test_a_document_that_is_no_lock(data: bytes) -> None:
    with pytest.raises(ConfigError, match='does not say "lock": 1'):
        parse_lock(data, file="lamella.lock")


def test_a_lock_with_marks_of_a_conflict_says_so() -> None:
    data = render_lock(FULL).replace(b'  "lock": 1,\n', b'  "lock": 1,\n<<<<<<< ours\n')
    with pytest.raises(ConfigError) as caught:
        parse_lock(data, file="lamella.lock")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (3, 1)
    assert problem.hint.startswith("it has marks of a merge conflict")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"lock": 1, "lock": 1}', "'lock' is written twice"),
        (b'{"lock": 1, "tools": {"a": 1.5}}', "1.5 is not a whole number"),
        (b'{"lock": 1, "x": "\xff"}', "utf-8"),
        (b'{"lock": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_cannot_be_taken(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_lock(data, file="lamella.lock")


@pytest.mark.parametrize(
    ("path", "change", "expected"),
    [
        (("new",), 1, "new is not a key this version knows"),
        (("bases",), [], "bases is not an object"),
        (("bases", "python:3.12"), 3, "bases.python:3.12 is not an object"),
        (("bases", "python:3.12", "index"), "sha256:../x", "bases.python:3.12.index is not a digest"),
        (("bases", "python:3.12", "index"), ..., "bases.python:3.12.index is missing"),
        (("bases", "python:3.12", "manifests", "linux/amd64"), "x", "3.12.manifests.linux/amd64 is not a digest"),
        (("bases", "python:3.12", "env", "A"), 3, "bases.python:3.12.env.A is not a string of one line"),
        (("bases", "python:3.12", "env", "A"), "a\nb", "bases.python:3.12.env.A is not a string of one line"),
        (("bases", "python:3.12", "env", "a\n"), "b", "bases.python:3.12.env has the name 'a\\n'"),
        (("bases", "python:3.12", "interpreters", "linux/amd64"), {}, "interpreters.linux/amd64 is not an array"),
        (("python",), {}, "python is not an array"),
        (("python", 1, "layer"), "", "python[1].layer is not a string"),
        (("python", 1, "request"), "x", "python[1].request is not a digest"),
        (("python", 1, "wheels", 0, "filename"), "../x.whl", "python[1].wheels[0].filename is not a plain file name"),
        (("python", 1, "wheels", 0, "filename"), "-x.whl", "python[1].wheels[0].filename is not a plain file name"),
        (("python", 1, "wheels", 0, "sha256"), "A" * 64, "python[1].wheels[0].sha256 is not 64 lower-case hex digits"),
        (("python", 1, "wheels", 0, "url"), "javascript:x", "python[1].wheels[0].url is not a URL"),
        (("python", 1, "wheels", 0, "size"), -1, "python[1].wheels[0].size is not a size in bytes"),
        (("python", 1, "wheels", 0, "size"), True, "python[1].wheels[0].size is not a size in bytes"),
        (("python", 1, "wheels", 0, "name"), "a\u202e", "python[1].wheels[0].name holds a control character"),
        (("tools", "sqlx-cli", "version"), 8, "tools.sqlx-cli.version is not a string"),
        (("tools", "sqlx-cli", "sha"), "x", "tools.sqlx-cli.sha is not a key this version knows"),
        (("models", "acme/small", "commit"), ..., "models.acme/small.commit is missing"),
    ],
)
def test_a_value_that_is_not_what_it_should_be(path: tuple[str | int, ...], change: object, expected: str) -> None:
    assert expected in broken(change, *path)


_WORDS = st.text(min_size=1, max_size=6).filter(lambda text: text.isprintable())


@given(
    st.dictionaries(_WORDS, st.builds(ToolPin, _WORDS)), st.dictionaries(_WORDS, st.builds(ModelPin, _WORDS, _WORDS))
)
def test_any_names_survive(tools: dict[str, ToolPin], models: dict[str, ModelPin]) -> None:
    lock = Lock(tools=FrozenMap(tools), models=FrozenMap(models))
    assert parse_lock(render_lock(lock), file="x") == lock
