"""The command line of bubblewrap (bwrap(1)) for one command of a step, from values."""

from __future__ import annotations

from lamella.values import dataclass

__all__ = ["CAPABILITIES", "PROC_MASKS", "BubblewrapCall", "ProcMasks", "bubblewrap_argv"]

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


@dataclass(frozen=True, slots=True)
class ProcMasks:
    """What is changed of procfs: ``files`` and ``directories`` that are hidden, and what is ``read_only``.

    Without it root may write /proc/sys although he has no capability there: bubblewrap 0.8 covers only what
    access(2) calls writable, which the directories of sysctls are not.
    """

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()


PROC_MASKS = ProcMasks(
    files=(
        "/proc/kcore",
        "/proc/keys",
        "/proc/key-users",
        "/proc/kmsg",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/timer_list",
        "/proc/timer_stats",
    ),
    directories=("/proc/acpi", "/proc/asound", "/proc/driver", "/proc/scsi"),
    read_only=("/proc/bus", "/proc/fs", "/proc/irq", "/proc/mtrr", "/proc/sys", "/proc/sysrq-trigger"),
)
"""The masked and read-only paths of the OCI runtimes; those that a kernel does not have are left out."""


@dataclass(frozen=True, slots=True)
class BubblewrapCall:
    """One command in the sandbox. ``root`` is a mounted tree with all mounts of the step in it.

    ``network`` shares the host's network, else the step has only a loopback of its own. ``procfs`` are those of
    ``PROC_MASKS`` that this kernel has. ``seccomp_fd``, ``info_fd`` and ``block_fd`` are inherited descriptors:
    the filter, where the process id is written, and what is waited for before the command starts; -1 for none.
    ``terminal`` keeps the caller's terminal and session, for a shell. ``shown`` are (host path, path inside) pairs
    that are mounted read-only on top, below ``/dev`` or on directories that are there.
    """

    root: str
    argv: tuple[str, ...]
    cwd: str = "/"
    network: bool = False
    procfs: ProcMasks = PROC_MASKS
    hostname: str = "lamella"
    seccomp_fd: int = -1
    info_fd: int = -1
    block_fd: int = -1
    terminal: bool = False
    shown: tuple[tuple[str, str], ...] = ()


def bubblewrap_argv(call: BubblewrapCall, program: str = "bwrap") -> tuple[str, ...]:
    """The arguments. The environment is the process's own, so that no secret stands in an argument list."""
    argv = [program, "--bind", call.root, "/", "--dev", "/dev", "--proc", "/proc"]
    for path in call.procfs.read_only:
        argv += ["--ro-bind", path, path]
    for path in call.procfs.files:
        argv += ["--ro-bind", "/dev/null", path]
    for path in call.procfs.directories:
        argv += ["--tmpfs", path, "--remount-ro", path]
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
