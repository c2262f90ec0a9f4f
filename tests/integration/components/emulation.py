"""arm64 programs on another processor: qemu-user registered with the kernel while somebody needs it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from tests.integration.components.processes import DaemonError, Running

_FORMATS = Path("/proc/sys/fs/binfmt_misc")
_NAME = "qemu-aarch64"
"""Of the rule as Debian registers it; ours have the number of their process, so that each removes its own."""
_RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
_CLONE_NEWNS = 0x00020000
_MS_PRIVATE_REC = (1 << 18) | (1 << 14)


@contextlib.contextmanager
def emulate_arm64() -> Iterator[None]:
    """Let the kernel run arm64 programs through qemu-aarch64-static (binfmt_misc, Debian's rule: its flag F lets
    containers in).

    What the machine has registered stays and is used; what is registered here goes when the block ends. The table is
    mounted in a mount namespace of this process, where the machine has not mounted it. Raises DaemonError.
    """
    if platform.machine() == "aarch64":
        yield
        return
    if not (_FORMATS / "register").exists():
        _mount_formats()
    if (_FORMATS / _NAME).exists():
        yield
        return
    if not _RULE.exists():
        raise DaemonError("arm64 programs need qemu-aarch64-static (Debian package qemu-user-static; `make test` does)")
    _remove_orphans()
    own = f"{_NAME}-{os.getpid()}"
    rule = _RULE.read_text(encoding="ascii").strip().replace(f":{_NAME}:", f":{own}:", 1)
    (_FORMATS / "register").write_text(rule, encoding="ascii")
    try:
        yield
    finally:
        (_FORMATS / own).write_text("-1", encoding="ascii")


def start_emulation(folder: Path) -> Running:
    """arm64 programs run on this machine as long as somebody uses it; info: nothing."""
    stack = contextlib.ExitStack()
    stack.enter_context(emulate_arm64())
    return Running({}, stack.close)


def _remove_orphans() -> None:
    """Entries of processes that were killed."""
    for entry in _FORMATS.glob(f"{_NAME}-*"):
        if not Path("/proc", entry.name.rpartition("-")[2]).exists():
            entry.write_text("-1", encoding="ascii")


def _mount_formats() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS))
    _check(libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_PRIVATE_REC), None))
    _check(libc.mount(b"binfmt_misc", str(_FORMATS).encode(), b"binfmt_misc", ctypes.c_ulong(0), None))


def _check(status: int) -> None:
    if status:
        raise DaemonError(f"binfmt_misc: {os.strerror(ctypes.get_errno())}")
