"""Decompression of foreign layers: everything is read, nothing more than the budgets allow, no silent end.

A gzip blob may have several members and zero padding (RFC 1952, and what gzip(1) accepts), a zstd blob several
and skippable frames (RFC 8878). A truncated stream, or bytes behind it that are none of these, is refused: one
reader would stop where another goes on.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from lamella.errors import HostileInputError
from lamella.layers.budgets import DEFAULT_BUDGETS, Budgets
from lamella.oci import media

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HashingReader", "open_decompressed"]

_INPUT = 256 * 1024


def open_decompressed(stream: BinaryIO, media_type: str, budgets: Budgets = DEFAULT_BUDGETS) -> BinaryIO:
    """The uncompressed bytes of a layer blob, as a stream to read; ``stream`` stays the caller's.

    Raises HostileInputError for an unknown media type; its ``read`` does so for a malformed or truncated stream
    and for more bytes, or a higher ratio, than ``budgets`` allow.
    """
    if not media.is_layer(media_type):
        raise HostileInputError(f"media type {media_type[:80]!r} is not a layer that can be read")
    source = _Counted(stream)
    compression = media.compression_of(media_type)
    read: Callable[[int], bytes]
    if compression == "gzip":
        read = _Gzip(source).read
    elif compression == "zstd":
        read = _zstd(source, budgets)
    else:
        read = source.read
    return cast(BinaryIO, io.BufferedReader(_Metered(source, read, budgets), _INPUT))


class _Counted:
    """Counts what was read from the blob."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        return data


class _Metered(io.RawIOBase):
    """Holds size and ratio to the budgets, chunk by chunk."""

    def __init__(self, source: _Counted, read: Callable[[int], bytes], budgets: Budgets) -> None:
        self._source = source
        self._read = read
        self._budgets = budgets
        self._out = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._read(min(len(buffer), _INPUT))
        buffer[: len(data)] = data
        self._out += len(data)
        if self._out > self._budgets.size:
            raise HostileInputError(f"layer is larger than {self._budgets.size} bytes")
        if self._out > self._budgets.ratio_from and self._out > self._source.count * self._budgets.ratio:
            raise HostileInputError(
                f"layer grows more than {self._budgets.ratio} times when it is decompressed",
                hint="this is what a decompression bomb does",
            )
        return len(data)


class _Decompressor(Protocol):
    """A member's decoder, in zlib's form."""

    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """At most ``max_length`` bytes."""


class _Gzip:
    """All members of a gzip stream."""

    def __init__(self, source: _Counted) -> None:
        self._source = source
        self._member: _Decompressor | None = self._new()
        self._pending = b""

    @staticmethod
    def _new() -> _Decompressor:
        from isal import isal_zlib

        return cast(_Decompressor, isal_zlib.decompressobj(wbits=31))

    def read(self, size: int) -> bytes:
        from isal import isal_zlib

        malformed = cast(type[Exception], isal_zlib.error)
        while self._member is not None:
            data = self._pending or self._source.read(_INPUT)
            try:
                out = self._member.decompress(data, size)
            except malformed as error:
                raise HostileInputError(f"layer is no valid gzip stream: {error}") from error
            self._pending = self._member.unconsumed_tail
            if self._member.eof:
                self._next_member(self._member.unused_data)
            elif not data and not out:
                raise HostileInputError("layer ends in the middle of its gzip stream")
            if out:
                return out
        return b""

    def _next_member(self, rest: bytes) -> None:
        """Goes on to the next member, or to the end over zero padding."""
        while not (rest := rest.lstrip(b"\0")):
            rest = self._source.read(_INPUT)
            if not rest:
                self._member = None
                return
        if not rest.startswith(b"\x1f"):
            raise HostileInputError("layer has bytes behind its gzip stream")
        self._member, self._pending = self._new(), rest


def _zstd(source: _Counted, budgets: Budgets) -> Callable[[int], bytes]:
    """A reader over all frames that also sees a stream cut short, which the library does not tell."""
    import zstandard

    frames = _Frames()

    class Watched:
        """The blob, with its frames followed on the way."""

        def read(self, size: int) -> bytes:
            data = source.read(size)
            frames.feed(data)
            return data

    reader = zstandard.ZstdDecompressor(max_window_size=budgets.window).stream_reader(
        cast(BinaryIO, Watched()), read_size=_INPUT, read_across_frames=True
    )

    def read(size: int) -> bytes:
        try:
            data = reader.read(size)
        except zstandard.ZstdError as error:
            raise HostileInputError(f"layer is no valid zstd stream: {error}") from error
        if not data and not frames.complete:
            raise HostileInputError("layer ends in the middle of its zstd stream")
        return data

    return read


class _Frames:
    """Follows the structure of zstd frames (RFC 8878, section 3.1) without decoding: where does the last one end."""

    def __init__(self) -> None:
        self._skip = 0
        self._held = b""
        self._step: Callable[[], int] = self._magic
        self._checksum = False
        self._last = False

    @property
    def complete(self) -> bool:
        """Whether the bytes so far end at the end of a frame."""
        return not self._skip and not self._held and self._step == self._magic

    def feed(self, data: bytes) -> None:
        """Follows some more bytes."""
        self._held += data
        while True:
            cut = min(self._skip, len(self._held))
            self._held, self._skip = self._held[cut:], self._skip - cut
            if self._skip or not self._held:
                return
            used = self._step()
            if not used:
                return
            self._held = self._held[used:]

    def _magic(self) -> int:
        if len(self._held) < 8:
            return 0
        if 0x184D2A50 <= int.from_bytes(self._held[:4], "little") <= 0x184D2A5F:
            self._skip = int.from_bytes(self._held[4:8], "little")
            return 8
        descriptor = self._held[4]
        single = bool(descriptor & 0x20)
        size_bytes = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
        self._skip = (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3] + size_bytes
        self._checksum = bool(descriptor & 4)
        self._step = self._block
        return 5

    def _block(self) -> int:
        if len(self._held) < 3:
            return 0
        header = int.from_bytes(self._held[:3], "little")
        # A run-length block stores one byte, whatever its size says.
        self._skip = 1 if (header >> 1) & 3 == 1 else header >> 3
        if header & 1:
            self._skip += 4 if self._checksum else 0
            self._step = self._magic
        return 3


class HashingReader:
    """A stream that takes the digest and size of what is read from it: the diff_id when it ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes."""
        data = self._stream.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data

    @property
    def digest(self) -> str:
        """``sha256:`` digest of all bytes read so far."""
        return f"sha256:{self._hash.hexdigest()}"
