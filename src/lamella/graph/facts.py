"""Base facts: what is known of a finished chain of base steps (DESIGN 7b.3 and 7b.4).

They verify and place; they never choose an op. A placement depends on the facts of just its parents, so
:meth:`BaseFacts.subset` is what enters its key.
"""

from __future__ import annotations

import posixpath

from lamella.canonical import EMPTY_MAP, FrozenMap, digest_value
from lamella.oci.config import RuntimeConfig
from lamella.values import dataclass

__all__ = ["EMPTY_FACTS", "BaseFacts", "DirectoryFact", "Group", "Interpreter", "User"]


@dataclass(frozen=True, slots=True, order=True)
class DirectoryFact:
    """Owner and mode of one directory of the base; ``path`` is absolute."""

    path: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, order=True)
class User:
    """One line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str = "/"
    shell: str = ""
    gecos: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """One line of group(5)."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Interpreter:
    """A language interpreter: ``path`` absolute, ``version`` ``3.11``, ``abi`` the cache tag or libc name."""

    language: str
    path: str
    version: str
    abi: str = ""


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """All that is known of a base. ``tools`` are the names of programs on its PATH.

    ``libc`` is ``glibc`` or ``musl`` with ``libc_version``. ``packages`` maps package to version.
    """

    platform: str = ""
    directories: FrozenMap[str, DirectoryFact] = EMPTY_MAP
    symlinks: FrozenMap[str, str] = EMPTY_MAP
    files: FrozenMap[str, str] = EMPTY_MAP
    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()
    os_release: FrozenMap[str, str] = EMPTY_MAP
    libc: str = ""
    libc_version: str = ""
    interpreters: tuple[Interpreter, ...] = ()
    tools: tuple[str, ...] = ()
    packages: FrozenMap[str, str] = EMPTY_MAP
    runtime: RuntimeConfig = RuntimeConfig()

    @property
    def digest(self) -> str:
        """Digest over all facts."""
        return digest_value(self)

    def user(self, name: str) -> User | None:
        """The user of a name or of a number in text form."""
        for entry in self.users:
            if entry.name == name or str(entry.uid) == name:
                return entry
        return None

    def group(self, name: str) -> Group | None:
        """The group of a name or of a number in text form."""
        for entry in self.groups:
            if entry.name == name or str(entry.gid) == name:
                return entry
        return None

    def real_path(self, path: str) -> str:
        """``path`` with the base's symlinks in its parents resolved, so that nothing is written through a link.

        ``/lib64/x`` becomes ``/usr/lib64/x`` on a merged-usr base. Loops end after 40 steps as in path_resolution(7).
        """
        done, rest, steps = "/", [part for part in path.split("/") if part], 0
        while rest:
            part = rest.pop(0)
            candidate = posixpath.normpath(posixpath.join(done, part))
            target = self.symlinks.get(candidate)
            if target is None or not rest or steps > 40:
                done = candidate
                continue
            steps += 1
            joined = target if target.startswith("/") else posixpath.join(done, target)
            rest = [piece for piece in posixpath.normpath(joined).split("/") if piece] + rest
            done = "/"
        return done

    def subset(self, paths: tuple[str, ...], names: tuple[str, ...] = ()) -> FrozenMap[str, object]:
        """The facts that placing files at ``paths`` with owners ``names`` depends on.

        Directories and links on the way to each path and below it, and the numeric ids of the owners.
        """
        real = tuple(self.real_path(path) for path in paths)
        wanted = {ancestor for path in (*real, *paths) for ancestor in _ancestors(path)}
        below = tuple(f"{path.rstrip('/')}/" for path in {*real, *paths})

        def counts(path: str) -> bool:
            return path in wanted or path.startswith(below)

        return FrozenMap(
            {
                "directories": tuple(sorted(fact for path, fact in self.directories.items() if counts(path))),
                "symlinks": FrozenMap({path: to for path, to in self.symlinks.items() if counts(path)}),
                "owners": FrozenMap({name: self.owner_ids(name) for name in names}),
            }
        )

    def owner_ids(self, owner: str) -> tuple[int, int] | None:
        """Numeric (uid, gid) of ``user``, ``user:group``, ``uid`` or ``uid:gid``; None when a name is unknown."""
        user_text, colon, group_text = owner.partition(":")
        user = self.user(user_text)
        if user is None and not user_text.isdigit():
            return None
        uid = user.uid if user else int(user_text)
        if not colon:
            return uid, (user.gid if user else uid)
        group = self.group(group_text)
        if group is None and not group_text.isdigit():
            return None
        return uid, (group.gid if group else int(group_text))


def _ancestors(path: str) -> tuple[str, ...]:
    """The directories above an absolute path, root first, and the path itself."""
    parts = [part for part in path.split("/") if part]
    return ("/", *("/" + "/".join(parts[: count + 1]) for count in range(len(parts))))


EMPTY_FACTS = BaseFacts()
"""Facts of ``scratch``: nothing is there."""
