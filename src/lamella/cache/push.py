"""Pushes records with what they name: blobs first, the manifest last (RELIABILITY R4).

A record is pushed when no repository that its readers know has it, or when it was made in this run and what is there
says something else (a base that was built anew under its old key). What is local to this machine never leaves it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lamella.cache.artifact import (
    FACTS_TYPE,
    FILESET_TYPE,
    PACKAGES_TYPE,
    PRODUCT_TYPE,
    Part,
    part_descriptor,
    read_artifact,
    record_manifest,
    record_tag,
    travelling,
)
from lamella.cache.domains import Place
from lamella.cache.products import pack_product
from lamella.cache.repository import CacheRepository
from lamella.cache.small import compress_small
from lamella.errors import HostileInputError
from lamella.graph.record import Record
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.registry.remote import RemoteRepository
from lamella.registry.transfer import Job, OnProgress, transfer
from lamella.registry.upload import OnBytes
from lamella.store.store import Store
from lamella.values import dataclass

__all__ = ["Candidate", "PushReport", "RecordPusher"]

_Open = Callable[[], BinaryIO]
_Sent = tuple[Part, _Open]
"""Something to push, and what opens its bytes."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record that may be pushed. ``product``: its files go with it (a step's, which nobody can fetch elsewhere);
    ``made``: it was made in this run.
    """

    record: Record
    product: bool = False
    made: bool = False


@dataclass(frozen=True, slots=True)
class PushReport:
    """What became of the candidates, by number; ``bytes`` went over the wire as blobs and manifests.

    ``incomplete`` are names whose bytes are not here, ``states`` how many went too.
    """

    repository: str
    pushed: int = 0
    present: int = 0
    local: int = 0
    bytes: int = 0
    states: int = 0
    incomplete: tuple[str, ...] = ()


class RecordPusher:
    """Pushes to one place. ``layer_blob`` finds or makes the form of a layer that images use, ``mount_from`` are
    repositories that may have such blobs already, besides those that are noted. ``readers`` are asked what is there.
    """

    def __init__(
        self,
        store: Store,
        place: Place,
        remote: RemoteRepository,
        readers: Sequence[CacheRepository],
        *,
        layer_blob: Callable[[str], Descriptor | None],
        mount_from: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._place = place
        self._remote = remote
        self._higher = tuple(reader for reader in readers if reader.place != place)
        self._layer_blob = layer_blob
        self._mount_from = tuple(mount_from)

    def push(
        self, candidates: Sequence[Candidate], *, on_progress: OnProgress = lambda done, total: None
    ) -> PushReport:
        """Pushes what is missing, several records at a time. Raises RegistryError, AuthError, IntegrityError."""
        travels = [one for one in candidates if not one.record.local]
        jobs = [Job(0, partial(self._one, one)) for one in travels]
        done = transfer(jobs, on_progress=on_progress)
        outcomes = [outcome for outcome, _ in done]
        return PushReport(
            str(self._place),
            pushed=outcomes.count("pushed"),
            present=outcomes.count("present"),
            local=len(candidates) - len(travels),
            bytes=sum(count for _, count in done),
            incomplete=tuple(
                one.record.name for one, outcome in zip(travels, outcomes, strict=True) if outcome == "incomplete"
            ),
        )

    def _one(self, candidate: Candidate, on_bytes: OnBytes) -> tuple[str, int]:
        """What became of one record, and the bytes that it took."""
        tag = record_tag(candidate.record.key, self._place.prefix)
        if self._is_there(candidate, tag):
            return "present", 0
        with ExitStack() as stack:
            parts = self._parts(candidate, stack)
            if parts is None:
                return "incomplete", 0
            manifest, config = record_manifest(candidate.record, [part for part, _ in parts])
            sent = self._send(manifest.config, _opener(config), (), on_bytes)
            for part, open_ in parts:
                sent += self._send(part.descriptor, open_, self._homes(part), on_bytes)
            data = manifest.to_bytes()
            self._remote.push_manifest(data, manifest.media_type, tags=(tag,))
        for part, _ in parts:
            if part.is_layer:
                self._note(part)
        return "pushed", sent + len(data)

    def _send(self, blob: Descriptor, open_: _Open, homes: tuple[str, ...], on_bytes: OnBytes) -> int:
        """Bytes that were sent."""
        action = self._remote.push_blob(blob, open_, mount_from=homes, on_bytes=on_bytes)
        return blob.size if action == "sent" else 0

    def _homes(self, part: Part) -> tuple[str, ...]:
        """Repositories that may have a layer."""
        if not part.is_layer:
            return ()
        noted = [v.elsewhere for v in self._store.variants.known(part.identity) if v.elsewhere]
        return tuple(dict.fromkeys((*noted, *self._mount_from)))

    def _note(self, part: Part) -> None:
        """Notes that the place has a layer, so that an image's repository can mount it from there."""
        blob = part.descriptor
        self._store.variants.note(part.identity, media.compression_of(blob.media_type), 0, blob, str(self._place))

    def _is_there(self, candidate: Candidate, tag: str) -> bool:
        """Whether nothing need be pushed: the record is there, or a more trusted place has it."""
        record = candidate.record
        if not candidate.made:
            if any(reader.has(record.key) for reader in self._higher):
                return True
            return self._remote.head(tag) is not None
        document = self._remote.manifest(tag)
        if document is None or document.manifest is None:
            return False
        try:
            theirs = read_artifact(record.key, document.manifest, document.manifest.config.data).record
        except HostileInputError:
            return False  # whatever it is, it is in our own place and of no use to anybody
        same = theirs.result == travelling(record).result
        return (same and record.hermetic) or theirs.created > record.created

    # -- parts -----------------------------------------------------------------------------------------------------

    def _parts(self, candidate: Candidate, stack: ExitStack) -> list[_Sent] | None:
        """What the record names, with what opens its bytes; None when something of it is not here."""
        result = candidate.record.result
        parts: list[_Sent] = []
        small = [(FACTS_TYPE, result.facts), (PACKAGES_TYPE, result.packages)]
        if candidate.product:
            small.append((FILESET_TYPE, result.tree))
        for media_type, digest in small:
            if digest:
                data = compress_small(self._store.blobs.read(digest))
                parts.append((Part(digest, part_descriptor(media_type, digest, data)), _opener(data)))
        for layer in result.layers:
            blob = self._layer_blob(layer.diff_id)
            if blob is None:
                return None
            parts.append((Part(layer.diff_id, blob), partial(self._store.blobs.open, blob.digest)))
        if candidate.product and result.tree:
            product = self._product(result.tree, stack)
            if product is None:
                return None
            parts.append(product)
        return parts

    def _product(self, tree: str, stack: ExitStack) -> _Sent | None:
        snapshot = self._store.snapshots.find(tree)
        if snapshot is None:
            return None
        path = stack.enter_context(self._store.snapshots.stage()).folder / "product"
        descriptor = pack_product(snapshot, PRODUCT_TYPE, path)
        return Part(tree, descriptor), partial(_open_file, path)


def _open_file(path: Path) -> BinaryIO:
    return open(path, "rb")


def _opener(data: bytes) -> _Open:
    return partial(io.BytesIO, data)
