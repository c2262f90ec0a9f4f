"""What is in a store, as values: the input of collection, status and verification. Takes no leases."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from lamella.canonical import FrozenMap
from lamella.errors import HostileInputError
from lamella.oci import media
from lamella.oci.manifest import MANIFEST_LIMIT, Descriptor, parse_index, parse_manifest
from lamella.store.context import Context
from lamella.store.images import Images
from lamella.store.parts import Parts
from lamella.store.record_format import StoredRecord
from lamella.store.snapshots import contents_id
from lamella.values import dataclass

__all__ = ["Item", "MutableItem", "Object", "RecordItem", "Surveyor", "image_objects", "named_by", "tree_size"]

Object = tuple[str, str]
"""(kind, id) with kind blob or snapshot."""


@dataclass(frozen=True, slots=True)
class Item:
    """A blob or snapshot: ``size`` in bytes, ``changed`` when it was committed (seconds since the epoch)."""

    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class RecordItem:
    """A record: ``used`` when it was last found, ``size`` of its file, ``objects`` what it keeps alive."""

    key: str
    project: str
    name: str
    created: int
    used: int
    size: int
    objects: frozenset[Object]


@dataclass(frozen=True, slots=True)
class MutableItem:
    """A state or cache by its name on disk: ``size`` in bytes, ``used`` when it was last held."""

    kind: str
    name: str
    size: int
    used: int


class Surveyor:
    """Looks at a store. Records are parsed once, so a second look under the store lock is quick."""

    def __init__(self, parts: Parts) -> None:
        self._context = parts.context
        self._records = parts.records
        self._snapshots = parts.snapshots
        self._variants = parts.variants
        self._images = parts.images
        self._parsed: dict[tuple[str, int], StoredRecord] = {}

    def objects(self) -> dict[Object, Item]:
        """Every blob and every snapshot, whole or not, with its size."""
        found: dict[Object, Item] = {}
        blobs = self._context.layout.oci / "blobs"
        for algorithm in os.listdir(blobs):
            with os.scandir(blobs / algorithm) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found["blob", f"{algorithm}:{entry.name}"] = Item(status.st_size, int(status.st_mtime))
        for snapshot in self._snapshots.all():
            with suppress(FileNotFoundError):
                changed = int(os.lstat(snapshot.folder / "manifest").st_mtime)
                found["snapshot", snapshot.id] = Item(snapshot.size + snapshot.manifest_size, changed)
        return found

    def records(self) -> tuple[RecordItem, ...]:
        """Every record that can be read."""
        return tuple(self._record_items())

    def rooted(self, pins: Iterable[tuple[str, tuple[Object, ...]]]) -> set[Object]:
        """What images and pins keep alive, records among it of kind record. Raises IntegrityError as both do."""
        found = image_objects(self._context, self._images)
        for _, objects in pins:
            found.update(objects)
        return found

    def variants(self) -> FrozenMap[str, tuple[tuple[str, str, bool], ...]]:
        """Of every layer its variants as (file name, blob digest, whether a repository has it too)."""
        return FrozenMap(
            {
                diff_id: tuple(
                    (f"{v.compressor}-{v.level}.json", v.descriptor.digest, bool(v.elsewhere)) for v in found
                )
                for diff_id in self._variants.diff_ids()
                if (found := self._variants.named(diff_id))
            }
        )

    def mutable(self) -> tuple[MutableItem, ...]:
        """Every state and cache. Slow where they are large."""
        found = []
        for kind in ("state", "cache"):
            folder = self._context.layout.folder(f"{kind}s")
            for name in sorted(os.listdir(folder)):
                with suppress(FileNotFoundError):
                    about = folder / name / "about"
                    used = os.stat(about if about.exists() else folder / name).st_mtime
                    found.append(MutableItem(kind, name, tree_size(folder / name), int(used)))
        return tuple(found)

    def _record_items(self) -> Iterator[RecordItem]:
        for path in self._records.paths():
            with suppress(FileNotFoundError):
                status = os.stat(path)
                stored = self._stored(path, status.st_ino)
                if stored is not None:
                    record = stored.record
                    yield RecordItem(
                        record.key,
                        record.project,
                        record.name,
                        record.created,
                        max(int(status.st_mtime), record.created),
                        status.st_size,
                        self._kept_by(stored),
                    )

    def _stored(self, path: Path, inode: int) -> StoredRecord | None:
        known = self._parsed.get((path.name, inode))
        if known is None:
            known = self._records.load(path)
            if known is not None:
                self._parsed[path.name, inode] = known
        return known

    def _kept_by(self, stored: StoredRecord) -> frozenset[Object]:
        """What a record needs, all forms of its layers, and what only explains it (output, file sets of sources)."""
        record = stored.record
        kept = {(kind, identity) for kind, identity, _ in stored.objects if kind != "layer"}
        kept.update(("blob", digest) for digest in (record.log, *record.filesets.values()) if digest)
        for layer in record.result.layers:
            kept |= {("blob", layer.diff_id), ("snapshot", layer.diff_id)}
            kept.add(("snapshot", contents_id(layer.diff_id)))
            kept.update(("blob", variant.descriptor.digest) for variant in self._variants.named(layer.diff_id))
        return frozenset(kept)


def image_objects(context: Context, images: Images) -> set[Object]:
    """Blobs of everything that has a name: indexes, manifests, configs, layers. What cannot be read ends there.

    Raises IntegrityError when the names themselves cannot be read: then nobody may say that something has none.
    """
    found: set[Object] = set()
    todo = [image.descriptor for image in images.list()]
    while todo:
        descriptor = todo.pop()
        if ("blob", descriptor.digest) not in found:
            found.add(("blob", descriptor.digest))
            todo += named_by(context, descriptor)
    return found


def named_by(context: Context, descriptor: Descriptor) -> list[Descriptor]:
    """What a manifest or index in the store names; nothing for other content and for what cannot be read."""
    if not (media.is_index(descriptor.media_type) or media.is_manifest(descriptor.media_type)):
        return []
    try:
        with open(context.layout.blob(descriptor.digest), "rb") as file:
            data = file.read(MANIFEST_LIMIT + 1)
        if media.is_index(descriptor.media_type):
            return list(parse_index(data).manifests)
        manifest = parse_manifest(data)
    except (OSError, HostileInputError):
        return []
    return [manifest.config, *manifest.layers]


def tree_size(path: Path) -> int:
    """Bytes that a tree takes on disk; what vanishes or may not be read counts nothing."""
    total, todo = 0, [str(path)]
    while todo:
        with suppress(FileNotFoundError, PermissionError, NotADirectoryError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_blocks * 512
                    if stat.S_ISDIR(status.st_mode):
                        todo.append(entry.path)
    return total
