"""The system calls that no step may make, as a classic BPF program (seccomp(2), RELIABILITY B2).

A deny list: what is not named passes, as compilers and package managers need nearly everything. Each calling
convention of the machine has its own numbers (asm/unistd.h of Linux); one that is not in the table, such as x32,
is refused whole. A refused call fails with EPERM, as if a capability were missing; clone3 and io_uring with ENOSYS,
so that programs fall back to calls whose arguments a filter can see.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from lamella.values import dataclass

__all__ = ["CONVENTIONS", "DENIED", "DENIED_ALONE", "Convention", "program"]

DENIED = (
    "acct", "add_key", "bpf", "clock_settime", "delete_module", "finit_module", "fsconfig", "fsmount", "fsopen",
    "fspick", "init_module", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount",
    "mount_setattr", "move_mount", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root",
    "process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "reboot", "request_key", "setns", "settimeofday",
    "swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd",
)  # fmt: skip
"""Refused with EPERM, by name."""

UNKNOWN = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Refused with ENOSYS, as on a kernel that does not have them."""

DENIED_ALONE = (
    "chroot", "execve", "execveat", "fork", "kill", "pidfd_send_signal", "socket", "socketpair", "tkill", "vfork",
)  # fmt: skip
"""Refused as well, with EPERM, to a process that only reads and writes files; nor does it make processes."""

_GENERIC = MappingProxyType({
    "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280,
    "userfaultfd": 282, "acct": 89, "add_key": 217, "clock_settime": 112, "delete_module": 106, "init_module": 105,
    "kexec_file_load": 294, "kexec_load": 104, "keyctl": 219, "lookup_dcookie": 18, "mount": 40,
    "open_by_handle_at": 265, "perf_event_open": 241, "pivot_root": 41, "ptrace": 117, "quotactl": 60, "reboot": 142,
    "request_key": 218, "settimeofday": 170, "swapoff": 225, "swapon": 224, "syslog": 116, "umount2": 39,
    "unshare": 97, "clone": 220, "ioctl": 29, "chroot": 51, "execve": 221, "execveat": 281, "kill": 129,
    "socket": 198, "socketpair": 199, "tkill": 130,
})  # fmt: skip
_X86_64 = MappingProxyType({
    "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "bpf": 321,
    "userfaultfd": 323, "acct": 163, "add_key": 248, "clock_settime": 227, "delete_module": 176, "init_module": 175,
    "kexec_file_load": 320, "kexec_load": 246, "keyctl": 250, "lookup_dcookie": 212, "mount": 165,
    "open_by_handle_at": 304, "perf_event_open": 298, "pivot_root": 155, "ptrace": 101, "quotactl": 179,
    "reboot": 169, "request_key": 249, "settimeofday": 164, "swapoff": 168, "swapon": 167, "syslog": 103,
    "umount2": 166, "unshare": 272, "clone": 56, "ioctl": 16, "chroot": 161, "execve": 59, "execveat": 322,
    "fork": 57, "kill": 62, "socket": 41, "socketpair": 53, "tkill": 200, "vfork": 58,
})  # fmt: skip
_I386 = MappingProxyType({
    "setns": 346, "process_vm_readv": 347, "process_vm_writev": 348, "kcmp": 349, "finit_module": 350, "bpf": 357,
    "userfaultfd": 374, "acct": 51, "add_key": 286, "clock_settime": 264, "delete_module": 129, "init_module": 128,
    "kexec_load": 283, "keyctl": 288, "lookup_dcookie": 253, "mount": 21, "open_by_handle_at": 342,
    "perf_event_open": 336, "pivot_root": 217, "ptrace": 26, "quotactl": 131, "reboot": 88, "request_key": 287,
    "settimeofday": 79, "swapoff": 115, "swapon": 87, "syslog": 103, "umount2": 52, "umount": 22, "unshare": 310,
    "clone": 120, "ioctl": 54,
})  # fmt: skip
_ARM = MappingProxyType({
    "setns": 375, "process_vm_readv": 376, "process_vm_writev": 377, "kcmp": 378, "finit_module": 379, "bpf": 386,
    "userfaultfd": 388, "acct": 51, "add_key": 309, "clock_settime": 262, "delete_module": 129, "init_module": 128,
    "kexec_file_load": 401, "kexec_load": 347, "keyctl": 311, "lookup_dcookie": 249, "mount": 21,
    "open_by_handle_at": 371, "perf_event_open": 364, "pivot_root": 218, "ptrace": 26, "quotactl": 131, "reboot": 88,
    "request_key": 310, "settimeofday": 79, "swapoff": 115, "swapon": 87, "syslog": 103, "umount2": 52,
    "unshare": 337, "clone": 120, "ioctl": 54,
})  # fmt: skip
_SHARED = MappingProxyType({
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "mount_setattr": 442,
    "pidfd_send_signal": 424,
})  # fmt: skip
"""Numbers that all conventions share."""


