"""Repair: what points to nothing is dropped, what stands where an object should be is put aside, the index is made
anew from the files (RELIABILITY S4). Sound objects are never touched.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from lamella.commit import commit_bytes, replace_file
from lamella.errors import IntegrityError
from lamella.host.locks import hold
from lamella.oci.digest import is_digest
from lamella.oci.manifest import Index
from lamella.store.context import LOCK_TIMEOUT
from lamella.store.layout import IMAGE_LAYOUT
from lamella.store.parts import Parts
from lamella.store.verify import Finding, missing_of_image
from lamella.values import dataclass

__all__ = ["RepairReport", "repair"]


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was dropped or put aside, and how many records the new index has."""

    done: tuple[Finding, ...]
    records: int


def repair(parts: Parts) -> RepairReport:
    """Repairs without reading blobs: `verify` first finds the corrupt ones. Raises ConfigError when read-only."""
    parts.context.check_writable()
    done = (*_objects(parts), *_layout(parts), *_records(parts), *_variants(parts), *_images(parts))
    records = parts.index().rebuild()
    parts.context.empty_trash()
    return RepairReport(done, records)


def _objects(parts: Parts) -> Iterator[Finding]:
    """Things that are no blob and no whole snapshot but have the place of one."""
    context = parts.context
    for digest, status in list(parts.blobs.entries()):
        if not stat.S_ISREG(status.st_mode):
            context.quarantine(parts.blobs.path(digest), "blob")
            yield Finding("blob", digest, "no regular file; put into quarantine")
    folder = context.layout.folder("snapshots")
    for name in sorted(os.listdir(folder)):
        if is_digest(f"sha256:{name}"):
            if parts.snapshots.displace_broken(f"sha256:{name}"):
                yield Finding("snapshot", f"sha256:{name}", "not whole; put into quarantine")
        else:
            context.quarantine(folder / name, "snapshot")
            yield Finding("snapshot", name, "no snapshot has such a name; put into quarantine")


def _layout(parts: Parts) -> Iterator[Finding]:
    context = parts.context
    oci = context.layout.oci
    if commit_bytes(oci / "oci-layout", IMAGE_LAYOUT, staging=context.layout.staging, mode=0o644):
        yield Finding("layout", "oci-layout", "written anew")
    try:
        parts.images.list()
    except IntegrityError as error:
        with hold(context.layout.lock("images"), timeout=LOCK_TIMEOUT, what="the list of images"):
            context.quarantine(oci / "index.json", "index")
            replace_file(oci / "index.json", Index(()).to_bytes(), staging=context.layout.staging)
        yield Finding("image", "index.json", f"put into quarantine, names are lost: {error.message}")
    for name in parts.pins.displace_broken():
        yield Finding("pin", name, "cannot be read; put into quarantine")


def _records(parts: Parts) -> Iterator[Finding]:
    for path in list(parts.records.paths()):
        stored = parts.records.load(path)
        if stored is None:
            continue
        key = f"sha256:{path.stem}"
        missing = parts.records.missing(stored)
        if missing or stored.record.key != key:
            parts.records.drop(key)
            yield Finding("record", key, f"dropped: {', '.join(missing) or 'it is of another key'}")


def _variants(parts: Parts) -> Iterator[Finding]:
    for diff_id in parts.variants.diff_ids():
        for variant in parts.variants.named(diff_id):
            descriptor = variant.descriptor
            if not variant.elsewhere and not parts.blobs.has(descriptor.digest, descriptor.size):
                parts.variants.drop(variant)
                yield Finding("variant", diff_id, f"dropped: blob {descriptor.digest} is not in the store")


def _images(parts: Parts) -> Iterator[Finding]:
    for image in parts.images.list():
        missing = missing_of_image(parts, image.descriptor)
        if missing:
            parts.images.untag(image.name)
            yield Finding("image", image.name, f"name dropped: {', '.join(missing)} not in the store")
