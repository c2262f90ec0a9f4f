"""The chain of lookups, store then cache repositories, and the bytes that follow when something reads them.

A hit is imported: the record with its small artefacts goes into the store, of layers a note says which repository has
them. So the next run needs no request, and an image can be composed before any of its bytes are here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from lamella.cache.artifact import FACTS_TYPE, FILESET_TYPE, PACKAGES_TYPE, PRODUCT_TYPE, Part, RecordArtifact
from lamella.cache.repository import CacheRepository, Say
from lamella.errors import AuthError, HostileInputError, IntegrityError, LamellaError, RegistryError
from lamella.oci import media
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor
from lamella.store.store import Store
from lamella.store.variants import Variant
from lamella.values import dataclass, replace

if TYPE_CHECKING:
    from lamella.graph.facts import BaseFacts
    from lamella.graph.fileset import FileSet
    from lamella.graph.protocols import Clock
    from lamella.graph.record import Record

__all__ = ["CacheLookup"]

_PARALLEL = 12
_LARGE_PARALLEL = 4
_TROUBLE = (RegistryError, AuthError, IntegrityError, HostileInputError)


def _answered(artifact: RecordArtifact | None) -> Future[RecordArtifact | None]:
    done: Future[RecordArtifact | None] = Future()
    done.set_result(artifact)
    return done


@dataclass(frozen=True, slots=True)
class _Found:
    """A record's artifact and the repository that has it."""

    artifact: RecordArtifact
    repository: CacheRepository


