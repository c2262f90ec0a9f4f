"""Who runs a command: numbers of a user in the root file system, and the program there that takes them on."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from lamella.errors import ConfigError, HostileInputError, SandboxError
from lamella.host.rooted import Rooted

__all__ = ["Account", "drop_privileges", "user_groups", "user_ids"]

_LARGEST = 4 << 20
_SETPRIV = ("/usr/bin/setpriv", "/bin/setpriv")
_CHROOT = ("/usr/sbin/chroot", "/usr/bin/chroot", "/sbin/chroot", "/bin/chroot")


@dataclass(frozen=True, slots=True)
class Account:
    """Numeric ids and the home directory."""

    uid: int
    gid: int
    home: str

    @property
    def is_root(self) -> bool:
        """Whether nothing has to be given up."""
        return self.uid == 0 and self.gid == 0


def user_ids(root: str, user: str) -> Account:
    """The account of ``name``, ``uid``, ``name:group`` or ``uid:gid`` by passwd(5) and group(5) below ``root``.

    Raises ConfigError for a name that is in neither.
    """
    name, _, group = user.partition(":")
    with Rooted(root) as rooted:
        rows = _rows(rooted, "etc/passwd", 6)
        row = next((row for row in rows if row[0] == name or (name.isdigit() and row[2] == name)), None)
        if row is None and not name.isdigit():
            raise ConfigError(f"user {name!r} is not in the root file system", hint="use its number, or add the user")
        uid = int(row[2]) if row else int(name)
        gid = int(row[3]) if row else uid
        if group:
            gid = _group_id(rooted, group)
    return Account(uid, gid, row[5] if row and row[5] else "/")


def user_groups(root: str, user: str) -> tuple[int, ...]:
    """Numbers of the further groups that group(5) below ``root`` names a user in; none when a group was given."""
    name, colon, _ = user.partition(":")
    if colon:
        return ()
    with Rooted(root) as rooted:
        names = {row[0] for row in _rows(rooted, "etc/passwd", 6) if name in (row[0], row[2])}
        rows = _rows(rooted, "etc/group", 4)
    return tuple(sorted({int(row[2]) for row in rows if names & set(row[3].split(","))}))


def _group_id(rooted: Rooted, group: str) -> int:
    if group.isdigit():
        return int(group)
    for row in _rows(rooted, "etc/group", 3):
        if row[0] == group:
            return int(row[2])
    raise ConfigError(f"group {group!r} is not in the root file system", hint="use its number, or add the group")


def _rows(rooted: Rooted, path: str, columns: int) -> list[list[str]]:
    with suppress(OSError, HostileInputError):
        text = rooted.read_bytes(path, limit=_LARGEST).decode("utf-8", "replace")
        rows = [line.split(":") for line in text.splitlines()]
        return [row for row in rows if len(row) >= columns and row[2].isdigit()]
    return []


def drop_privileges(root: str, account: Account) -> tuple[str, ...]:
    """What goes before a command so that it runs as ``account``: setpriv(1) or chroot(1) of the root file system.

    Raises SandboxError when it has neither.
    """
    if account.is_root:
        return ()
    uid, gid = account.uid, account.gid
    with Rooted(root) as rooted:
        for path in _SETPRIV:
            if _is_program(rooted, path) and not _is_busybox(rooted, path):
                return (path, f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--inh-caps=-all", "--")
        for path in _CHROOT:
            if _is_program(rooted, path) and not _is_busybox(rooted, path):
                return (path, f"--userspec={uid}:{gid}", "--groups=", "--skip-chdir", "/")
    raise SandboxError(
        f"the root file system has no setpriv or chroot to run a command as {uid}:{gid}",
        hint="add util-linux or coreutils to it, or run the command as root",
    )


def _is_program(rooted: Rooted, path: str) -> bool:
    try:
        return rooted.stat(path).st_mode & 0o111 != 0
    except OSError:
        return False


def _is_busybox(rooted: Rooted, path: str) -> bool:
    """BusyBox's namesakes know none of the options."""
    with rooted.handle(path, os.O_PATH, follow=True) as handle:
        return "busybox" in os.readlink(f"/proc/self/fd/{handle}")
