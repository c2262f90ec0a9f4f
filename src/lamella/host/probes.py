"""What this machine can do, read from files. No process is started here, nothing is changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lamella.values import dataclass

__all__ = [
    "IdRange",
    "cpu_count",
    "emulator",
    "has_file_system",
    "machine",
    "made_in_this_boot",
    "memory_bytes",
    "os_release",
    "parse_os_release",
    "platform_of",
    "subordinate_range",
    "user_namespaces_refused",
]

_PLATFORMS = {
    "x86_64": "linux/amd64",
    "amd64": "linux/amd64",
    "aarch64": "linux/arm64",
    "arm64": "linux/arm64",
    "armv7l": "linux/arm/v7",
    "armv6l": "linux/arm/v6",
    "i686": "linux/386",
    "ppc64le": "linux/ppc64le",
    "s390x": "linux/s390x",
    "riscv64": "linux/riscv64",
}
"""uname(2) machine to OCI platform (image-spec, image-index.md)."""

_QEMU = {
    "linux/amd64": "x86_64",
    "linux/arm64": "aarch64",
    "linux/arm/v7": "arm",
    "linux/arm/v6": "arm",
    "linux/386": "i386",
    "linux/ppc64le": "ppc64le",
    "linux/s390x": "s390x",
    "linux/riscv64": "riscv64",
}
"""OCI platform to qemu's name for it in binfmt_misc."""


@dataclass(frozen=True, slots=True)
class IdRange:
    """Subordinate ids of a user: ``count`` from ``start`` on (subuid(5))."""

    start: int
    count: int


def machine() -> str:
    """uname(2)'s name of this machine's architecture; ``x86_64`` style on Windows too."""
    if hasattr(os, "uname"):
        return os.uname().machine
    return {"win-arm64": "aarch64"}.get(_windows_platform(), "x86_64")


def _windows_platform() -> str:
    import sysconfig

    return sysconfig.get_platform()


def platform_of(name: str) -> str:
    """The OCI platform of a machine name: ``linux/amd64`` of ``x86_64``."""
    return _PLATFORMS.get(name.lower(), f"linux/{name.lower()}")


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """os-release(5) of a root directory that is trusted; empty when there is none."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            return parse_os_release((root / name).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return {}


def parse_os_release(text: str) -> dict[str, str]:
    """The variables of an os-release(5) file; malformed lines are left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = _unquoted(value)
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return value.replace('\\"', '"').replace("\\$", "$").replace("\\`", "`").replace("\\\\", "\\")


def cpu_count() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of the machine, or what a control group leaves of it; 0 when unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
    limits = [total]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _text(Path("/sys/fs/cgroup") / name).strip()
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def made_in_this_boot(path: str | os.PathLike[str], *, stat: Path = Path("/proc/stat")) -> int:
    """When a file's status last changed, in nanoseconds since 1970; 0 when that was before this boot or nobody knows.

    What was checked in this boot need not be checked again (RELIABILITY S5): proc(5), ``btime`` of ``/proc/stat``.
    """
    booted = next((line for line in _text(stat).splitlines() if line.startswith("btime ")), "")
    changed = os.stat(path).st_ctime_ns
    return changed if booted and changed > int(booted.split()[1]) * 10**9 else 0


def has_file_system(name: str) -> bool:
    """Whether the running kernel has a file system (proc_filesystems(5)); a module that is not loaded counts as not."""
    return any(line.split()[-1:] == [name] for line in _text(Path("/proc/filesystems")).splitlines())


def user_namespaces_refused() -> tuple[str, str]:
    """Why the kernel refuses user namespaces to ordinary users, and the remedy; two empty texts when it does not say.

    Sources: user_namespaces(7), Debian's and Ubuntu's kernel patches.
    """
    if _text(Path("/proc/sys/user/max_user_namespaces")).strip() == "0":
        return "user.max_user_namespaces is 0", "as root: sysctl -w user.max_user_namespaces=10000"
    if _text(Path("/proc/sys/kernel/unprivileged_userns_clone")).strip() == "0":
        return "kernel.unprivileged_userns_clone is 0", "as root: sysctl -w kernel.unprivileged_userns_clone=1"
    if _text(Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")).strip() == "1":
        return (
            "AppArmor restricts user namespaces of ordinary users",
            "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        )
    if sys.platform == "linux" and not os.path.exists("/proc/self/ns/user"):
        return "this kernel has no user namespaces", "use a kernel with CONFIG_USER_NS=y"
    return "", ""


def subordinate_range(kind: str, uid: int, name: str, *, etc: Path = Path("/etc")) -> IdRange | None:
    """The largest range of ``subuid`` or ``subgid`` that belongs to a user, by name or number; None without one."""
    ranges: list[IdRange] = []
    for line in _text(etc / kind).splitlines():
        owner, _, rest = line.partition(":")
        start, _, count = rest.partition(":")
        if owner in (name, str(uid)) and start.isdigit() and count.isdigit():
            ranges.append(IdRange(int(start), int(count)))
    return max(ranges, key=lambda found: found.count, default=None)


def emulator(platform: str) -> bool:
    """Whether programs of a foreign platform run here: an enabled entry of binfmt_misc that keeps its interpreter
    open (flag F), so that it is found from inside a sandbox.
    """
    text = _text(Path("/proc/sys/fs/binfmt_misc") / f"qemu-{_QEMU.get(platform, '')}")
    flags = next((line.partition(":")[2] for line in text.splitlines() if line.startswith("flags:")), "")
    return text.startswith("enabled") and "F" in flags


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
