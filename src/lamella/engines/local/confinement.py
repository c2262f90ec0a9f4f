"""Walls around this very process: limits, no network, no writing but in one folder, no new programs (RELIABILITY X2).

Put up by a process for itself when it has read all it needs to go on, and before it touches what somebody else wrote.
Each wall stands alone: a kernel without Landlock has the others.
"""

from __future__ import annotations

import ctypes
import os
import resource

from lamella.engines.local import kernel
from lamella.engines.local.seccomp import program
from lamella.host.probes import machine
from lamella.values import dataclass

__all__ = ["Limits", "confine"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _REMOVE, _MAKE = 0x1, 0x2, 0x30, 0x1FC0
_REFER, _TRUNCATE, _IOCTL_DEVICE = 0x2000, 0x4000, 0x8000
_TCP = 0x3
_SCOPES = 0x3
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_FILTER = 22, 38, 2
_INSTRUCTION = 8
"""Bytes of ``struct sock_filter``."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the process may use: ``memory`` and ``file`` (the largest that it writes) in bytes, ``seconds`` of a
    processor's time, ``handles`` open at once.
    """

    memory: int = 4 << 30
    file: int = 64 << 30
    seconds: int = 3600
    handles: int = 1024


class _Ruleset(ctypes.Structure):
    """``struct landlock_ruleset_attr`` (linux/landlock.h); older kernels know its first fields only."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    """``struct landlock_path_beneath_attr``."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Program(ctypes.Structure):
    """``struct sock_fprog``: a filter's length in instructions, and its instructions."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def confine(folder: str, limits: Limits) -> None:
    """Puts up all walls; from now on this process writes below ``folder`` and computes, and does nothing else.

    Raises OSError when the kernel refuses a wall that it has.
    """
    _limit(limits)
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _write_only_below(folder)
    code = program(machine(), alone=True)
    if code is not None:
        instructions = ctypes.create_string_buffer(code, len(code))
        filter_ = _Program(len(code) // _INSTRUCTION, ctypes.addressof(instructions))
        kernel.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.addressof(filter_))


def _limit(limits: Limits) -> None:
    """getrlimit(2): hard limits, so they stay; one that is lower already is kept."""
    for kind, wanted in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_NOFILE, limits.handles),
    ):
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def _write_only_below(folder: str) -> None:
    """landlock(7): files are made, written and removed below ``folder`` only, programs are started nowhere, TCP is
    neither bound nor connected. Reading stays as it is. Nothing where the kernel has no Landlock.
    """
    try:
        version = kernel.landlock(_CREATE_RULESET, 0, 0, _VERSION)
    except OSError:  # not built in, or switched off
        return
    writing = _WRITE_FILE | _REMOVE | _MAKE
    writing |= _REFER if version >= 2 else 0
    writing |= _TRUNCATE if version >= 3 else 0
    writing |= _IOCTL_DEVICE if version >= 5 else 0
    rules = _Ruleset(writing | _EXECUTE, _TCP, _SCOPES)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = kernel.landlock(_CREATE_RULESET, ctypes.addressof(rules), size, 0)
    try:
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            beneath = _PathBeneath(writing, place)
            kernel.landlock(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.addressof(beneath), 0)
        finally:
            os.close(place)
        kernel.landlock(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
