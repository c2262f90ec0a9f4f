"""Compression: one pass, two digests, the same bytes however the input was cut."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import zstandard
from isal import isal_zlib

from lamella.errors import ConfigError, IntegrityError, InternalError
from lamella.graph.fileset import Entry, FileSet
from lamella.layers.compress import CompressingWriter, compress_layer
from lamella.layers.content import bytes_content
from lamella.layers.tar import write_layer
from lamella.oci import media
from tests.unit.layers.trees import file

RANDOM = random.Random(7)
DATA = b"".join(RANDOM.randbytes(40) * RANDOM.randint(1, 400) for _ in range(600))


def decode(compressor: str, blob: bytes) -> bytes:
    if compressor == "gzip":
        return gzip.decompress(blob)
    if compressor == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    return blob


@pytest.mark.parametrize(
    ("compressor", "level", "media_type"),
    [
        ("none", None, media.LAYER_TAR),
        ("gzip", None, media.LAYER_GZIP),
        ("gzip", 0, media.LAYER_GZIP),
        ("gzip", 3, media.LAYER_GZIP),
        ("gzip", 6, media.LAYER_GZIP),
        ("zstd", None, media.LAYER_ZSTD),
        ("zstd", 19, media.LAYER_ZSTD),
    ],
)
def test_the_descriptor_is_of_the_blob_and_the_diff_id_of_the_tar(
    compressor: str, level: int | None, media_type: str
) -> None:
    data, out = DATA[:400_000], io.BytesIO()
    made = compress_layer(io.BytesIO(data), out, compressor, level)
    blob = out.getvalue()
    assert made.descriptor.media_type == media_type
    assert (made.descriptor.digest, made.descriptor.size) == (f"sha256:{hashlib.sha256(blob).hexdigest()}", len(blob))
    assert (made.diff_id, made.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    assert decode(compressor, blob) == data


@pytest.mark.parametrize(("compressor", "level"), [("gzip", 1), ("gzip", 6), ("zstd", 3)])
def test_the_blob_does_not_depend_on_how_the_input_is_cut(compressor: str, level: int) -> None:
    blobs = set()
    for cut in (1000, 65_536, 99_999, len(DATA)):
        out = io.BytesIO()
        with CompressingWriter(out, compressor, level) as writer:
            for start in range(0, len(DATA), cut):
                writer.write(DATA[start : start + cut])
        blobs.add(writer.result.descriptor.digest)
    assert len(blobs) == 1


def test_zstd_does_not_depend_on_the_number_of_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for count in (1, 2, 4, None):
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        digests.add(compress_layer(io.BytesIO(DATA), io.BytesIO(), "zstd").descriptor.digest)
    assert len(digests) == 1


def test_a_gzip_header_has_no_name_and_no_time() -> None:
    for level in (1, 6):
        out = io.BytesIO()
        compress_layer(io.BytesIO(b"x"), out, "gzip", level)
        assert out.getvalue()[3] == 0
        assert out.getvalue()[4:8] == bytes(4)


def test_zstd_is_one_frame_without_surplus() -> None:
    out = io.BytesIO()
    compress_layer(io.BytesIO(DATA), out, "zstd")
    decoder = zstandard.ZstdDecompressor().decompressobj()
    assert decoder.decompress(out.getvalue()) == DATA
    assert decoder.eof
    assert decoder.unused_data == b""


@pytest.mark.parametrize(("compressor", "level"), [("lzma", None), ("gzip", 10), ("zstd", 0), ("none", 1)])
def test_an_unknown_compressor_or_level_is_a_configuration_error(compressor: str, level: int | None) -> None:
    with pytest.raises(ConfigError):
        CompressingWriter(io.BytesIO(), compressor, level)


def test_there_is_no_result_after_an_error() -> None:
    writer = CompressingWriter(io.BytesIO(), "gzip")
    with suppress(ZeroDivisionError), writer:
        writer.write(b"x")
        raise ZeroDivisionError
    with pytest.raises(InternalError):
        _ = writer.result


@pytest.mark.parametrize("compressor", ["none", "gzip", "zstd"])
def test_a_layer_written_into_a_compressor_has_one_diff_id(compressor: str) -> None:
    data = DATA[:3_000_000]
    fileset, content = FileSet.of([file("big", data), file("small", b"s")]), bytes_content({"big": data, "small": b"s"})
    plain, packed = io.BytesIO(), io.BytesIO()
    expected = write_layer(fileset, content, plain)
    with CompressingWriter(packed, compressor) as writer:
        assert write_layer(fileset, content, writer) == expected
    assert (writer.result.diff_id, writer.result.size) == (expected.diff_id, expected.size)
    assert decode(compressor, packed.getvalue()) == plain.getvalue()


class Full(io.BytesIO):
    """A disk that is full after some writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.left -= 1
        if self.left < 0:
            raise OSError("no space left")
        return super().write(data)


