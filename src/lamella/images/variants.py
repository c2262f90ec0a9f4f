"""Finds or makes the compressed form of a layer that a target wants (DESIGN 3b: "blobs are variants")."""

from __future__ import annotations

from lamella.engines.base import Restorer
from lamella.errors import IntegrityError
from lamella.layers.compress import compress_layer, default_level
from lamella.layers.decompress import open_decompressed
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor
from lamella.store.store import Store
from lamella.store.variants import Variant

__all__ = ["find_variant", "layer_variant", "named_variant"]


def find_variant(store: Store, diff_id: str, compressor: str = "") -> Descriptor | None:
    """A stored form of a layer: the wanted compressor's, or with an empty name any compressed one, gzip first."""
    return _choose(store.variants.of(diff_id), compressor)


def _choose(known: tuple[Variant, ...], compressor: str) -> Descriptor | None:
    wanted = (compressor,) if compressor else ("gzip", "zstd")
    for name in wanted:
        for variant in known:
            if variant.compressor == name or (name == "gzip" and "gzip" in variant.descriptor.media_type):
                return variant.descriptor
    return None


def named_variant(store: Store, diff_id: str, compressor: str, restorer: Restorer) -> Descriptor:
    """The form of a layer that a manifest names; its bytes may be in a cache repository only.

    They are brought here when the layer must be compressed anew. Raises IntegrityError as :func:`layer_variant` does.
    """
    found = _choose(store.variants.known(diff_id), compressor)
    if found is not None:
        return found
    if not store.variants.of(diff_id):
        restorer.layer(diff_id)
    return layer_variant(store, diff_id, compressor)


def layer_variant(store: Store, diff_id: str, compressor: str = "") -> Descriptor:
    """As :func:`find_variant`, compressing anew from another form when it must.

    Base layers keep their original bytes unless another compressor is asked for; what has no compressed form yet
    becomes gzip, which every reader knows. Raises IntegrityError when no form of the layer is in the store.
    """
    found = find_variant(store, diff_id, compressor)
    if found is not None:
        return found
    compressor = compressor or "gzip"
    source = find_variant(store, diff_id, "none") or find_variant(store, diff_id)
    if source is None:
        raise IntegrityError(
            f"no blob of layer {short_digest(diff_id)} is in the store",
            hint="run: lamella cache repair, then build again",
        )
    with store.blobs.open(source.digest) as raw, store.blobs.writer() as out:
        made = compress_layer(open_decompressed(raw, source.media_type), out, compressor)
        if made.diff_id != diff_id:
            raise IntegrityError(f"blob {short_digest(source.digest)} does not hold layer {short_digest(diff_id)}")
        out.commit(made.descriptor.digest, made.descriptor.size)
    store.variants.put(diff_id, compressor, default_level(compressor), made.descriptor)
    return made.descriptor
