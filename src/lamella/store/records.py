"""Records: one canonical JSON file per resolved key, which is the truth; the SQLite index only finds them faster.

A record is of use only while everything that it names is there with the right size (RELIABILITY S8). One that is
not is a miss and is dropped; a miss is never an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lamella.commit import disk_errors, replace_file
from lamella.errors import HostileInputError, InternalError
from lamella.oci.digest import is_digest
from lamella.store.blobs import Blobs
from lamella.store.context import Context
from lamella.store.snapshots import Snapshots
from lamella.store.variants import Variants

if TYPE_CHECKING:  # the form of records is loaded when one is read
    from lamella.graph.record import Record
    from lamella.store.record_format import StoredRecord

__all__ = ["RecordIndex", "Records"]


class RecordIndex(Protocol):
    """What finds records by other things than their key."""

    def latest(self, project: str, name: str, *, look: bool = False) -> tuple[str, ...]:
        """Keys of the newest records of a vertex name, newest first. ``look``: the folders have just changed."""


class Records:
    """All records of one store. Thread-safe."""

    def __init__(
        self, context: Context, index: Callable[[], RecordIndex], blobs: Blobs, snapshots: Snapshots, variants: Variants
    ) -> None:
        self._context = context
        self._index = index
        self._blobs = blobs
        self._snapshots = snapshots
        self._variants = variants
        self._changed = False

    def put(self, record: Record, *, also: Iterable[str] = (), elsewhere: bool = False) -> None:
        """Stores a record, in place of an older one of its key.

        What its result names must be in the store: blobs ``tree``, ``packages``, ``facts`` and ``log``, snapshot
        ``snapshot``; InternalError otherwise. The snapshot of ``tree`` and the layers' blobs are needed from now on
        if they are there now. ``also`` are further blobs that it stands on (a base's manifest and config).

        ``elsewhere``: the record came from a cache repository, which has what is not here; ``tree`` and ``facts`` may
        be missing, and of its layers a note of where they are is enough.
        """
        from lamella.store.record_format import StoredRecord, record_to_bytes

        self._context.check_writable()
        stored = StoredRecord(record, self._needs(record, tuple(also), elsewhere))
        path = self._context.layout.record(record.key)
        self._context.leases.add(("record", record.key))
        with self._context.lock.shared():
            with disk_errors("storing a record", path):
                path.parent.mkdir(mode=0o755, exist_ok=True)
            replace_file(path, record_to_bytes(stored), staging=self._context.layout.staging, what="storing a record")
        self._changed = True

    def find(self, key: str) -> Record | None:
        """The record of a resolved key when all that it needs is there; what was found is under the open leases."""
        path = self._context.layout.record(key)
        self._context.leases.add(("record", key))
        with self._context.lock.shared():  # one hold for all looks that follow
            stored = self.load(path)
            whole = stored is not None and stored.record.key == key and not self.missing(stored)
        if stored is None:
            return None
        if not whole:
            self.drop(key)
            return None
        self._context.mark_used(path)
        return stored.record

    def objects(self, keys: Iterable[str]) -> tuple[tuple[str, str, int], ...] | None:
        """What some records need, as (kind, id, size), each once; None when one of them is not there."""
        found: dict[tuple[str, str, int], None] = {}
        for key in keys:
            stored = self.load(self._context.layout.record(key))
            if stored is None:
                return None
            found.update(dict.fromkeys(stored.objects))
        return tuple(found)

    def standing(self, keys: Iterable[str], objects: Sequence[tuple[str, str, int]]) -> bool:
        """Whether records and all of their objects are still there, without reading any; they are under the open
        leases and count as used.
        """
        keys = tuple(keys)
        self._context.leases.add(*(("record", key) for key in keys))
        self._context.leases.add(*((kind, identity) for kind, identity, _ in objects if kind != "layer"))
        paths = [self._context.layout.record(key) for key in keys]
        with self._context.lock.shared():
            if not (all(map(os.path.exists, paths)) and all(self._has(*one) for one in objects)):
                return False
        for path in paths:
            self._context.mark_used(path)
        return True

    def latest(self, project: str, name: str) -> Record | None:
        """The record of a vertex name in a project that was made or preferred last, whether or not its objects are
        still there.
        """
        for path in self._newest(project, name):
            stored = self.load(path)
            if stored is not None:
                return stored.record
        return None

    def prefer(self, project: str, name: str, key: str) -> None:
        """Makes a record that was used again the latest of its name: what comes next is compared with it."""
        path = self._context.layout.record(key)
        if not self._context.read_only and self._newest(project, name)[:1] not in ([], [path]):
            with suppress(OSError):
                os.utime(path)

    def _newest(self, project: str, name: str) -> list[Path]:
        """The files of the latest records of a name, the latest first, by the times of their files."""
        changed, self._changed = self._changed, False
        times = {}
        for key in self._index().latest(project, name, look=changed):
            path = self._context.layout.record(key)
            with suppress(FileNotFoundError):
                times[path] = os.stat(path).st_mtime_ns
        return sorted(times, key=times.__getitem__, reverse=True)

    def all(self) -> Iterator[Record]:
        """Every record that can be read, sorted by key."""
        for _, stored in self.stored():
            yield stored.record

    def stored(self) -> Iterator[tuple[Path, StoredRecord]]:
        """Every record that can be read, with its file and its needs."""
        for path in self.paths():
            stored = self.load(path)
            if stored is not None:
                yield path, stored

    def paths(self) -> Iterator[Path]:
        """The files of all records, sorted by key."""
        folder = self._context.layout.folder("records")
        for shard in sorted(os.listdir(folder)):
            for name in sorted(os.listdir(folder / shard)):
                if is_digest(f"sha256:{name.removesuffix('.json')}"):
                    yield folder / shard / name

    def missing(self, stored: StoredRecord) -> tuple[str, ...]:
        """What a record needs and is not there, as text; everything is put under the open leases."""
        self._context.leases.add(*((kind, identity) for kind, identity, _ in stored.objects if kind != "layer"))
        return tuple(f"{kind} {one}" for kind, one, size in stored.objects if not self._has(kind, one, size))

    def drop(self, key: str) -> bool:
        """Removes a record; its objects go with a later collection. False when there was none."""
        if self._context.read_only:
            return False
        trash = self._context.discard(self._context.layout.record(key))
        self._context.empty(trash)
        self._changed = True
        return trash is not None

    def _has(self, kind: str, identity: str, size: int) -> bool:
        if kind == "blob":
            return self._blobs.has(identity, size)
        if kind == "snapshot":
            return self._snapshots.has(identity, size)
        return self._blobs.has(identity) or bool(self._variants.known(identity))

    def _needs(self, record: Record, also: tuple[str, ...], elsewhere: bool) -> tuple[tuple[str, str, int], ...]:
        result = record.result
        needs: list[tuple[str, str, int]] = []
        for digest in filter(None, (result.tree, result.packages, result.facts, *also)):
            size = self._blobs.size(digest)
            if size is None and elsewhere and digest in (result.tree, result.facts):
                continue
            if size is None:
                raise InternalError(f"record of {record.name} names blob {digest}, which is not in the store")
            needs.append(("blob", digest, size))
        for identity, must in ((result.snapshot, True), (result.tree, False)):
            found = self._snapshots.find(identity) if identity else None
            if found is not None:
                needs.append(("snapshot", identity, found.manifest_size))
            elif identity and must:
                raise InternalError(f"record of {record.name} names snapshot {identity}, which is not in the store")
        if not result.snapshot:  # else a lost layer is written from it again
            needs += [("layer", one.diff_id, 0) for one in result.layers if self._has("layer", one.diff_id, 0)]
        return tuple(dict.fromkeys(needs))

    def load(self, path: Path) -> StoredRecord | None:
        """A record from its file, without a lease; a malformed one is put into quarantine."""
        from lamella.store.record_format import UnknownFormatError, parse_record

        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            data = b""
        try:
            return parse_record(data)
        except UnknownFormatError:
            return None
        except HostileInputError as error:
            if not self._context.read_only:
                with suppress(FileNotFoundError):
                    self._context.quarantine(path, "record")
            self._context.warn(f"record {path.stem[:12]} was put into quarantine: {error.message}")
            return None
