"""Verification: everything is read again; what is corrupt is named and put into quarantine (RELIABILITY S4, S5)."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator

from lamella.canonical import FrozenMap
from lamella.errors import HostileInputError, IntegrityError
from lamella.oci.digest import is_digest
from lamella.oci.manifest import Descriptor
from lamella.store.compare import compare_snapshot
from lamella.store.parts import Parts
from lamella.store.snapshots import Snapshot
from lamella.store.survey import named_by
from lamella.values import dataclass

__all__ = ["Finding", "VerifyReport", "missing_of_image", "verify"]

_SHOWN = 20
"""Paths of a changed snapshot that are named one by one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its kind (blob, snapshot, record, image, index ...), its id, and what, in words."""

    kind: str
    id: str
    what: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """All findings; how many things of each kind were looked at; bytes that were read."""

    findings: tuple[Finding, ...]
    checked: FrozenMap[str, int]
    read_bytes: int
    deep: bool

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def error(self) -> IntegrityError | None:
        """The findings as an error to raise; None when there are none."""
        if self.clean:
            return None
        return IntegrityError(
            f"{len(self.findings)} objects of the store are not as they should be",
            hint="run `lamella cache repair`, then build again: what is missing is made anew",
            details=tuple(f"{one.kind} {one.id}: {one.what}" for one in self.findings),
        )


class _Verification:
    """One run over all parts."""

    def __init__(self, parts: Parts, deep: bool) -> None:
        self._parts = parts
        self._deep = deep
        self.checked: Counter[str] = Counter()
        self.read = 0

    def run(self) -> Iterator[Finding]:
        """Objects first, then what points to them: a corrupt object makes its records dangle in the same run."""
        yield from self._blobs()
        yield from self._snapshots()
        yield from self._records()
        yield from self._variants()
        yield from self._images()
        yield from self._pins()
        yield from self._index()

    def _blobs(self) -> Iterator[Finding]:
        for digest, status in self._parts.blobs.entries():
            self.checked["blob"] += 1
            if stat.S_ISREG(status.st_mode):
                self.read += status.st_size
            problem = self._parts.blobs.check(digest)
            if problem:
                yield Finding("blob", digest, problem)

    def _snapshots(self) -> Iterator[Finding]:
        folder = self._parts.context.layout.folder("snapshots")
        for name in sorted(os.listdir(folder)):
            identity = f"sha256:{name}"
            self.checked["snapshot"] += 1
            if not is_digest(identity):
                yield Finding("snapshot", name, "no snapshot has such a name")
                continue
            snapshot = self._parts.snapshots.find(identity)
            if snapshot is None:
                if os.path.lexists(folder / name):
                    yield Finding("snapshot", identity, "it is not whole")
                    self._put_aside(identity)
                continue
            problem = self._snapshot_problem(snapshot)
            if problem:
                yield Finding("snapshot", identity, problem)
                self._put_aside(identity)

    def _snapshot_problem(self, snapshot: Snapshot) -> str:
        try:
            if not self._deep:
                snapshot.fileset()
                return ""
            self.read += snapshot.size
            changes = [change for change in compare_snapshot(snapshot) if change.what != "unreadable"]
        except (IntegrityError, HostileInputError) as error:
            return error.message
        shown = ", ".join(f"{change.path} ({change.what})" for change in changes[:_SHOWN])
        more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        return f"changed after it was committed: {shown}{more}" if changes else ""

    def _put_aside(self, identity: str) -> None:
        context = self._parts.context
        if not context.read_only:
            with context.lock.exclusive():
                context.quarantine(context.layout.snapshot(identity), "snapshot")

    def _records(self) -> Iterator[Finding]:
        for path in self._parts.records.paths():
            self.checked["record"] += 1
            stored = self._parts.records.load(path)
            if stored is None:
                if not path.exists() or self._parts.context.read_only:
                    yield Finding("record", path.stem, "it is malformed")
                continue
            if stored.record.key != f"sha256:{path.stem}":
                yield Finding("record", path.stem, f"it is the record of {stored.record.key}")
            missing = self._parts.records.missing(stored)
            if missing:
                yield Finding("record", stored.record.key, f"{', '.join(missing)} not in the store")

    def _variants(self) -> Iterator[Finding]:
        for diff_id in self._parts.variants.diff_ids():
            for variant in self._parts.variants.named(diff_id):
                self.checked["variant"] += 1
                descriptor = variant.descriptor
                if not variant.elsewhere and not self._parts.blobs.has(descriptor.digest, descriptor.size):
                    yield Finding("variant", diff_id, f"{variant.compressor} blob {descriptor.digest} not in the store")

    def _images(self) -> Iterator[Finding]:
        layout = self._parts.context.layout
        if not (layout.oci / "oci-layout").is_file():
            yield Finding("layout", "oci-layout", "the file is missing")
        try:
            images = self._parts.images.list()
        except IntegrityError as error:
            yield Finding("image", "index.json", error.message)
            return
        for image in images:
            self.checked["image"] += 1
            missing = missing_of_image(self._parts, image.descriptor)
            if missing:
                yield Finding("image", image.name, f"blob {', '.join(missing)} not in the store")

    def _pins(self) -> Iterator[Finding]:
        try:
            self.checked["pin"] += sum(1 for _ in self._parts.pins.all())
        except IntegrityError as error:
            yield Finding("pin", "pins", error.message)

    def _index(self) -> Iterator[Finding]:
        index = self._parts.index()
        self.checked["index"] += 1
        problem = index.problem()
        if problem:
            yield Finding("index", "index.sqlite", problem)
            return
        files = {f"sha256:{path.stem}" for path in self._parts.records.paths()}
        strange = index.keys() - files
        if strange:
            yield Finding("index", "index.sqlite", f"it names {len(strange)} records that do not exist")


def missing_of_image(parts: Parts, descriptor: Descriptor) -> tuple[str, ...]:
    """Digests that an image needs and that are neither in the store with the right size nor known elsewhere."""
    todo, seen, missing = [descriptor], set(), []
    while todo:
        one = todo.pop()
        if one.digest in seen:
            continue
        seen.add(one.digest)
        if parts.blobs.has(one.digest, one.size):
            todo += named_by(parts.context, one)
        else:
            missing.append(one.digest)
    if missing:
        noted = (variant for diff_id in parts.variants.diff_ids() for variant in parts.variants.named(diff_id))
        elsewhere = {variant.descriptor.digest for variant in noted if variant.elsewhere}
        missing = [digest for digest in missing if digest not in elsewhere]
    return tuple(sorted(missing))


def verify(parts: Parts, *, deep: bool = False) -> VerifyReport:
    """Reads blobs, manifests of snapshots, records, variants, names and index; with ``deep`` the snapshots' files."""
    run = _Verification(parts, deep)
    findings = tuple(run.run())
    return VerifyReport(findings, FrozenMap(dict(run.checked)), run.read, deep)
