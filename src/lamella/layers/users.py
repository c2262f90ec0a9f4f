"""Users as a layer: passwd and group of the base with lines added, home directories, sudo rules (DESIGN 7b.4)."""

from __future__ import annotations

import posixpath

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import ConfigError
from lamella.graph.facts import BaseFacts, DirectoryFact, Group, User
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.op import NewUser, UsersOp
from lamella.layers.accounts import check_user, line_of_user, with_lines
from lamella.layers.parents import real_directory, with_parents
from lamella.values import dataclass, replace

__all__ = ["AddedUsers", "add_users"]

_NO_HOMES = ("/", "/nonexistent", "/dev/null")
"""Homes of users that have none; Debian's must really not exist."""


@dataclass(frozen=True, slots=True)
class AddedUsers:
    """A layer with users: its file set, the bytes of its files by their path there, and the facts above it."""

    fileset: FileSet
    files: FrozenMap[str, bytes]
    facts: BaseFacts


def add_users(op: UsersOp, facts: BaseFacts) -> AddedUsers:
    """The layer that adds ``op.users`` to a base.

    A user that is there with the same ids is left alone. Raises ConfigError, with the base's users, for a name or
    an id that belongs to somebody else.
    """
    plan = _Plan(facts)
    for user in op.users:
        check_user(user)
        plan.add(user)
    return plan.finish()


class _Plan:
    """Gathers lines per file and the directories and rules that go with them."""

    def __init__(self, facts: BaseFacts) -> None:
        self._facts = facts
        self._users = list(facts.users)
        self._groups = list(facts.groups)
        self._lines: dict[str, list[str]] = {}
        self._entries: list[Entry] = []
        self._files: dict[str, bytes] = {}

    def add(self, wanted: NewUser) -> None:
        same = next((user for user in self._users if user.name == wanted.name), None)
        if same is not None:
            if (same.uid, same.gid) == (wanted.uid, wanted.gid):
                return
            raise self._taken(f"user {wanted.name!r} is there already as {same.uid}:{same.gid}")
        other = next((user for user in self._users if user.uid == wanted.uid), None)
        if other is not None:
            raise self._taken(f"user {wanted.name!r} wants the id {wanted.uid}, which {other.name!r} has")
        self._add_group(wanted)
        user = User(wanted.name, wanted.uid, wanted.gid, wanted.home or f"/home/{wanted.name}", self._shell(wanted))
        self._users.append(user)
        self._line("/etc/passwd", line_of_user(user))
        if "/etc/shadow" in self._facts.files:
            # No last change: a date would be the day of the build, and an old one asks for a new password.
            self._line("/etc/shadow", f"{user.name}:!:::::::")
        self._add_home(user)
        if wanted.sudo:
            self._add_sudo(wanted)

    def _taken(self, message: str) -> ConfigError:
        known = ", ".join(f"{user.name} ({user.uid})" for user in self._users)
        return ConfigError(message, hint=f"choose another name or id; the base has {known}")

    def _add_group(self, wanted: NewUser) -> None:
        if any(group.gid == wanted.gid for group in self._groups):
            return
        if any(group.name == wanted.name for group in self._groups):
            known = ", ".join(f"{group.name} ({group.gid})" for group in self._groups)
            raise ConfigError(
                f"user {wanted.name!r} wants a group of that name with the id {wanted.gid}, but it has another",
                hint=f"use its id as gid; the base has {known}",
            )
        self._groups.append(Group(wanted.name, wanted.gid))
        self._line("/etc/group", f"{wanted.name}:x:{wanted.gid}:")
        if "/etc/gshadow" in self._facts.files:
            self._line("/etc/gshadow", f"{wanted.name}:!::")

    def _shell(self, wanted: NewUser) -> str:
        """The wanted shell, else one that lets nobody in, or a real one for who may use sudo."""
        if wanted.shell:
            return wanted.shell
        choices = ("/bin/bash", "/bin/sh") if wanted.sudo else ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")
        for path in choices:
            real = self._facts.real_path(path)
            if real in self._facts.files or real in self._facts.symlinks:
                return path
        return "/bin/sh" if wanted.sudo else "/sbin/nologin"

    def _line(self, path: str, line: str) -> None:
        self._lines.setdefault(path, []).append(line)

    def _add_home(self, user: User) -> None:
        home = real_directory(self._facts, user.home)
        if home in _NO_HOMES or home in self._facts.directories or home in self._facts.files:
            return
        self._entries.append(Entry(home[1:], EntryType.DIRECTORY, 0o755, user.uid, user.gid))

    def _add_sudo(self, wanted: NewUser) -> None:
        rule = f"{wanted.name} ALL=(ALL:ALL) NOPASSWD:ALL\n"
        # sudo(8) passes over names with a dot, so the file is not always named like the user.
        self._file(f"/etc/sudoers.d/{wanted.name.replace('.', '_')}", rule.encode(), 0o440)
        if "/etc/sudoers.d" not in self._facts.directories:
            self._entries.append(Entry("etc/sudoers.d", EntryType.DIRECTORY, 0o750))

    def _file(self, path: str, data: bytes, mode: int, gid: int = 0) -> None:
        real = real_directory(self._facts, posixpath.dirname(path))
        place = posixpath.join(real, posixpath.basename(path))[1:]
        self._files[place] = data
        self._entries.append(Entry(place, EntryType.FILE, mode, 0, gid, len(data), digest_bytes(data)))

    def finish(self) -> AddedUsers:
        texts: dict[str, str] = {}
        for path, lines in self._lines.items():
            texts[path] = with_lines(self._facts.files.get(path, ""), lines)
            mode, gid = self._secret() if path in ("/etc/shadow", "/etc/gshadow") else (0o644, 0)
            self._file(path, texts[path].encode("utf-8", "surrogateescape"), mode, gid)
        unique = {entry.path: entry for entry in self._entries}
        fileset = with_parents(FileSet.of(unique.values()), self._facts)
        facts = replace(
            self._facts,
            users=tuple(self._users),
            groups=tuple(self._groups),
            directories=self._facts.directories.with_items(
                {
                    f"/{entry.path}": DirectoryFact(f"/{entry.path}", entry.mode, entry.uid, entry.gid)
                    for entry in fileset
                    if entry.type is EntryType.DIRECTORY
                }
            ),
            files=self._facts.files.with_items({f"/{path}": "" for path in self._files} | texts),
        )
        return AddedUsers(fileset, FrozenMap(self._files), facts)

    def _secret(self) -> tuple[int, int]:
        """Mode and group of the shadow files: as Debian and Alpine have them where the group is there, else root's."""
        group = next((group for group in self._groups if group.name == "shadow"), None)
        return (0o640, group.gid) if group else (0o600, 0)
