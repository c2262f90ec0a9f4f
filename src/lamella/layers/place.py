"""Placement: a product becomes a layer that may land on a base (DESIGN 7b.3). Pure: values in, values out.

The file set depends on the product, the op, and the facts that ``BaseFacts.subset`` names; the base's files only
tell what is replaced.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.graph.facts import BaseFacts
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.op import PlaceOp
from lamella.layers.content import Content
from lamella.layers.parents import real_directory, with_parents
from lamella.layers.users import AddedUsers, add_users
from lamella.values import dataclass, replace

__all__ = ["AddedUsers", "Placed", "add_users", "check_owners", "place", "replaced_files"]


@dataclass(frozen=True, slots=True)
class Placed:
    """A layer's file set; which entry of the product each of its files was; the base's files that it replaces."""

    fileset: FileSet
    origins: FrozenMap[str, Entry]
    replaced: tuple[str, ...] = ()

    def content(self, product: Content) -> Content:
        """The bytes of the layer's files out of the product's."""
        return lambda entry: product(self.origins[entry.path])


def place(product: FileSet, op: PlaceOp, facts: BaseFacts) -> Placed:
    """``product`` below ``op.target``, with owner, mode and parent directories.

    Raises ConfigError for an owner that the base does not know (with its users), a ``source`` that the product does
    not have, and a place where the base has a directory for a file or a file for a directory.
    """
    owner = _owner(op, facts)
    placing = _Placing(op, facts, owner)
    for entry, path in _wanted(product, op):
        placing.add(entry, path)
    return placing.finish()


def _owner(op: PlaceOp, facts: BaseFacts) -> tuple[int, int]:
    found = facts.owner_ids(op.owner)
    if found is None:
        known = ", ".join(user.name for user in facts.users) or "no users"
        raise ConfigError(
            f"owner {op.owner!r} of {op.target} is not in the base, which has {known}",
            hint="add the user to a base layer's 'users', or write numbers",
        )
    return found


def _wanted(product: FileSet, op: PlaceOp) -> list[tuple[Entry, str]]:
    """Entries of the product that are placed, each with its absolute path before the base's links are looked at."""
    taken = _taken(product, op.source)
    if not taken and op.source:
        raise ConfigError(f"nothing to place at {op.target}: the product has no {op.source!r}")
    target = posixpath.normpath(op.target)
    files = [(entry, path) for entry, path in taken if entry.type is not EntryType.DIRECTORY]
    if len(files) == 1:
        entry, path = files[0]
        if op.rename or (len(taken) == 1 and path == posixpath.basename(target)):
            return [(entry, target)]
    return [(entry, posixpath.join(target, path)) for entry, path in taken]


def _taken(product: FileSet, source: str) -> list[tuple[Entry, str]]:
    """(entry, path relative to ``source``); a source that is one file has its name alone."""
    source = source.strip("/")
    if source in ("", "."):
        return [(entry, entry.path) for entry in product]
    only = product.get(source)
    if only is not None and only.type is not EntryType.DIRECTORY:
        return [(only, posixpath.basename(source))]
    return [(e, e.path[len(source) + 1 :]) for e in product if e.path.startswith(f"{source}/")]


class _Placing:
    """Collects placed entries by their real path."""

    def __init__(self, op: PlaceOp, facts: BaseFacts, owner: tuple[int, int]) -> None:
        self._op = op
        self._facts = facts
        self._owner = owner
        self._mode = int(op.mode, 8) if op.mode else None
        self._target = posixpath.normpath(op.target)
        self._seen: set[str] = set()
        self._entries: dict[str, Entry] = {}
        self._origins: dict[str, Entry] = {}

    def add(self, entry: Entry, path: str) -> None:
        """Notes one entry of the product at an absolute path."""
        if entry.type is EntryType.DIRECTORY:
            self._directory(path, entry.mode)
            return
        self._directories_above(path)
        real = self._facts.real_path(path)
        if real in self._facts.directories:
            raise ConfigError(f"{path} cannot be placed: {real} is a directory in the base")
        if real[1:] in self._entries:
            raise ConfigError(
                f"two files of the product land at {real}: links of the base make {path} lead there too",
                hint=f"place the product below another directory than {self._op.target}",
            )
        mode = self._mode if self._mode is not None and entry.type is EntryType.FILE else entry.mode
        uid, gid = self._owner
        self._entries[real[1:]] = replace(entry, path=real[1:], mode=mode, uid=uid, gid=gid)
        self._origins[real[1:]] = entry

    def _directories_above(self, path: str) -> None:
        """Directories from the target down to ``path``: products of sources have no entries for them."""
        if path == self._target:
            return
        while path not in (self._target, "/"):
            path = posixpath.dirname(path)
            if path in self._seen:
                return
            self._seen.add(path)
            self._directory(path, 0o755)

    def _directory(self, path: str, mode: int) -> None:
        """A directory of the product, unless the base has it: then its owner and mode stay."""
        real = real_directory(self._facts, path)
        if real == "/" or real in self._facts.directories or real[1:] in self._entries:
            return
        uid, gid = self._owner
        self._entries[real[1:]] = Entry(real[1:], EntryType.DIRECTORY, mode, uid, gid)

    def finish(self) -> Placed:
        fileset = with_parents(FileSet.of(self._entries.values()), self._facts)
        self._check_directories(fileset)
        return Placed(fileset, FrozenMap(self._origins), replaced_files(fileset, self._facts))

    def _check_directories(self, fileset: FileSet) -> None:
        for entry in fileset:
            path = f"/{entry.path}"
            if entry.type is EntryType.DIRECTORY and path in self._facts.files:
                raise ConfigError(f"{self._op.target} cannot be placed: {path} is a file in the base")
            if entry.type is EntryType.DIRECTORY and path in self._facts.symlinks:
                raise ConfigError(
                    f"{self._op.target} cannot be placed: {path} is a link that leads nowhere in the base"
                )


def replaced_files(fileset: FileSet, facts: BaseFacts) -> tuple[str, ...]:
    """Absolute paths of the base's files and links that a layer puts something else over, sorted."""
    paths = (f"/{entry.path}" for entry in fileset if entry.type is not EntryType.DIRECTORY)
    return tuple(path for path in paths if path in facts.files or path in facts.symlinks)


def check_owners(layers: Mapping[str, FileSet]) -> tuple[str, ...]:
    """Checks that no two layers of an image own one path; ``layers`` are in the image's order, lowest first.

    Raises ConfigError with both names for two files, or a file and a directory. Directories may be shared; a warning
    per directory that a later layer gives another owner or mode is returned.
    """
    owners: dict[str, tuple[str, Entry]] = {}
    warnings: list[str] = []
    for name, fileset in layers.items():
        for entry in fileset:
            before = owners.get(entry.path)
            owners[entry.path] = (name, entry)
            if before is None:
                continue
            other, known = before
            if entry.type is not EntryType.DIRECTORY or known.type is not EntryType.DIRECTORY:
                raise ConfigError(
                    f"layers {other!r} and {name!r} both own /{entry.path}",
                    hint="give one of them another 'to', or leave the file out of its inputs",
                )
            if (entry.mode, entry.uid, entry.gid) != (known.mode, known.uid, known.gid):
                warnings.append(
                    f"/{entry.path} is {_rights(known)} in layer {other!r} and {_rights(entry)} in {name!r}, which wins"
                )
    return tuple(warnings)


def _rights(entry: Entry) -> str:
    return f"{entry.mode:04o} {entry.uid}:{entry.gid}"
