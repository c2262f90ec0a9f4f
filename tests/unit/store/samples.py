"""Things to put into a store, and a store to put them into."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lamella.canonical import digest_bytes
from lamella.commit import disk_errors
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.keys import KeyParts
from lamella.graph.record import LayerResult, Record, Result
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Manifest
from lamella.store import Snapshot, Store
from lamella.testing.clock import FixedClock

DAY = 86400


def memory_folder() -> str | None:
    """Where a file system in memory is, whose fsync costs nothing; None elsewhere."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def now_clock() -> FixedClock:
    """A clock at the present: files get their times from the kernel's."""
    return FixedClock(int(time.time()))


def open_store(root: Path, clock: FixedClock | None = None, warnings: list[str] | None = None) -> Store:
    return Store.open(root, clock=clock or now_clock(), warn=(warnings if warnings is not None else []).append)


def fileset_of(files: dict[str, bytes]) -> FileSet:
    return FileSet.of(
        Entry(path, EntryType.FILE, 0o644, size=len(data), digest=digest_bytes(data)) for path, data in files.items()
    )


def put_product(store: Store, files: dict[str, bytes]) -> Snapshot:
    """Files as a product: snapshot named by its file set's digest, and the file set as a blob."""
    fileset = fileset_of(files)
    with store.snapshots.stage() as staged:
        with disk_errors("filling a snapshot", staged.path):
            for path, data in files.items():
                (staged.path / path).write_bytes(data)
        snapshot = staged.commit(fileset.digest, fileset)
    store.blobs.put_bytes(fileset.to_bytes())
    return snapshot


def parts_of(text: str) -> KeyParts:
    return KeyParts(
        1, f'{{"op":"{text}"}}', "linux/amd64", "any", (("sources", '{"kind":"all"}', digest_bytes(b"in")),)
    )


def record_of(
    text: str, *, name: str = "app", project: str = "shop", created: int | None = None, **result: object
) -> Record:
    parts = parts_of(text)
    made = int(time.time()) if created is None else created
    return Record(parts.key, name, project, parts, Result(parts.key, **result), "1.500", made)  # type: ignore[arg-type]


def put_record(store: Store, text: str, *, name: str = "app", created: int | None = None) -> Record:
    """A record with a product of its own."""
    product = put_product(store, {"out": text.encode()})
    record = record_of(text, name=name, created=created, tree=product.id)
    store.records.put(record)
    return record


def put_image(store: Store, name: str, layer: bytes = b"layer") -> Manifest:
    """A tagged image with one layer and a config."""
    blobs = [store.blobs.put_bytes(data) for data in (b"{}" + name.encode(), layer)]
    sizes = [store.blobs.size(digest) or 0 for digest in blobs]
    manifest = Manifest(
        Descriptor(media.IMAGE_CONFIG, blobs[0], sizes[0]), (Descriptor(media.LAYER_TAR, blobs[1], sizes[1]),)
    )
    store.blobs.put_bytes(manifest.to_bytes())
    store.images.tag(name, manifest.descriptor())
    return manifest


def layer_result(store: Store, data: bytes) -> LayerResult:
    return LayerResult(store.blobs.put_bytes(data), len(data), 1)


def all_files(root: Path) -> set[str]:
    """Every path below ``root`` that is no directory."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}
