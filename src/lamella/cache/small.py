"""Small artefacts (facts, file sets, package sets, times) as compressed blobs. Every hit comes here, so nothing else
is loaded.
"""

from __future__ import annotations

from lamella.canonical import digest_bytes
from lamella.errors import HostileInputError
from lamella.oci.digest import short_digest

__all__ = ["SMALL_LIMIT", "compress_small", "decompress_small", "expand_small"]

SMALL_LIMIT = 256 << 20
"""Bytes of a small artefact when it is decompressed; the file set of a million files has about as many."""

_LEVEL = 9


def compress_small(data: bytes) -> bytes:
    """A small artefact as it travels."""
    import zstandard

    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def decompress_small(data: bytes, digest: str) -> bytes:
    """The artefact of ``digest``; raises HostileInputError for anything else."""
    plain = expand_small(data)
    if digest_bytes(plain) != digest:
        raise HostileInputError(f"what came as artefact {short_digest(digest)} is something else")
    return plain


def expand_small(data: bytes) -> bytes:
    """What :func:`compress_small` was given; raises HostileInputError."""
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(data) as stream:
            return stream.read(SMALL_LIMIT)
    except zstandard.ZstdError as error:
        raise HostileInputError(f"a small artefact cannot be decompressed: {error}") from error
