"""Values become Dockerfile text and are read back as they were."""

from __future__ import annotations

import itertools
import json

import pytest

from lamella.engines.buildkit.dockerfile import Add, Copy, From, MountOption, Run, User, Workdir, dockerfile_text
from lamella.engines.buildkit.levels import Level
from lamella.errors import HostileInputError, SandboxError
from tests.unit.engines.buildkit.reader import read_flags, read_mount, read_word
from tests.unit.engines.buildkit.sample import L0, L1, LEVELS

PIECES = ("a", " ", "'", '"', "\\", "$x", "${HOME}", ",", "=", ";", "#", "`", "<<E", "--", "[", "]", "*", "%", "\t")
ODD = tuple("/p/" + "".join(pieces) + "z" for pieces in itertools.product(PIECES, repeat=2) if "\t" not in pieces)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("level", [L0, L1], ids=["L0", "L1"])
def test_mounts_are_read_as_they_were_meant(level: Level) -> None:
    for path in ODD:
        mount = MountOption((("type", "bind"), ("from", "s-1"), ("source", path), ("target", path), ("rw", None)))
        text = dockerfile_text((Run(("/bin/sh", "/s"), (mount, mount), "none"),), level)
        (line,) = _lines(text)
        flags, rest = read_flags(line.removeprefix("RUN"))
        assert flags[0] == "--network=none"
        for flag in flags[1:]:
            options = read_mount(flag, words=level.mount_words)
            assert options == {"type": "bind", "from": "s-1", "source": path, "target": path, "rw": ""}
        assert json.loads(rest) == ["/bin/sh", "/s"]


def test_paths_of_add_and_copy_are_read_as_they_were_meant() -> None:
    for path in (path for path in ODD if not set(path) & set("*[\\")):
        add, copy = _lines(dockerfile_text((Add(path, "/"), Copy("s-1", path, "/")), L1))
        assert read_word(json.loads(add.removeprefix("ADD"))[0]) == path
        assert copy.startswith("COPY --from=s-1 [")
        assert read_word(json.loads(copy.removeprefix("COPY --from=s-1"))[0]) == path


@pytest.mark.parametrize("path", ["a*", "a?b", "[x]", "a\\b"])
def test_a_path_that_would_be_a_pattern_is_refused(path: str) -> None:
    for instruction in (Add(path, "/"), Copy("", path, "/")):
        with pytest.raises(HostileInputError, match="is a pattern"):
            dockerfile_text((instruction,), L1)


@pytest.mark.parametrize("char", ["\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\udcff", "\t"])
def test_control_characters_are_refused(char: str) -> None:
    mount = MountOption((("type", "bind"), ("source", f"a{char}RUN evil"), ("target", "/t")))
    with pytest.raises((HostileInputError, SandboxError)) as caught:
        dockerfile_text((Run(("/bin/sh",), (mount,)),), L1)
    assert caught.value.exit_code in (8, 9)
    assert caught.value.exit_code == (8 if char in "\x85\u2028\udcff" else 9)


@pytest.mark.parametrize("value", ["s\nRUN x", "S", "", "a b", "../x", "s AS t"])
def test_stage_names_are_ours_alone(value: str) -> None:
    with pytest.raises(HostileInputError, match="stage"):
        dockerfile_text((From("scratch", value),), L1)


@pytest.mark.parametrize("value", ["", "a b", "$X", "root\nRUN x", "-u", "a:b:c", 'a"b'])
def test_users_are_names_or_numbers(value: str) -> None:
    with pytest.raises(HostileInputError, match="user"):
        dockerfile_text((User(value),), L1)


@pytest.mark.parametrize("value", ["0:0", "1000", "node", "www-data:www-data"])
def test_ordinary_users_stand_as_they_are(value: str) -> None:
    assert _lines(dockerfile_text((User(value),), L1)) == [f"USER {value}"]


@pytest.mark.parametrize("base", ["x y", "${BASE}", "a\nb", "--platform=x", ""])
def test_a_base_is_a_reference(base: str) -> None:
    with pytest.raises(HostileInputError, match="base image"):
        dockerfile_text((From(base, "s"),), L1)


def test_letters_beyond_ascii_in_mounts_are_refused_because_buildkit_reads_bytes() -> None:
    mount = MountOption((("type", "bind"), ("source", "größe"), ("target", "/lamella/src/größe")))
    with pytest.raises(SandboxError, match=r"/lamella/src/größe.*only ASCII"):
        dockerfile_text((Run(("/bin/sh",), (mount,)),), L1)


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS.keys())
def test_no_other_front_end_is_ever_asked_for(level: Level) -> None:
    text = dockerfile_text((From("scratch", "s"), Workdir("/")), level)
    first = text.splitlines()[0]
    assert first.startswith("#")
    assert "=" not in first, "a comment with '=' would be a parser directive (syntax, escape, check)"
