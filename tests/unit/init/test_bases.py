"""Which base is chosen: what the Dockerfile has, what the interpreter and the C library need, and why."""

from __future__ import annotations

import pytest

from lamella.canonical import FrozenMap
from lamella.init.bases import BaseChoice, Wish, choose_base, interpreter_wish
from lamella.init.evidence import Evidence
from lamella.sources.dockerfile import DockerfileFacts
from lamella.stacks.base import Detection
from lamella.testing.tree import MemoryTree


def evidence(base: str = "") -> Evidence:
    return Evidence("Dockerfile" if base else "", DockerfileFacts(base=base))


def chosen(base: str = "", wish: Wish = Wish(), **more: object) -> BaseChoice:  # noqa: B008 - frozen value
    found = choose_base(evidence(base), wish, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


def python(version: str) -> Wish:
    return Wish("python", version, f"x says Python {version}", lambda candidate: candidate == version)


@pytest.mark.parametrize(
    ("base", "line"),
    [
        ("", 'bootstrap = "debian/trixie"'),
        ("debian:bookworm-slim", 'bootstrap = "debian/bookworm"'),
        ("debian:12.7", 'bootstrap = "debian/bookworm"'),
        ("debian", 'bootstrap = "debian/trixie"'),
        ("rust:1.92-slim-bookworm", 'bootstrap = "debian/bookworm"'),
        ("gcr.io/distroless/cc-debian12:nonroot", 'bootstrap = "debian/bookworm"'),
        ("alpine:3.20", 'bootstrap = "debian/trixie"'),
        ("scratch", 'bootstrap = "debian/trixie"'),
        ("debian:bullseye", 'bootstrap = "debian/trixie"'),
        ("ubuntu:24.04", 'from = "ubuntu:24.04"'),
        ("registry.example/acme/base:3", 'from = "registry.example/acme/base:3"'),
        ("nvidia/cuda:12.4.1-runtime-ubuntu22.04", 'from = "nvidia/cuda:12.4.1-runtime-ubuntu22.04"'),
        ("debian:12@sha256:" + "a" * 64, 'from = "debian:12@sha256:' + "a" * 64 + '"'),
    ],
)
def test_bases_of_dockerfiles(base: str, line: str) -> None:
    assert chosen(base).line.text == line


@pytest.mark.parametrize("base", ["alpine:3.20", "scratch", "gcr.io/distroless/static"])
def test_a_base_that_cannot_be_kept_is_named(base: str) -> None:
    assert base in chosen(base).notes[0]


@pytest.mark.parametrize(
    ("base", "wanted", "line"),
    [
        ("", "3.11", 'bootstrap = "debian/bookworm"'),
        ("", "3.13", 'bootstrap = "debian/trixie"'),
        ("", "3.12", 'from = "python:3.12-slim-bookworm"'),
        ("python:3.11-slim", "3.11", 'bootstrap = "debian/bookworm"'),
        ("python:3.13-slim-bookworm", "3.13", 'bootstrap = "debian/trixie"'),
        ("python:3.12-slim", "3.12", 'from = "python:3.12-slim"'),
        ("python:3.12-alpine", "3.12", 'from = "python:3.12-slim-bookworm"'),
        ("python:3.13-slim", "3.14", 'from = "python:3.14-slim"'),
        ("registry.example/python:3.13.2-slim", "3.12", 'from = "registry.example/python:3.12-slim"'),
        ("python:3-slim", "3.14", 'from = "python:3.14-slim"'),
    ],
)
def test_the_interpreter_decides(base: str, wanted: str, line: str) -> None:
    assert chosen(base, python(wanted)).line.text == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("22.15.1", 'from = "node:22.15.1-bookworm-slim"'),
        ("v22", 'from = "node:22-bookworm-slim"'),
        (">=22", 'from = "node:24-bookworm-slim"'),
        (">=20.11", 'bootstrap = "debian/trixie"'),
    ],
)
def test_a_node_that_no_debian_has_is_an_image_of_that_version(text: str, line: str) -> None:
    detection = Detection("node", ".", (), base_packages=("nodejs",), why=FrozenMap({"engine": text}))
    assert chosen("", interpreter_wish(MemoryTree({}), detection, evidence())).line.text == line


