"""The ELF reader: on the running interpreter, on hand-made files, on rubbish."""

from __future__ import annotations

import contextlib
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.errors import HostileInputError
from lamella.layers.elf import elf_needed, needed_glibc, read_elf, version_key


def elf64(
    versions: list[bytes], needed: list[bytes], *, big: bool = False, interpreter: bytes = b"/lib/ld.so\0"
) -> bytes:
    """A file with one loaded segment at address 0: headers, strings, versions, dynamic section."""
    order = ">" if big else "<"
    strings = b"\0" + b"\0".join([*needed, *versions, b"lib.so"]) + b"\0"
    offset = {name: strings.index(b"\0" + name + b"\0") + 1 for name in (*needed, *versions, b"lib.so")}
    base = 64 + 3 * 56
    at_strings = base + len(interpreter)
    at_versions = at_strings + len(strings)
    verneed = struct.pack(f"{order}HHIII", 1, len(versions), offset[b"lib.so"], 16, 0) if versions else b""
    for number, name in enumerate(versions):
        verneed += struct.pack(f"{order}IHHII", 0, 0, 2, offset[name], 16 if number < len(versions) - 1 else 0)
    dynamic = [(1, offset[name]) for name in needed] + [(5, at_strings), (10, len(strings))]
    dynamic += [(0x6FFFFFFE, at_versions), (0x6FFFFFFF, 1)] if versions else []
    table = b"".join(struct.pack(f"{order}QQ", *row) for row in [*dynamic, (0, 0)])
    at_dynamic = at_versions + len(verneed)
    total = at_dynamic + len(table)

    def segment(kind: int, start: int, size: int) -> bytes:
        return struct.pack(f"{order}IIQQQQQQ", kind, 4, start, start, start, size, size, 8)

    head = b"\x7fELF" + bytes([2, 2 if big else 1, 1]) + bytes(9)
    head += struct.pack(f"{order}HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    parts = segment(1, 0, total) + segment(2, at_dynamic, len(table)) + segment(3, base, len(interpreter))
    return head + parts + interpreter + strings + verneed + table


@pytest.mark.parametrize("big", [False, True])
def test_a_hand_made_program(tmp_path: Path, big: bool) -> None:
    place = tmp_path / "program"
    place.write_bytes(
        elf64([b"GLIBC_2.4", b"GLIBC_2.34", b"GLIBC_PRIVATE", b"GCC_3.0"], [b"libm.so.6", b"libc.so.6"], big=big)
    )
    found = read_elf(place)
    assert found is not None
    assert (found.machine, found.interpreter, found.needed) == ("amd64", "/lib/ld.so", ("libm.so.6", "libc.so.6"))
    assert needed_glibc(place) == "2.34"
    assert elf_needed(place) == ("libm.so.6", "libc.so.6")


def test_a_static_program_and_a_text_need_nothing(tmp_path: Path) -> None:
    static, text = tmp_path / "static", tmp_path / "text"
    static.write_bytes(elf64([], []))
    text.write_bytes(b"#!/bin/sh\n")
    assert (needed_glibc(static), elf_needed(static)) == ("", ())
    assert (needed_glibc(text), elf_needed(text), read_elf(text)) == ("", (), None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the running interpreter as an ELF file")
def test_the_running_interpreter() -> None:
    found = read_elf(sys.executable)
    assert found is not None
    assert any(name.startswith(("libc.so", "libc.musl")) for name in found.needed)


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 600), flips=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=8))
def test_a_damaged_program_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(elf64([b"GLIBC_2.4", b"GLIBC_2.34"], [b"libc.so.6"]))
    for at, value in flips:
        data[at % len(data)] = value
    place = tmp_path_factory.mktemp("elf") / "damaged"
    place.write_bytes(bytes(data[: len(data) - cut]))
    with contextlib.suppress(HostileInputError):
        read_elf(place)


def test_versions_are_compared_by_number() -> None:
    assert max(["2.4", "2.34", "2.9", "2.34.1"], key=version_key) == "2.34.1"
