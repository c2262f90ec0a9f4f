"""Layers for a manifest: their blobs' descriptors, and their bytes only when somebody lacks them.

A layer whose blob is only in a registry is named without being fetched: when the target has it too, or can mount it,
its bytes never come here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from lamella.engines.base import NO_RESTORER, Restorer
from lamella.errors import AuthError, IntegrityError, LamellaError, RegistryError
from lamella.images.variants import named_variant
from lamella.oci.manifest import Descriptor
from lamella.oci.media import LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, compression_of
from lamella.registry.remote import RemoteRepository
from lamella.store.store import Store
from lamella.values import replace

__all__ = ["LayerForms"]

_OCI_TYPES = {"none": LAYER_TAR, "gzip": LAYER_GZIP, "zstd": LAYER_ZSTD}
"""Docker's names for the same bytes have no place in a manifest of the OCI form, and some readers refuse the mix."""


class LayerForms:
    """``images.push.BlobSource`` over a store and what it knows of cache repositories. Thread-safe.

    ``repository`` opens one by its name (``registry/path``); ``restorer`` brings a layer that must be compressed anew.
    """

    def __init__(
        self, store: Store, repository: Callable[[str], RemoteRepository], restorer: Restorer = NO_RESTORER
    ) -> None:
        self._store = store
        self._restorer = restorer
        self._repository = repository
        self._homes: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}

    def form(self, diff_id: str, compressor: str = "", home: str = "") -> Descriptor:
        """The blob that a manifest names for a layer: one that is here, else one that a repository has, else a new one.

        ``home`` is a repository that is known to have the layer as it is here (a base image's). Raises IntegrityError
        when the layer is nowhere.
        """
        blob = named_variant(self._store, diff_id, compressor, self._restorer)
        noted = (variant for variant in self._store.variants.known(diff_id) if variant.descriptor.digest == blob.digest)
        homes = (*self.homes(blob.digest), home, *(variant.elsewhere for variant in noted))
        self._homes[blob.digest] = tuple(dict.fromkeys(filter(None, homes)))
        return replace(blob, media_type=_OCI_TYPES[compression_of(blob.media_type)])

    def homes(self, digest: str) -> tuple[str, ...]:
        """See ``images.push.BlobSource``."""
        return self._homes.get(digest, ())

    def open(self, blob: Descriptor) -> BinaryIO:
        """See ``images.push.BlobSource``: the store's file, fetched into it from where it is known to be. It is checked
        while it is sent: a last piece that would complete something else does not go out.
        """
        with self._lock:
            mine = self._fetching.setdefault(blob.digest, threading.Lock())
        with mine:
            if not self._store.blobs.has(blob.digest, blob.size):
                self._fetch(blob)
        return self._store.blobs.open_checking(blob.digest)

    def _fetch(self, blob: Descriptor) -> None:
        """From the first place that gives it, those of records before those of bases; raises the last one's error."""
        failure: LamellaError | None = None
        for home in reversed(self.homes(blob.digest)):
            try:
                self._repository(home).fetch_blob(blob, self._keep)
            except (RegistryError, AuthError, IntegrityError) as error:
                failure = error
            else:
                return
        if failure is not None:
            raise failure

    def _keep(self, digest: str, size: int, chunks: Iterator[bytes]) -> None:
        self._store.blobs.put_stream(chunks, digest, size)
