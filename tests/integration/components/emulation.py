"""arm64 programs on another processor: qemu-user registered with the kernel while somebody needs it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from tests.integration.components.processes import DaemonError

_FORMATS = Path("/proc/sys/fs/binfmt_misc")
_NAME = "qemu-aarch64"
_RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
_CLONE_NEWNS = 0x00020000
_MS_PRIVATE_REC = (1 << 18) | (1 << 14)


@contextlib.contextmanager
def emulate_arm64() -> Iterator[None]:
    """Let the kernel run arm64 programs through qemu-aarch64-static (binfmt_misc, Debian's rule: its flag F lets
    containers in).

    What is registered already stays and is used; what is registered here goes when the block ends. The table is
    mounted in a mount namespace of this process, where the machine has not mounted it. Raises DaemonError.
    """
    if platform.machine() == "aarch64":
        yield
        return
    if not (_FORMATS / "register").exists():
        _mount_formats()
    entry = _FORMATS / _NAME
    if entry.exists():
        yield
        return
    if not _RULE.exists():
        raise DaemonError("arm64 programs need qemu-aarch64-static (Debian package qemu-user-static; `make test` does)")
    (_FORMATS / "register").write_text(_RULE.read_text(encoding="ascii").strip(), encoding="ascii")
    try:
        yield
    finally:
        entry.write_text("-1", encoding="ascii")


def _mount_formats() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS))
    _check(libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_PRIVATE_REC), None))
    _check(libc.mount(b"binfmt_misc", str(_FORMATS).encode(), b"binfmt_misc", ctypes.c_ulong(0), None))


def _check(status: int) -> None:
    if status:
        raise DaemonError(f"binfmt_misc: {os.strerror(ctypes.get_errno())}")
