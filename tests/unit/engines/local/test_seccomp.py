"""The filter, run by a small interpreter of classic BPF (the instructions that it uses)."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from lamella.engines.local.seccomp import CONVENTIONS, DENIED, DENIED_ALONE, UNKNOWN, program

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
X86_64, I386, AARCH64, RISCV = 0xC000003E, 0x40000003, 0xC00000B7, 0xC00000F3


def decide(machine: str, audit: int, number: int, *arguments: int, alone: bool = False) -> str:
    """What the kernel would do with one call: ``ALLOW`` or the name of the error."""
    code = program(machine, alone=alone)
    assert code is not None
    instructions = list(struct.iter_unpack("<HBBI", code))
    filled = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, audit, 0, *filled)
    at, accumulator = 0, 0
    while True:
        operation, when_true, when_false, value = instructions[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == 0x06:
            return "ALLOW" if value == ALLOW else errno.errorcode[value & 0xFFFF]
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            at += when_true if holds else when_false


@pytest.mark.parametrize("machine", sorted(CONVENTIONS))
def test_every_named_call_is_refused_in_every_convention(machine: str) -> None:
    for convention in CONVENTIONS[machine]:
        for name in set(DENIED) & set(convention.numbers):
            assert decide(machine, convention.audit, convention.numbers[name]) == "EPERM", name


@pytest.mark.parametrize("machine", sorted(CONVENTIONS))
def test_every_convention_knows_every_dangerous_call(machine: str) -> None:
    shared = {"fsconfig", "fsmount", "fsopen", "fspick", "mount_setattr", "move_mount", "open_tree"}
    for convention in CONVENTIONS[machine]:
        missing = set(DENIED) - set(convention.numbers) - shared
        assert missing <= {"kexec_file_load"}, hex(convention.audit)  # 32-bit x86 has no such call


def test_ordinary_calls_pass() -> None:
    for number in (0, 1, 2, 59, 83, 165 + 400, 257, 437):
        assert decide("x86_64", X86_64, number) == "ALLOW"
    assert decide("aarch64", AARCH64, 221) == "ALLOW"


def test_a_call_unknown_to_the_filters_author_may_be_unknown_to_the_kernel() -> None:
    for number in (435, 425, 426, 427):
        assert decide("x86_64", X86_64, number) == "ENOSYS"
    assert len(UNKNOWN) == 4


def test_foreign_conventions_are_refused() -> None:
    assert decide("x86_64", X86_64, 0x40000000 | 165) == "ENOSYS"  # x32
    assert decide("x86_64", AARCH64, 0) == "EPERM"
    assert decide("riscv64", X86_64, 0) == "EPERM"
    assert decide("x86_64", I386, 21) == "EPERM"  # mount by int 0x80
    assert decide("x86_64", I386, 4) == "ALLOW"


def test_new_processes_may_be_made_but_no_new_namespaces() -> None:
    assert decide("x86_64", X86_64, 56, 0x01200011) == "ALLOW"  # fork of glibc
    assert decide("x86_64", X86_64, 56, 0x003D0F00) == "ALLOW"  # a thread of glibc
    for flag in (0x10000000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000, 0x00020000, 0x00000080):
        assert decide("x86_64", X86_64, 56, flag | 17) == "EPERM", hex(flag)


@pytest.mark.parametrize("machine", sorted(CONVENTIONS))
def test_a_process_on_its_own_starts_and_reaches_nobody(machine: str) -> None:
    own, *others = CONVENTIONS[machine]
    numbers = {**own.numbers, "pidfd_send_signal": 424}
    known = set(DENIED_ALONE) & set(numbers)
    assert set(DENIED_ALONE) - known <= {"fork", "vfork"}, "which younger machines do not have"
    for name in (*known, *(set(DENIED) & set(numbers))):
        assert decide(machine, own.audit, numbers[name], alone=True) == "EPERM", name
    assert decide(machine, own.audit, numbers["clone"], 0x01200011, alone=True) == "EPERM"  # fork of glibc
    assert decide(machine, own.audit, numbers["clone"], 0x003D0F00, alone=True) == "ALLOW"  # a thread of glibc
    assert decide(machine, own.audit, numbers["clone"], 0x10010000, alone=True) == "EPERM"  # a namespace with it
    assert decide(machine, own.audit, 0 if machine == "x86_64" else 63, alone=True) == "ALLOW"  # read
    for other in others:
        assert decide(machine, other.audit, 3, alone=True) == "EPERM", "the machine's own convention only"


def test_terminal_injection_is_refused_also_behind_high_bits() -> None:
    assert decide("x86_64", X86_64, 16, 0, 0x5412) == "EPERM"
    assert decide("x86_64", X86_64, 16, 0, 0x5412 | 1 << 32) == "EPERM"
    assert decide("x86_64", X86_64, 16, 0, 0x541C) == "EPERM"
    assert decide("x86_64", X86_64, 16, 0, 0x5401) == "ALLOW"


def test_a_machine_without_a_table_has_no_filter() -> None:
    assert program("vax") is None


@pytest.mark.parametrize(
    ("header", "audit"),
    [
        ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", X86_64),
        ("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", I386),
        ("/usr/include/asm-generic/unistd.h", RISCV),
    ],
)
def test_numbers_are_those_of_the_kernels_headers(header: str, audit: int) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed (linux-libc-dev)")
    text = Path(header).read_text(encoding="utf-8")
    real = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    table = next(c for group in CONVENTIONS.values() for c in group if c.audit == audit)
    assert {name: (number, real.get(name)) for name, number in table.numbers.items() if real.get(name) != number} == {}
