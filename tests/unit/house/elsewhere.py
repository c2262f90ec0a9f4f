"""This machine made to look like macOS to Python: what only Linux has is gone before anybody imports it.

``python -m tests.unit.house.elsewhere PROGRAM`` runs a program of Python text. What differs in the kernel, as names
that differ in case alone, cannot be had so.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import sysconfig

LINUX_ONLY = {
    os: (
        "EFD_", "GRND_", "MFD_", "O_DIRECT", "O_LARGEFILE", "O_NOATIME", "O_PATH", "O_RSYNC", "O_TMPFILE",
        "POSIX_FADV_", "P_PIDFD", "RTLD_DEEPBIND", "SCHED_BATCH", "SCHED_IDLE", "SPLICE_", "WEXITED", "WNOWAIT",
        "WSTOPPED", "XATTR_",
        "copy_file_range", "eventfd", "fdatasync", "getrandom", "getresgid", "getresuid", "getxattr", "listxattr",
        "memfd_create", "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "removexattr", "sched_get",
        "sched_set", "setns", "setresgid", "setresuid", "setxattr", "splice", "unshare", "waitid",
    ),
    select: ("EPOLL", "epoll"),
    signal: ("SIGRTMAX", "SIGRTMIN", "pidfd_send_signal", "sigtimedwait", "sigwaitinfo"),
}  # fmt: skip
"""Beginnings of names that Python has on Linux and not on macOS (its documentation of each says "Availability")."""


def leave_linux() -> None:
    """From now on this process is elsewhere."""
    sysconfig.get_config_vars()  # read from a file that is named by the platform
    kinds = [getattr(os, name) for name in ("supports_dir_fd", "supports_fd", "supports_follow_symlinks")]
    for module, beginnings in LINUX_ONLY.items():
        for name in [name for name in vars(module) if name.startswith(beginnings) and name != "O_DIRECTORY"]:
            for kind in kinds:
                kind.discard(getattr(module, name))
            delattr(module, name)
    sys.platform = "darwin"


if __name__ == "__main__":
    leave_linux()
    exec(sys.argv[1])
