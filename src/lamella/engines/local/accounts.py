"""Who runs a command: the numbers of a user in a root file system."""

from __future__ import annotations

from contextlib import suppress

from lamella.errors import ConfigError, HostileInputError
from lamella.host.rooted import Rooted
from lamella.values import dataclass

__all__ = ["Account", "user_groups", "user_ids"]

_LARGEST = 4 << 20


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
