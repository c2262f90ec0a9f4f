"""The command line of bubblewrap (bwrap(1)) for one command of a step, from values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CAPABILITIES", "BubblewrapCall", "bubblewrap_argv"]

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
)
"""What package managers need; nothing that reaches beyond the sandbox."""

MASKED = ("/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/sched_debug", "/proc/kmsg")
"""Files of procfs that say too much of the host; /proc/sys, irq, bus and sysrq-trigger bubblewrap makes read-only."""


@dataclass(frozen=True, slots=True)
class BubblewrapCall:
    """One command in the sandbox. ``root`` is a mounted tree with all mounts of the step in it.

    ``network`` shares the host's network, else the step has only a loopback of its own. ``masked`` are those of
    ``MASKED`` that this kernel has. ``seccomp_fd``, ``info_fd`` and ``block_fd`` are inherited descriptors:
    the filter, where the process id is written, and what is waited for before the command starts; -1 for none.
    ``terminal`` keeps the caller's terminal and session, for a shell. ``shown`` are (host path, path inside) pairs
    that are mounted read-only on top, below ``/dev`` or on directories that are there.
    """

    root: str
    argv: tuple[str, ...]
    cwd: str = "/"
    network: bool = False
    masked: tuple[str, ...] = ()
    hostname: str = "lamella"
    seccomp_fd: int = -1
    info_fd: int = -1
    block_fd: int = -1
    terminal: bool = False
    shown: tuple[tuple[str, str], ...] = ()


def bubblewrap_argv(call: BubblewrapCall, program: str = "bwrap") -> tuple[str, ...]:
    """The arguments. The environment is the process's own, so that no secret stands in an argument list."""
    argv = [program, "--bind", call.root, "/", "--dev", "/dev", "--proc", "/proc"]
    for path in call.masked:
        argv += ["--ro-bind", "/dev/null", path]
    for source, target in call.shown:
        argv += ["--ro-bind", source, target]
    argv += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", call.hostname]
    if not call.network:
        argv.append("--unshare-net")
    argv.append("--die-with-parent")
    if not call.terminal:
        argv.append("--new-session")
    argv += ["--cap-drop", "ALL"]
    for name in CAPABILITIES:
        argv += ["--cap-add", name]
    for option, descriptor in (
        ("--seccomp", call.seccomp_fd),
        ("--info-fd", call.info_fd),
        ("--block-fd", call.block_fd),
    ):
        if descriptor >= 0:
            argv += [option, str(descriptor)]
    return (*argv, "--chdir", call.cwd, "--", *call.argv)
