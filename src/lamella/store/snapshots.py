"""Snapshots: trees on disk that were committed whole (RELIABILITY S2).

``snapshots/<id>/fs`` is the tree, ``manifest`` the stored form of its FileSet, ``meta`` the digest and sizes of
that. One without ``meta`` does not exist. Where no namespaces are to be had, a layer is kept without a tree, as the
bytes of its files (``layers.contents``): its id is :func:`contents_id`, so that nobody takes it for a tree.

Files below ``fs`` may belong to subordinate ids, so this module never goes into it; whoever deletes does
(``Context.remover``).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lamella.canonical import canonical_json, digest_bytes, digest_value
from lamella.commit import commit_directory, disk_errors
from lamella.errors import IntegrityError, InternalError
from lamella.host.locks import lock_directory
from lamella.oci.digest import is_digest, short_digest
from lamella.store.context import Context, random_name
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.graph.fileset import FileSet

__all__ = ["SNAPSHOT_FORMAT", "Snapshot", "Snapshots", "StagedSnapshot", "contents_id", "missing_snapshot"]

SNAPSHOT_FORMAT = 1
"""Major version of ``meta``; another one is a miss."""


def missing_snapshot(identity: str) -> IntegrityError:
    """The error of whoever needs a snapshot that is gone."""
    return IntegrityError(
        f"snapshot {short_digest(identity)} is not in the store any more",
        hint="run: lamella cache repair, then build again",
    )


def contents_id(diff_id: str) -> str:
    """The id of the snapshot that has the bytes of a layer's files and no tree."""
    return digest_value({"contents": diff_id})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A committed snapshot. ``size`` is the bytes of its regular files, ``manifest`` the digest of its file set.

    ``is_tree`` is false for the bytes of a layer's files alone.
    """

    id: str
    folder: Path
    manifest: str
    manifest_size: int
    size: int
    entries: int
    is_tree: bool = True

    @property
    def path(self) -> Path:
        """The tree, or the bytes by digest. Nobody may write there."""
        return self.folder / "fs"

    def fileset(self) -> FileSet:
        """Its file set; raises IntegrityError when the stored one does not have its digest."""
        from lamella.graph.fileset import parse_fileset

        data = (self.folder / "manifest").read_bytes()
        if digest_bytes(data) != self.manifest:
            raise IntegrityError(
                f"the manifest of snapshot {short_digest(self.id)} does not have its digest",
                hint="run `lamella cache repair`, then build again",
            )
        return parse_fileset(data)


class StagedSnapshot:
    """A tree being made: fill ``path``, then ``commit``. Leaving the block without a commit drops it."""

    def __init__(self, context: Context) -> None:
        context.check_writable()
        self._context = context
        self._folder = context.layout.staging / random_name()
        with disk_errors("making a snapshot", self._folder):
            self._lock = self._make()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.abort()

    @property
    def path(self) -> Path:
        """An empty directory of mode 0755 to fill."""
        return self._folder / "fs"

    @property
    def folder(self) -> Path:
        """The directory around ``path``, for what must lie in the same file system (an overlay's work directory)."""
        return self._folder

    def commit(self, identity: str, fileset: FileSet, *, is_tree: bool = True) -> Snapshot:
        """Makes the tree durable as snapshot ``identity``; when that exists already, this tree is dropped.

        All processes that wrote into it must be gone and nothing may be mounted in it. ``fileset`` is what it holds.
        ``is_tree`` false says that only the bytes of its files are there, and ``identity`` is a :func:`contents_id`.
        """
        manifest = fileset.to_bytes()
        meta: dict[str, Any] = {
            "format": SNAPSHOT_FORMAT,
            "id": identity,
            "manifest": digest_bytes(manifest),
            "manifest_size": len(manifest),
            "size": fileset.size,
            "entries": len(fileset),
        }
        if not is_tree:
            meta["tree"] = False
        target = self._context.layout.snapshot(identity)
        self._context.leases.add(("snapshot", identity))
        self._drop_extras()
        snapshots = Snapshots(self._context)
        snapshots.displace_broken(identity)
        with self._context.lock.shared():
            commit_directory(self._folder, target, {"manifest": manifest, "meta": canonical_json(meta)})
        self.abort()
        found = snapshots.find(identity)
        if found is None:
            raise IntegrityError(f"snapshot {short_digest(identity)} vanished while it was committed")
        return found

    def abort(self) -> None:
        """Drops the tree unless it was committed; harmless when repeated."""
        if self._lock < 0:
            return
        lock, self._lock = self._lock, -1
        trash = self._context.discard(self._folder)
        os.close(lock)
        self._context.empty(trash)

    def _make(self) -> int:
        """Makes the directory and locks it: the lock says that its maker lives, the store lock keeps sweepers out."""
        with self._context.lock.shared():
            os.mkdir(self._folder, 0o700)
            lock = lock_directory(self._folder)
        if lock is None:
            raise InternalError(f"{self._folder} is new and yet locked")
        self.path.mkdir()
        self.path.chmod(0o755)
        return lock

    def _drop_extras(self) -> None:
        for name in sorted(os.listdir(self._folder)):
            if name != "fs":
                self._context.empty(self._context.discard(self._folder / name))


class Snapshots:
    """All snapshots of one store. Thread-safe."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def stage(self) -> StagedSnapshot:
        """A new tree to fill; raises ResourceError when the disk is full."""
        return StagedSnapshot(self._context)

    def find(self, identity: str) -> Snapshot | None:
        """The snapshot of an id, put under the open leases; None when there is none or it is not whole."""
        self._context.leases.add(("snapshot", identity))
        with self._context.lock.shared():
            found = self._read(identity)
        if found is not None:
            self._context.mark_used(f"{found.folder}/meta")
        return found

    def has(self, identity: str, manifest_size: int) -> bool:
        """Whether the snapshot is there with a manifest of that size; a quicker look than :meth:`find`."""
        folder = self._context.layout.snapshot(identity)
        self._context.leases.add(("snapshot", identity))
        with self._context.lock.shared():
            try:
                return os.lstat(f"{folder}/manifest").st_size == manifest_size and os.path.isdir(f"{folder}/fs")
            except OSError:
                return False

    def all(self) -> Iterator[Snapshot]:
        """Every whole snapshot, sorted by id; they are not put under a lease."""
        for name in sorted(os.listdir(self._context.layout.folder("snapshots"))):
            found = self._read(f"sha256:{name}") if is_digest(f"sha256:{name}") else None
            if found is not None:
                yield found

    def remove(self, identity: str) -> bool:
        """Takes a snapshot out of the store and deletes its bytes; false when there was none."""
        self._context.check_writable()
        with self._context.lock.exclusive():
            trash = self._context.discard(self._context.layout.snapshot(identity))
        self._context.empty(trash)
        return trash is not None

    def displace_broken(self, identity: str) -> bool:
        """Puts what has the name of a snapshot and is not a whole one into quarantine; false when there is none."""
        folder = self._context.layout.snapshot(identity)
        if self._read(identity) is not None or not os.path.lexists(folder):
            return False
        with self._context.lock.exclusive():
            return self._read(identity) is None and self._context.quarantine(folder, "snapshot") is not None

    def _read(self, identity: str) -> Snapshot | None:
        folder = self._context.layout.snapshot(identity)
        try:
            with open(f"{folder}/meta", "rb") as file:
                snapshot = _from_meta(identity, folder, json.load(file))
            tree, manifest = os.lstat(f"{folder}/fs"), os.lstat(f"{folder}/manifest")
        except (OSError, ValueError, KeyError, TypeError):
            return None
        whole = stat.S_ISDIR(tree.st_mode) and stat.S_ISREG(manifest.st_mode)
        return snapshot if whole and manifest.st_size == snapshot.manifest_size else None


def _from_meta(identity: str, folder: Path, meta: Any) -> Snapshot:
    if meta["format"] != SNAPSHOT_FORMAT or meta["id"] != identity or not is_digest(meta["manifest"]):
        raise ValueError("not the description of this snapshot")
    return Snapshot(
        identity,
        folder,
        meta["manifest"],
        int(meta["manifest_size"]),
        int(meta["size"]),
        int(meta["entries"]),
        bool(meta.get("tree", True)),
    )
