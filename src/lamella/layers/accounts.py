"""passwd(5) and group(5): reading what a base has, and writing users that a layer adds.

A base's lines are kept as they are; a malformed one is skipped when reading, as the C library does.
"""

from __future__ import annotations

import re

from lamella.errors import ConfigError
from lamella.graph.facts import Group, User
from lamella.graph.op import NewUser

__all__ = ["ACCOUNT_FILES", "check_user", "line_of_user", "parse_group", "parse_passwd", "with_lines"]

ACCOUNT_FILES = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")
"""Files whose text base facts keep, so that users can be added without the base's bytes."""

_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\$?")
_MAX_ID = (1 << 32) - 2


def parse_passwd(text: str) -> tuple[User, ...]:
    """Users in the file's order."""
    users = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) == 7 and fields[0] and _is_id(fields[2]) and _is_id(fields[3]):
            name, _, uid, gid, gecos, home, shell = fields
            users.append(User(name, int(uid), int(gid), home or "/", shell, gecos))
    return tuple(users)


def parse_group(text: str) -> tuple[Group, ...]:
    """Groups in the file's order."""
    groups = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) == 4 and fields[0] and _is_id(fields[2]):
            groups.append(Group(fields[0], int(fields[2]), tuple(name for name in fields[3].split(",") if name)))
    return tuple(groups)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID


def check_user(user: NewUser) -> None:
    """Raises ConfigError for a user that passwd(5) cannot hold: one line, fields between colons."""
    if not _NAME.fullmatch(user.name):
        raise ConfigError(
            f"user name {user.name[:40]!r} is not allowed",
            hint="small letters, digits, '_', '-' and '.', at most 32, starting with a letter or '_'",
        )
    for what, path in (("home", user.home), ("shell", user.shell)):
        if path and (not path.startswith("/") or any(char in path for char in ":\n\r\0")):
            raise ConfigError(f"user {user.name!r}: {what} {path[:80]!r} is not an absolute path without ':'")
    if not (0 <= user.uid <= _MAX_ID and 0 <= user.gid <= _MAX_ID):
        raise ConfigError(f"user {user.name!r}: {user.uid}:{user.gid} are no ids")


def line_of_user(user: User) -> str:
    """One line of passwd(5); the password is in shadow(5) or there is none."""
    return f"{user.name}:x:{user.uid}:{user.gid}:{user.gecos}:{user.home}:{user.shell}"


def with_lines(text: str, lines: list[str]) -> str:
    """``text`` with lines added at its end, which gets a newline when it lacks one."""
    start = f"{text}\n" if text and not text.endswith("\n") else text
    return start + "".join(f"{line}\n" for line in lines)
