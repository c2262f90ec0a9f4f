"""What is read of Dockerfiles, and what is rather left out than guessed."""

from __future__ import annotations

import pytest

from lamella.sources.dockerfile import Copied, DockerfileFacts, read_dockerfile


def facts(text: str) -> DockerfileFacts:
    return read_dockerfile(text.encode())


def test_the_last_stage_counts_with_what_it_stands_on() -> None:
    found = facts(
        "FROM debian:bookworm-slim AS base\nUSER app\nEXPOSE 80\nENV A=1\n"
        "FROM rust:1 AS build\nUSER builder\nEXPOSE 9999\nRUN apt-get install -y clang\n"
        "FROM base\nEXPOSE 8080/tcp 53/udp\nENV B=$A\n"
    )
    assert (found.base, found.user, found.ports) == ("debian:bookworm-slim", "app", (80, 8080))
    assert dict(found.env) == {"A": "1", "B": "1"}
    assert found.apt == ()


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("ARG V=1.92\nFROM rust:${V}-slim", "rust:1.92-slim"),
        ("ARG V\nFROM rust:${V:-1.90}", "rust:1.90"),
        ("ARG V=3\nARG P=python:$V\nFROM $P", "python:3"),
        ("FROM --platform=$BUILDPLATFORM debian:13", "debian:13"),
        ("from debian:12 as x", "debian:12"),
        ("# escape=`\nFROM debian:12\nRUN a `\n  b\n", "debian:12"),
        ("ARG ONLY\nFROM $ONLY", ""),
        ("", ""),
        ("RUN true", ""),
    ],
)
def test_bases(text: str, base: str) -> None:
    assert facts(text).base == base


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('CMD ["a", "b c"]', ("a", "b c")),
        ("CMD a 'b c'", ("a", "b c")),
        ("CMD exec a --port 80", ("a", "--port", "80")),
        ("CMD a $PORT && b", ()),
        ("CMD a | b", ()),
        ('CMD ["a"', ()),
        ("ENV P=80\nCMD a --port ${P}", ("a", "--port", "80")),
    ],
)
def test_commands_that_need_no_shell(text: str, words: tuple[str, ...]) -> None:
    assert facts(f"FROM x\n{text}\n").cmd == words


def test_an_entrypoint_forgets_the_command_below_it() -> None:
    found = facts('FROM a AS x\nCMD ["old"]\nFROM x\nENTRYPOINT ["new"]\n')
    assert (found.entrypoint, found.cmd) == (("new",), ())


def test_packages_are_read_over_lines_comments_pins_and_heredocs() -> None:
    found = facts(
        "FROM debian:12\nRUN apt-get update \\\n # why\n  && DEBIAN_FRONTEND=noninteractive apt-get install -y "
        "--no-install-recommends \\\n    curl=7.88* libpq5 \\\n && rm -rf /x; apt install -yq git\n"
        "RUN <<EOF\napt-get update\napt-get install -y jq\nEOF\nRUN pip install nothing\n"
    )
    assert found.apt == ("curl", "libpq5", "git", "jq")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HEALTHCHECK CMD curl -f http://localhost:8080/health || exit 1", ("/health", 8080)),
        ('HEALTHCHECK --interval=5s CMD ["wget", "-q", "http://127.0.0.1/up"]', ("/up", 0)),
        ("HEALTHCHECK CMD pg_isready", ("", 0)),
        ("HEALTHCHECK CMD curl http://localhost/a\nHEALTHCHECK NONE", ("", 0)),
    ],
)
def test_health_checks(text: str, expected: tuple[str, int]) -> None:
    found = facts(f"FROM x\n{text}\n")
    assert (found.health, found.health_port) == expected


def test_copies_say_where_files_of_the_project_go() -> None:
    found = facts(
        "FROM x\nWORKDIR /srv\nWORKDIR app\nCOPY --from=build /out/bin /usr/bin/\nCOPY --chown=1:1 config ./config\n"
        'COPY a.yaml b.yaml /etc/x/\nCOPY ["c d.txt", "/t.txt"]\nCOPY . .\nCOPY <<EOF /made\ntext\nEOF\n'
    )
    assert found.workdir == "/srv/app"
    assert found.copies == (
        Copied("config", "/srv/app/config"),
        Copied("a.yaml", "/etc/x/a.yaml"),
        Copied("b.yaml", "/etc/x/b.yaml"),
        Copied("c d.txt", "/t.txt"),
        Copied(".", "/srv/app"),
    )


def test_the_words_of_a_cargo_build_in_any_stage() -> None:
    found = facts(
        'FROM rust AS b\nARG F=a,b\nRUN cd /x && cargo +nightly build --features "$F" && strip y\nFROM debian\n'
    )
    assert found.cargo == ("+nightly", "build", "--features", "a,b")
    assert facts("FROM rust\nRUN cargo fetch\n").cargo == ()
    wrapped = 'FROM rust\nARG DB=x\nRUN A="$(b "$(c)-d")" xx-cargo build --features ${DB} && e\n'
    assert facts(wrapped).cargo == ("build", "--features", "x")


def test_volumes_in_both_forms() -> None:
    assert facts('FROM x\nVOLUME ["/a", "/b/"]\nVOLUME /c /d\n').volumes == ("/a", "/b", "/c", "/d")


def test_old_env_form_and_quotes() -> None:
    assert dict(facts("FROM x\nENV A hello world\nENV B='c d' C=\"e f\"\n").env) == {
        "A": "hello world",
        "B": "c d",
        "C": "e f",
    }


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"FROM", b"FROM \\", b"ENV", b"FROM x\nCMD [", b"FROM x\nENV 'a", b"EXPOSE $"]
)
def test_what_cannot_be_understood_is_left_out(data: bytes) -> None:
    assert read_dockerfile(data).ports == ()