@dataclass(frozen=True, slots=True)
class Convention:
    """One way to call the kernel: ``audit`` is its AUDIT_ARCH constant, ``bound`` excludes numbers from there on."""

    audit: int
    numbers: Mapping[str, int]
    bound: int = 0


_X32_BIT = 0x40000000
CONVENTIONS: Mapping[str, tuple[Convention, ...]] = MappingProxyType(
    {
        "x86_64": (Convention(0xC000003E, _X86_64, _X32_BIT), Convention(0x40000003, _I386)),
        "aarch64": (Convention(0xC00000B7, _GENERIC), Convention(0x40000028, _ARM)),
        "riscv64": (Convention(0xC00000F3, _GENERIC),),
    }
)
"""By machine as uname(2) names it."""

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
"""Offsets in ``struct seccomp_data``; of an argument the low half on a little-endian machine."""
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_REFUSE, _NOT_THERE = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
_CLONE_NAMESPACES = 0x7E020080
"""CLONE_NEWUSER, NEWPID, NEWNET, NEWIPC, NEWUTS, NEWCGROUP, NEWNS and NEWTIME."""
_CLONE_THREAD = 0x00010000
_TERMINAL_REQUESTS = (0x5412, 0x541C)
"""TIOCSTI types for the user of the terminal, TIOCLINUX selects for him (CVE-2017-5226)."""

_Instruction = tuple[int, int, int, int]


def program(machine: str, *, alone: bool = False) -> bytes | None:
    """The filter for a machine as an array of ``struct sock_filter``; None where its numbers are not known.

    ``alone`` is the one for a process of ours that needs nobody else; it knows the machine's own convention only.
    """
    conventions = CONVENTIONS.get(machine)
    if conventions is None:
        return None
    code: list[_Instruction] = []
    for convention in conventions[:1] if alone else conventions:
        body = _body(convention, alone)
        code += [(_LOAD, 0, 0, _ARCHITECTURE), *_unless(_JUMP_EQUAL, convention.audit, body)]
    code.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _body(convention: Convention, alone: bool) -> list[_Instruction]:
    """The checks of one convention; ends in a return for every call."""
    numbers = {**_SHARED, **convention.numbers}
    code: list[_Instruction] = [(_LOAD, 0, 0, _NUMBER)]
    if convention.bound:
        code += [(_JUMP_GREATER_EQUAL, 0, 1, convention.bound), (_RETURN, 0, 0, _NOT_THERE)]
    code += _refuse(numbers, (*DENIED, *(DENIED_ALONE if alone else ()), "umount"), _REFUSE)
    code += _refuse(numbers, UNKNOWN, _NOT_THERE)
    code += _unless(_JUMP_EQUAL, numbers["clone"], [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *([(_JUMP_SET, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _REFUSE)] if alone else ()),
        (_JUMP_SET, 0, 1, _CLONE_NAMESPACES),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ])  # fmt: skip
    requests: list[_Instruction] = [(_LOAD, 0, 0, _SECOND_ARGUMENT)]
    for request in _TERMINAL_REQUESTS:
        requests += [(_JUMP_EQUAL, 0, 1, request), (_RETURN, 0, 0, _REFUSE)]
    code += _unless(_JUMP_EQUAL, numbers["ioctl"], [*requests, (_RETURN, 0, 0, _ALLOW)])
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _refuse(numbers: Mapping[str, int], names: Iterable[str], answer: int) -> list[_Instruction]:
    code: list[_Instruction] = []
    for name in names:
        if name in numbers:
            code += [(_JUMP_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, answer)]
    return code


def _unless(test: int, value: int, body: list[_Instruction]) -> list[_Instruction]:
    """``body`` when the test holds, else what follows it. A jump spans at most 255 instructions."""
    return [(test, 0, len(body), value), *body]
