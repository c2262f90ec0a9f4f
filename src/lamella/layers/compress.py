"""Compression of layers: none, gzip and zstd, each giving the same bytes for the same layer.

gzip levels 0 to 3 are ISA-L's (level 1 is 14 times as fast as zlib's 6 for 12 % more bytes), 4 to 9 zlib's; the
header has no name and no time. zstd writes one frame, always by its job scheduler, whose output does not depend
on the number of threads. The bytes may differ between versions of those libraries; so a compressed blob is a
variant of a diff_id and never part of a key (DESIGN 3b).
"""

from __future__ import annotations

import hashlib
import os
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from lamella.errors import ConfigError, InternalError
from lamella.layers.digest import StreamDigest
from lamella.layers.stage import Stage
from lamella.layers.tar import ByteSink, DigestingSink
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.values import dataclass

__all__ = ["COMPRESSORS", "CompressedLayer", "CompressingWriter", "compress_layer", "default_level"]

COMPRESSORS = ("none", "gzip", "zstd")

_MEDIA = {"none": media.LAYER_TAR, "gzip": media.LAYER_GZIP, "zstd": media.LAYER_ZSTD}
_LEVELS = {"none": (0, 0, 0), "gzip": (0, 1, 9), "zstd": (1, 3, 19)}
"""Lowest, default and highest level."""

_CHUNK = 1 << 20
_THREADS = 4
_ISAL_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class CompressedLayer:
    """A layer blob: its descriptor, and ``diff_id`` and ``size`` (bytes) of the uncompressed tar."""

    descriptor: Descriptor
    diff_id: str
    size: int


class _Encoder(Protocol):
    """What zlib, ISA-L and zstandard agree on."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Takes data, returns what is ready."""

    def flush(self) -> bytes:
        """Ends the stream."""


class _Plain:
    """No compression."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


class _InBlocks:
    """Hands data on in blocks of one size: ISA-L's output depends on how its input is cut, ours must not."""

    def __init__(self, encoder: _Encoder) -> None:
        self._encoder = encoder
        self._rest = b""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        held = self._rest + data if self._rest else bytes(data)
        whole = len(held) - len(held) % _ISAL_BLOCK
        self._rest = held[whole:]
        view = memoryview(held)
        blocks = (view[start : start + _ISAL_BLOCK] for start in range(0, whole, _ISAL_BLOCK))
        return b"".join(self._encoder.compress(block) for block in blocks)

    def flush(self) -> bytes:
        last = self._encoder.compress(self._rest) if self._rest else b""
        self._rest = b""
        return last + self._encoder.flush()


def default_level(compressor: str) -> int:
    """The level used when none is asked for; raises ConfigError for an unknown compressor."""
    return _level_range(compressor)[1]


def _level_range(compressor: str) -> tuple[int, int, int]:
    if compressor not in _LEVELS:
        raise ConfigError(f"unknown compressor {compressor!r}", hint=f"use one of {', '.join(COMPRESSORS)}")
    return _LEVELS[compressor]


def _encoder(compressor: str, level: int) -> _Encoder:
    """A fresh encoder. Libraries are imported here: most commands never compress."""
    low, _, high = _level_range(compressor)
    if not low <= level <= high:
        raise ConfigError(f"{compressor} has no level {level}", hint=f"levels are {low} to {high}")
    if compressor == "none":
        return _Plain()
    if compressor == "zstd":
        import zstandard

        threads = max(1, min(_THREADS, os.cpu_count() or 1))
        return zstandard.ZstdCompressor(level=level, threads=threads, write_content_size=False).compressobj()
    if level <= 3:
        from isal import isal_zlib

        return _InBlocks(isal_zlib.compressobj(level, wbits=31))
    import zlib

    return zlib.compressobj(level, zlib.DEFLATED, 31)


class CompressingWriter:
    """A sink that compresses into ``out`` while it takes both digests; :func:`write_layer` can write into it.

    Hashing, compressing and writing are stages of one pipeline beside the caller, who reads the files. Use it in a
    ``with`` block, at whose end nothing of it runs any more; :attr:`result` is there after it ended without an error.
    An error of ``out`` is raised by a later call.
    """

    def __init__(self, out: ByteSink, compressor: str, level: int | None = None) -> None:
        """Raises ConfigError for an unknown compressor or level."""
        self._encoder = _encoder(compressor, default_level(compressor) if level is None else level)
        self._plain = compressor == "none"
        self._media_type = _MEDIA[compressor]
        self._inner = StreamDigest()
        self._blob = _Blob(out)
        self._writing = Stage(self._blob.write, "layer-write")
        self._compressing = Stage(self._compress, "layer-compress")
        self._diff_id = ""
        self._size = 0
        self._result: CompressedLayer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            for stage in (self._compressing, self._writing, self._inner):
                stage.drop()

    def write(self, data: bytes, /) -> int:
        """Takes all of ``data``, which must not change afterwards."""
        self._size += len(data)
        if self._plain:
            self._writing.put(data)
        else:
            self._inner.update(data)
            self._compressing.put(data)
        return len(data)

    def close(self) -> None:
        """End the blob; ``out`` stays open."""
        if self._result is not None:
            return
        self._compressing.finish()
        self._hand_on(self._encoder.flush())
        self._writing.finish()
        descriptor = Descriptor(self._media_type, self._blob.digest(), self._blob.size)
        self._result = CompressedLayer(descriptor, self.plain_digest(), self._size)

    def plain_digest(self) -> str:
        """The digest of what went in: the diff_id. Nothing may follow."""
        if not self._diff_id and self._plain:
            self._writing.finish()
            self._diff_id = self._blob.digest()
        self._diff_id = self._diff_id or self._inner.finish()
        return self._diff_id

    @property
    def result(self) -> CompressedLayer:
        """Descriptor and diff_id; raises InternalError before :meth:`close`."""
        if self._result is None:
            raise InternalError("the compressed layer is not finished")
        return self._result

    def _compress(self, data: bytes) -> None:
        self._hand_on(self._encoder.compress(data))

    def _hand_on(self, data: bytes) -> None:
        if data:
            self._writing.put(data)


class _Blob:
    """What comes out: counted and hashed, unless ``out`` hashes what it is given anyway."""

    def __init__(self, out: ByteSink) -> None:
        self.size = 0
        self._out = out
        self._hash = None if isinstance(out, DigestingSink) else hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._hash is not None:
            self._hash.update(data)
        self._out.write(data)

    def digest(self) -> str:
        if isinstance(self._out, DigestingSink):
            return self._out.plain_digest()
        return f"sha256:{self._hash.hexdigest()}" if self._hash is not None else ""


def compress_layer(src: BinaryIO, dst: ByteSink, compressor: str, level: int | None = None) -> CompressedLayer:
    """Compresses the uncompressed layer ``src`` into ``dst`` in one pass that takes both digests."""
    with CompressingWriter(dst, compressor, level) as writer:
        while data := src.read(_CHUNK):
            writer.write(data)
    return writer.result