class CacheLookup:
    """``graph.protocols.Lookup`` and ``engines.base.Restorer`` over one store and the repositories that a run reads,
    the most trusted first. Thread-safe. ``say`` takes a line for people when something is left out or refused.
    ``noted`` opens a repository by the name that a layer's note has, for blobs alone: those are checked by digest.
    """

    def __init__(
        self,
        store: Store,
        readers: Sequence[CacheRepository],
        clock: Clock,
        say: Say,
        *,
        noted: Callable[[str], CacheRepository | None] = lambda name: None,
    ) -> None:
        self.readers = tuple(readers)
        self._noted = noted
        self._store = store
        self._clock = clock
        self._say = say
        self._found: dict[str, _Found | None] = {}
        self._origins: dict[str, str] = {}
        self._small: dict[tuple[str, str], str] = {}
        self._by_layer: dict[str, str] = {}
        self._mutex = threading.Lock()
        self._bringing: dict[str, threading.Lock] = {}

    # -- Lookup ----------------------------------------------------------------------------------------------------

    def prefetch(self, keys: tuple[str, ...], worth: Callable[[str], bool]) -> None:
        """Asks for all records at once that are not here and are ``worth`` a request."""
        missing = [key for key in keys if key not in self._found and self._local(key) is None]
        wanted = [key for key in missing if self._readable and worth(key)]
        self._found.update(dict.fromkeys(key for key in missing if key not in wanted))
        self._search(wanted)
        if len(wanted) > 1:
            list(self._pool.map(self._import, wanted))
        elif wanted:
            self._import(wanted[0])

    def record(self, key: str) -> Record | None:
        """The record of a resolved key, from the store or imported from a repository."""
        record = self._local(key)
        if record is None and key not in self._found:
            record = self._import(key)
        return record

    def latest(self, project: str, name: str) -> Record | None:
        """The newest record of a name in the store."""
        return self._store.lookup.latest(project, name)

    def fileset(self, digest: str) -> FileSet | None:
        """A stored file set, brought here first when it is a known product's."""
        return self._store.lookup.fileset(digest) or (
            self._store.lookup.fileset(digest) if self._bring_named(FILESET_TYPE, digest) else None
        )

    def facts(self, digest: str) -> BaseFacts | None:
        """Stored base facts, brought here first when they are a known base's."""
        return self._store.lookup.facts(digest) or (
            self._store.lookup.facts(digest) if self._bring_named(FACTS_TYPE, digest) else None
        )

    @property
    def _readable(self) -> bool:
        return bool(self.readers) and not self._store.read_only

    def _local(self, key: str) -> Record | None:
        record = self._store.lookup.record(key)
        if record is not None:
            self._know(record)
        return record

    def _know(self, record: Record) -> None:
        """Remembers which record's bytes a file set or layer is among."""
        for media_type, digest in ((FILESET_TYPE, record.result.tree), (FACTS_TYPE, record.result.facts)):
            if digest:
                self._small.setdefault((media_type, digest), record.key)
        for layer in record.result.layers:
            self._by_layer.setdefault(layer.diff_id, record.key)

    def _import(self, key: str) -> Record | None:
        found = self._ask(key)
        if found is None:
            return None
        try:
            record = self._adopt(found)
        except _TROUBLE as error:
            self._say(f"{found.repository.name}: a record is left out: {error.message}")
            self._found[key] = None
            return None
        self._origins[key] = found.repository.name
        self._know(record)
        return record

    def _ask(self, key: str) -> _Found | None:
        """The artifact of a key from the first repository that has one, asked once in a run."""
        if key not in self._found and self._readable:
            self._search([key])
        return self._found.get(key)

    def _search(self, keys: Sequence[str]) -> None:
        """All places are asked for all keys at the same time; of each key the most trusted answer counts."""
        if len(keys) * len(self.readers) == 1:
            asked = {keys[0]: [_answered(self.readers[0].find(keys[0]))]}
        else:
            asked = {key: [self._pool.submit(reader.find, key) for reader in self.readers] for key in keys}
        for key, answers in asked.items():
            artifacts = zip([answer.result() for answer in answers], self.readers, strict=True)
            found = (_Found(artifact, reader) for artifact, reader in artifacts if artifact is not None)
            self._found[key] = next(found, None)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Threads for small questions. None of what they run waits for another of them."""
        return ThreadPoolExecutor(_PARALLEL, thread_name_prefix="lamella-lookup")

    def _adopt(self, found: _Found) -> Record:
        """Puts a record into the store with what came with it, and notes where its layers are."""
        artifact, store = found.artifact, self._store
        record = replace(artifact.record, created=min(artifact.record.created, self._clock.now()))
        result = record.result
        if result.packages and not store.blobs.has(result.packages):
            self._bring_small(found, PACKAGES_TYPE, result.packages)
        for media_type, digest in ((FACTS_TYPE, result.facts), (FILESET_TYPE, result.tree)):
            part = artifact.part(media_type, digest)
            if part is not None and part.descriptor.data and not store.blobs.has(digest):
                self._bring_small(found, media_type, digest)
        for layer in record.result.layers:
            part = artifact.layer(layer.diff_id)
            if part is None and not store.variants.known(layer.diff_id):
                raise HostileInputError(f"layer {short_digest(layer.diff_id)} is not with it")
            if part is not None:
                blob = _bare(part)
                compressor = media.compression_of(blob.media_type)
                store.variants.note(layer.diff_id, compressor, 0, blob, found.repository.name)
        store.records.put(record, elsewhere=True)
        return record

    def _bring_small(self, found: _Found, media_type: str, digest: str) -> None:
        from lamella.cache.small import decompress_small

        part = found.artifact.part(media_type, digest)
        if part is None:
            raise HostileInputError(f"artefact {short_digest(digest)} is not with it")
        self._store.blobs.put_bytes(decompress_small(found.repository.small(part.descriptor), digest))

    def _bring_named(self, media_type: str, digest: str) -> bool:
        key = self._small.get((media_type, digest))
        found = self._ask(key) if key is not None else None
        if found is None:
            return False
        what = f"artefact {short_digest(digest)}"
        return self._try(what, found, lambda: self._bring_small(found, media_type, digest))

    # -- Restorer --------------------------------------------------------------------------------------------------

    def origin(self, key: str) -> str:
        """The repository that a record came from in this run; empty for the store's own."""
        return self._origins.get(key, "")

    def layer(self, diff_id: str) -> bool:
        """Brings a layer's blob; false when no repository has it."""
        with self._bring_lock(diff_id):
            if self._store.variants.of(diff_id):
                return True
            return any(self._bring_variant(v) for v in self._store.variants.known(diff_id)) or self._bring_by_key(
                diff_id
            )

    def layers(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """Brings several layers, some at a time; those that cannot be had."""
        wanted = tuple(dict.fromkeys(diff_ids))
        if not wanted:
            return ()
        with ThreadPoolExecutor(min(_LARGE_PARALLEL, len(wanted))) as pool:
            brought = list(pool.map(self.layer, wanted))
        return tuple(diff_id for diff_id, done in zip(wanted, brought, strict=True) if not done)

    def blobs(self, wanted: Sequence[tuple[str, str]]) -> tuple[str, ...]:
        """Brings the very blobs of some layers, (diff_id, digest), some at a time; the digests that cannot be had."""
        absent = [one for one in dict.fromkeys(wanted) if not self._store.blobs.has(one[1])]
        if not absent:
            return ()
        with ThreadPoolExecutor(min(_LARGE_PARALLEL, len(absent))) as pool:
            brought = list(pool.map(lambda one: self._blob(*one), absent))
        return tuple(digest for (_, digest), done in zip(absent, brought, strict=True) if not done)

    def _blob(self, diff_id: str, digest: str) -> bool:
        with self._bring_lock(diff_id):
            noted = [v for v in self._store.variants.known(diff_id) if v.descriptor.digest == digest]
            if not any(self._bring_variant(variant) for variant in noted):
                self._bring_by_key(diff_id)
        return self._store.blobs.has(digest)

    def product(self, tree: str) -> bool:
        """Brings the snapshot of a product's file set; false when no repository has it."""
        with self._bring_lock(tree):
            if self._store.snapshots.find(tree) is not None:
                return True
            key = self._small.get((FILESET_TYPE, tree))
            found = self._ask(key) if key is not None else None
            part = found.artifact.part(PRODUCT_TYPE, tree) if found is not None else None
            if found is None or part is None:
                return False
            return self._try(f"product {short_digest(tree)}", found, lambda: self._bring_product(found, part, tree))

    def _bring_variant(self, variant: Variant) -> bool:
        """Fetches a noted form from the repository that is noted; a note that is wrong is dropped."""
        if not variant.elsewhere:
            return False
        reader = next((one for one in self.readers if one.name == variant.elsewhere), None)
        repository = reader or self._noted(variant.elsewhere)
        if repository is None:
            return False
        try:
            self._fetch_layer(repository, variant.diff_id, variant.descriptor)
        except _TROUBLE as error:
            self._trouble(f"layer {short_digest(variant.diff_id)}", repository, error)
            self._store.variants.drop(variant)
            return False
        return True

    def _bring_by_key(self, diff_id: str) -> bool:
        key = self._by_layer.get(diff_id)
        found = self._ask(key) if key is not None else None
        part = found.artifact.layer(diff_id) if found is not None else None
        if found is None or part is None:
            return False
        what = f"layer {short_digest(diff_id)}"
        return self._try(what, found, lambda: self._fetch_layer(found.repository, diff_id, _bare(part)))

    def _fetch_layer(self, repository: CacheRepository, diff_id: str, blob: Descriptor) -> None:
        if not self._store.blobs.has(blob.digest, blob.size):
            repository.fetch(blob, self._store)
        compressor = media.compression_of(blob.media_type)
        self._store.variants.note(diff_id, compressor, 0, blob, repository.name)

    def _bring_product(self, found: _Found, part: Part, tree: str) -> None:
        from lamella.cache.products import unpack_product

        with self._store.snapshots.stage() as staged:
            archive = staged.folder / "product"
            found.repository.fetch_file(part.descriptor, archive)
            unpack_product(self._store, archive, tree)

    def _try(self, what: str, found: _Found, work: Callable[[], None]) -> bool:
        try:
            work()
        except _TROUBLE as error:
            self._trouble(what, found.repository, error)
            return False
        return True

    def _trouble(self, what: str, repository: CacheRepository, error: LamellaError) -> None:
        self._say(f"{what} could not be had from {repository.name}: {error.message}")

    def _bring_lock(self, identity: str) -> threading.Lock:
        with self._mutex:
            return self._bringing.setdefault(identity, threading.Lock())


def _bare(part: Part) -> Descriptor:
    """A layer's descriptor as manifests of images name it."""
    return Descriptor(part.descriptor.media_type, part.descriptor.digest, part.descriptor.size)