def pipeline_threads() -> list[str]:
    names = ("layer-", "digest")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


def in_one_thread(data: bytes) -> dict[str, bytes]:
    """The blobs as one thread makes them, block after block."""
    gzip_, zstd = isal_zlib.compressobj(1, wbits=31), zstandard.ZstdCompressor(3, threads=1, write_content_size=False)
    blocks = [gzip_.compress(data[start : start + 65_536]) for start in range(0, len(data), 65_536)]
    frame = zstd.compressobj()
    return {"none": data, "gzip": b"".join(blocks) + gzip_.flush(), "zstd": frame.compress(data) + frame.flush()}


def test_the_pipeline_makes_the_bytes_that_one_thread_makes() -> None:
    files = {f"f{number:02}": RANDOM.randbytes(RANDOM.randint(0, 300_000)) for number in range(60)}
    fileset, content = FileSet.of([file(path, data) for path, data in files.items()]), bytes_content(files)
    plain = io.BytesIO()
    expected = write_layer(fileset, content, plain)
    for compressor, blob in in_one_thread(plain.getvalue()).items():
        out = io.BytesIO()
        with CompressingWriter(out, compressor) as writer:
            assert write_layer(fileset, content, writer) == expected
        assert out.getvalue() == blob
        assert writer.result.descriptor.digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert pipeline_threads() == []


@pytest.mark.parametrize("size", [0, 1, 65_536, 1 << 20])
def test_small_and_empty_streams_are_whole(size: int) -> None:
    for compressor in ("none", "gzip", "zstd"):
        made = compress_layer(io.BytesIO(DATA[:size]), out := io.BytesIO(), compressor)
        assert decode(compressor, out.getvalue()) == DATA[:size]
        assert (made.size, made.descriptor.size) == (size, len(out.getvalue()))


@pytest.mark.parametrize("compressor", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("writes", [0, 1, 3])
def test_an_error_of_the_last_stage_ends_all_of_them(compressor: str, writes: int) -> None:
    fileset = FileSet.of([file(f"f{number:02}", DATA) for number in range(30)])
    writer = CompressingWriter(Full(writes), compressor)
    with pytest.raises(OSError, match="no space left"), writer:
        write_layer(fileset, lambda entry: (DATA,), writer)
    with pytest.raises(InternalError):
        _ = writer.result
    assert pipeline_threads() == []


@pytest.mark.parametrize("compressor", ["none", "gzip", "zstd"])
def test_a_file_that_changed_ends_all_stages(compressor: str) -> None:
    fileset = FileSet.of([file(f"f{number:02}", DATA) for number in range(30)])

    def content(entry: Entry) -> Iterator[bytes]:
        yield DATA if entry.path < "f20" else bytes(len(DATA))

    writer = CompressingWriter(io.BytesIO(), compressor)
    with pytest.raises(IntegrityError, match="changed while"), writer:
        write_layer(fileset, content, writer)
    assert pipeline_threads() == []
    with pytest.raises(IntegrityError, match="changed while"):
        write_layer(fileset, content, io.BytesIO())
    assert pipeline_threads() == []