def test_an_ubuntu_under_python_is_known_by_its_release() -> None:
    found = chosen("nvidia/cuda:12.4.1-runtime-ubuntu22.04", Wish("python"))
    assert (found.image, found.version) == ("nvidia/cuda:12.4.1-runtime-ubuntu22.04", "3.10")


def test_a_program_made_here_needs_a_glibc_as_new() -> None:
    assert chosen(floor=(2, 36), host_suite="debian/bookworm").suite == "debian/bookworm"
    assert chosen(floor=(2, 39)).suite == "debian/trixie"
    assert chosen("debian:bookworm", floor=(2, 39)).suite == "debian/trixie"
    assert choose_base(evidence(), Wish(), floor=(2, 50)) is None


def test_only_a_choice_that_nothing_spoke_for_is_a_default() -> None:
    assert chosen().by_default
    assert not chosen("debian:trixie").by_default
    assert not chosen("", python("3.13")).by_default
    assert not chosen(prefer="debian/bookworm").by_default


def wish(files: dict[str, str], base: str = "", directory: str = ".", *, archive: bool = False) -> Wish:
    detection = Detection("python", directory, ())
    return interpreter_wish(MemoryTree(files), detection, evidence(base), archive=archive)


@pytest.mark.parametrize(
    ("files", "base", "text"),
    [
        ({".python-version": "3.12.4\n"}, "", "3.12"),
        ({".python-version": "cpython-3.11\n"}, "python:3.13", "3.11"),
        ({"runtime.txt": "python-3.11.9\n"}, "", "3.11"),
        ({"a": ""}, "python:3.11-slim", "3.11"),
        ({"a": ""}, "registry.example/python:3.11", "3.11"),
        ({"a": ""}, "debian:12", ""),
        ({"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.10"\n'}, "python:3.11", "3.11"),
        ({"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.12"\n'}, "python:3.11", ">=3.12"),
    ],
)
def test_where_the_interpreter_is_said(files: dict[str, str], base: str, text: str) -> None:
    assert wish(files, base).text == text


@pytest.mark.parametrize(
    ("requires", "base", "expected"),
    [
        (">=3.10", "python:3.10", "debian/trixie"),
        (">=3.10,<3.13", "python:3.10-slim", "debian/bookworm"),
        ("==3.10.*", "python:3.10", "python:3.10"),
        ("", "python:3.10", "python:3.10"),
        (">=3.10", "python:3.11", "debian/trixie"),
    ],
)
def test_an_image_that_cannot_be_pulled_gives_way_to_what_the_project_allows(
    requires: str, base: str, expected: str
) -> None:
    files = {"pyproject.toml": f'[project]\nname = "x"\nrequires-python = "{requires}"\n'} if requires else {"a": ""}
    found = chosen(base, wish(files, base, archive=True))
    assert (found.suite or found.image) == expected
    assert ("could not be pulled" in " ".join(found.line.why)) == expected.startswith("debian/")


def test_a_range_allows_any_patch() -> None:
    found = wish({"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.11.4,<3.12"\n'})
    assert found.allows("3.11")
    assert not found.allows("3.13")
    assert "requires Python" in found.why


def test_a_service_of_node_keeps_the_major_of_its_dockerfile() -> None:
    detection = Detection("node", ".", (), base_packages=("nodejs",))
    found = interpreter_wish(MemoryTree({"a": ""}), detection, evidence("node:22-alpine"))
    assert choose_base(evidence("node:22-slim"), found) == BaseChoice(
        choose_base(evidence("node:22-slim"), found).line,  # type: ignore[union-attr]
        image="node:22-slim",
    )
    assert chosen("node:20-slim", interpreter_wish(MemoryTree({"a": ""}), detection, evidence("node:20-slim"))).suite
