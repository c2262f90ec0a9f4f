"""Layers for a manifest: their blobs' descriptors, and their bytes only when somebody lacks them.

A layer whose blob is only in a registry is named without being fetched: when the target has it too, or can mount it,
its bytes never come here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from lamella.images.variants import find_variant, layer_variant
from lamella.oci.manifest import Descriptor
from lamella.registry.remote import RemoteRepository
from lamella.store.store import Store
from lamella.store.variants import Variant

__all__ = ["LayerForms"]


class LayerForms:
    """``images.push.BlobSource`` over a store and what it knows of cache repositories. Thread-safe.

    ``repository`` opens one by its name (``registry/path``).
    """

    def __init__(self, store: Store, repository: Callable[[str], RemoteRepository]) -> None:
        self._store = store
        self._repository = repository
        self._homes: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}

    def form(self, diff_id: str, compressor: str = "", home: str = "") -> Descriptor:
        """The blob that a manifest names for a layer: one that is here, else one that a repository has, else a new one.

        ``home`` is a repository that is known to have the layer as it is here (a base image's). Raises IntegrityError
        when the layer is nowhere.
        """
        found = find_variant(self._store, diff_id, compressor)
        elsewhere = _elsewhere(self._store.variants.known(diff_id), found, compressor)
        blob = found or (elsewhere.descriptor if elsewhere else layer_variant(self._store, diff_id, compressor))
        homes = (home, elsewhere.elsewhere if elsewhere and elsewhere.descriptor.digest == blob.digest else "")
        known = self._homes.get(blob.digest, ())
        self._homes[blob.digest] = tuple(dict.fromkeys((*known, *filter(None, homes))))
        return blob

    def homes(self, digest: str) -> tuple[str, ...]:
        """See ``images.push.BlobSource``."""
        return self._homes.get(digest, ())

    def open(self, blob: Descriptor) -> BinaryIO:
        """See ``images.push.BlobSource``: the store's file, fetched into it from where it is known to be."""
        with self._lock:
            mine = self._fetching.setdefault(blob.digest, threading.Lock())
        with mine:
            if not self._store.blobs.has(blob.digest, blob.size):
                for home in self.homes(blob.digest)[-1:]:
                    self._repository(home).fetch_blob(blob, self._keep)
        return self._store.blobs.open(blob.digest)

    def _keep(self, digest: str, size: int, chunks: Iterator[bytes]) -> None:
        self._store.blobs.put_stream(chunks, digest, size)


def _elsewhere(known: tuple[Variant, ...], found: Descriptor | None, compressor: str) -> Variant | None:
    """The form that a repository has: of the very blob that is here, else of the wanted compressor, gzip first."""
    there = [variant for variant in known if variant.elsewhere]
    if found is not None:
        return next((variant for variant in there if variant.descriptor.digest == found.digest), None)
    wanted = (compressor,) if compressor else ("gzip", "zstd")
    return next((variant for name in wanted for variant in there if variant.compressor == name), None)
