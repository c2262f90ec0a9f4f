"""The namespaces the helper lives in: mounts and processes of its own and, for an ordinary user, ids of its own.

It is the first process of its process namespace: when it ends, however that comes, the kernel ends everything it
started, and the mounts go with the last of them. An ordinary user becomes root of a new user namespace in which the
subordinate ids of subuid(5) and subgid(5) are mapped, so that packages which chown can be installed. The helper's half
runs while it still has one thread; the runner's half writes the maps with newuidmap(1), which may do that.
"""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Mapping

from lamella.engines.local import kernel
from lamella.errors import SandboxError
from lamella.host.probes import IdRange, subordinate_range, user_namespaces_refused
from lamella.process import go_on_in_child, run, which

__all__ = ["LEAST_IDS", "IdMaps", "enter", "find_id_maps", "take_root", "write_id_maps"]

LEAST_IDS = 65536
"""Subordinate ids that Debian's and Fedora's packages may use."""

IdMaps = tuple[IdRange, IdRange]
"""Subordinate users and groups of the caller."""


def find_id_maps(uid: int) -> IdMaps:
    """The caller's subordinate ranges. Raises SandboxError with the remedy when there are none."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    users, groups = (subordinate_range(kind, uid, name) for kind in ("subuid", "subgid"))
    if users is None or groups is None or min(users.count, groups.count) < LEAST_IDS:
        raise SandboxError(
            f"user {name} has no range of {LEAST_IDS} subordinate ids in /etc/subuid and /etc/subgid",
            hint=f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}",
        )
    return users, groups


def write_id_maps(pid: int, uid: int, gid: int, maps: IdMaps, env: Mapping[str, str]) -> None:
    """Maps root of the namespace of ``pid`` to the caller and what follows to the subordinate ranges."""
    for program, own, found in (("newuidmap", uid, maps[0]), ("newgidmap", gid, maps[1])):
        path = which(program, env)
        if path is None:
            raise SandboxError(f"{program} is not installed", hint="as root: apt-get install uidmap")
        argv = (path, str(pid), "0", str(own), "1", "1", str(found.start), str(found.count))
        run(argv, env=env, error=SandboxError, hint=f"{program} has to be setuid root or to have CAP_SETUID")


def enter(*, rootless: bool) -> None:
    """The helper's first half: new namespaces. Raises SandboxError with reason and remedy."""
    try:
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | (kernel.CLONE_NEWUSER if rootless else 0))
    except OSError as error:
        raise _refused(error, rootless) from error


def _refused(error: OSError, rootless: bool) -> SandboxError:
    reason, remedy = user_namespaces_refused() if rootless else ("", "")
    if not reason and error.errno == errno.ENOSPC:
        reason, remedy = "the limit of user namespaces is used up", "as root: raise user.max_user_namespaces"
    if not reason and rootless:
        reason, remedy = f"the kernel says: {error.strerror}", "allow user namespaces, or run as root"
    if not reason:
        reason = f"the kernel says: {error.strerror}"
        remedy = "in a container: give it CAP_SYS_ADMIN (docker run --privileged), or use another engine"
    what = "user, mount and process namespaces" if rootless else "mount and process namespaces"
    return SandboxError(f"steps need {what}: {reason}", hint=remedy)


def take_root(*, rootless: bool) -> None:
    """The second half, once ids are mapped: becomes root in there, and goes on as the namespace's first process.

    Raises SandboxError when mounts cannot be made private, or procfs not mounted.
    """
    if rootless:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])
    parent = os.getpid()
    go_on_in_child()
    kernel.die_with_parent()
    if _parent_is_gone(parent):
        os._exit(1)
    try:
        kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    except OSError as error:
        reason, remedy = user_namespaces_refused() if rootless else ("", "")
        raise SandboxError(
            f"mounts of its own are refused to the sandbox: {reason or error.strerror}",
            hint=remedy or "in a container: give it CAP_SYS_ADMIN and an unmasked /proc (docker run --privileged)",
        ) from error


def _parent_is_gone(parent: int) -> bool:
    """Whether the starter ended before its death could be noticed, by the old procfs, which still shows it."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return not any(line.split() == ["PPid:", str(parent)] for line in lines)
    except OSError:
        return False
