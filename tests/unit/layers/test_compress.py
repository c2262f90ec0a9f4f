"""Compression: one pass, two digests, the same bytes however the input was cut."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
from contextlib import suppress

import pytest
import zstandard

from lamella.errors import ConfigError, InternalError
from lamella.graph.fileset import FileSet
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
