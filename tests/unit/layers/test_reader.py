"""The tar reader: rows 29 and 30 of the reliability table, and everything that is honest."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import pytest
import zstandard

from lamella.errors import HostileInputError
from lamella.layers.budgets import DEFAULT_BUDGETS, Budgets
from lamella.layers.decompress import open_decompressed
from lamella.layers.reader import LayerReader, MemberKind, normal_path
from lamella.oci import media
from tests.unit.layers.archives import (
    END,
    extension,
    octal,
    padded,
    pax_record,
    raw_header,
    read_all,
    tar_bytes,
    tar_device,
    tar_dir,
    tar_file,
    tar_link,
    tar_symlink,
)

LONG = "directory/" * 20 + "n" * 120


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_member_in_every_format(form: int) -> None:
    archive = tar_bytes(
        [
            tar_dir("./d/", 0o1777, 5, 6, 1_700_000_000),
            tar_file("d/f", b"data" * 300, 0o4755),
            tar_symlink("../x", "d/s"),
            tar_link("./d/f", "d/h"),
            tar_device("d/c", tarfile.CHRTYPE, (1, 3)),
            tar_device("d/b", tarfile.BLKTYPE, (8, 0)),
            tar_device("d/p", tarfile.FIFOTYPE, (0, 0)),
        ],
        form,
    )
    found = read_all(archive)
    assert [(m.path, m.kind.name, m.link, m.device) for m, _ in found] == [
        ("d", "DIRECTORY", "", (0, 0)),
        ("d/f", "FILE", "", (0, 0)),
        ("d/s", "SYMLINK", "../x", (0, 0)),
        ("d/h", "HARD_LINK", "d/f", (0, 0)),
        ("d/c", "CHAR_DEVICE", "", (1, 3)),
        ("d/b", "BLOCK_DEVICE", "", (8, 0)),
        ("d/p", "FIFO", "", (0, 0)),
    ]
    assert found[1][1] == b"data" * 300
    first = found[0][0]
    assert (first.mode, first.uid, first.gid, first.mtime_ns) == (0o1777, 5, 6, 1_700_000_000 * 10**9)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_targets(form: int) -> None:
    found = read_all(tar_bytes([tar_file(LONG, b"x"), tar_symlink(LONG, "link"), tar_link(LONG, LONG + "2")], form))
    assert [(m.path, m.link) for m, _ in found] == [(LONG, ""), ("link", LONG), (LONG + "2", LONG)]


def test_a_ustar_prefix_is_part_of_the_name_and_gnu_bytes_there_are_not() -> None:
    assert read_all(raw_header(b"name", prefix=b"some/dir") + END)[0][0].path == "some/dir/name"
    assert read_all(raw_header(b"name", prefix=b"123456", magic=b"ustar  \0") + END)[0][0].path == "name"
    assert read_all(raw_header(b"old", magic=bytes(8), flag=b"\0") + END)[0][0].path == "old"


def test_names_that_are_not_utf8_survive() -> None:
    assert read_all(raw_header(b"gr\xfcn") + END)[0][0].path == os.fsdecode(b"gr\xfcn")


def test_pax_attributes_times_and_owners() -> None:
    records = b"".join(
        [
            pax_record(b"SCHILY.xattr.user.a", b"\0\n=\xff"),
            pax_record(b"mtime", b"1700000000.123456789123"),
            pax_record(b"uid", b"3000000"),
            pax_record(b"comment", b"skipped"),
            pax_record(b"LIBARCHIVE.xattr.user.a", b"AAo9/w"),
        ]
    )
    member = read_all(extension(b"x", records) + raw_header() + END)[0][0]
    assert (dict(member.xattrs), member.mtime_ns, member.uid) == (
        {"user.a": b"\0\n=\xff"},
        1_700_000_000_123_456_789,
        3_000_000,
    )


@pytest.mark.parametrize(("mtime", "expected"), [(b"\xff" * 12, 0), (b"\x80" + bytes(7) + b"\0\0\0\x05", 5 * 10**9)])
def test_a_time_before_1970_counts_as_1970(mtime: bytes, expected: int) -> None:
    assert read_all(raw_header(mtime=mtime) + END)[0][0].mtime_ns == expected
    before = extension(b"x", pax_record(b"mtime", b"-3.5")) + raw_header() + END
    assert read_all(before)[0][0].mtime_ns == 0


def test_a_large_size_in_base_256_is_read() -> None:
    size = b"\x80" + bytes(8) + b"\0\0\x05"
    assert read_all(raw_header(size=size) + padded(b"hello") + END)[0][1] == b"hello"


def test_content_that_is_not_taken_is_skipped() -> None:
    reader = LayerReader(io.BytesIO(tar_bytes([tar_file("a", b"x" * 5000), tar_file("b", b"y" * 700)])))
    names = []
    for member in reader:
        names.append(member.path)
        next(reader.chunks(), None)
    assert names == ["a", "b"]


def test_an_archive_without_end_marker_is_read_like_gnu_tar_does() -> None:
    assert [m.path for m, _ in read_all(raw_header(b"a") + raw_header(b"b"))] == ["a", "b"]
    assert read_all(b"") == []


def test_a_file_whose_name_ends_with_a_slash_is_a_directory() -> None:
    assert read_all(raw_header(b"d/") + END)[0][0].kind is MemberKind.DIRECTORY


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a", "a"), ("/a//b/./c", "a/b/c"), ("./", ""), (".", ""), ("/", ""), ("a...", "a..."), ("..a/b", "..a/b")],
)
def test_names_become_plain_relative_paths(name: str, path: str) -> None:
    assert normal_path(name) == path


SIZE_8_GIB = b"8589934592"

AMBIGUOUS = {
    "row30 PAX size against ustar size": extension(b"x", pax_record(b"size", b"0"))
    + raw_header(size=octal(512, 12))
    + padded(b"x" * 512),
    "row30 PAX size where ustar says nothing": extension(b"x", pax_record(b"size", b"512"))
    + raw_header()
    + raw_header(b"hidden"),
    "row30 GNU long name after PAX path": extension(b"x", pax_record(b"path", b"one"))
    + extension(b"L", b"two\0")
    + raw_header(),
    "row30 GNU long link after PAX linkpath": extension(b"x", pax_record(b"linkpath", b"one"))
    + extension(b"K", b"two\0")
    + raw_header(flag=b"2"),
    "row30 the same PAX key twice": extension(b"x", pax_record(b"path", b"a") + pax_record(b"path", b"b"))
    + raw_header(),
    "row30 two PAX headers": extension(b"x", pax_record(b"path", b"a")) * 2 + raw_header(),
    "row30 two GNU long names": extension(b"L", b"a\0") + extension(b"L", b"b\0") + raw_header(),
    "row30 data after the end marker": raw_header(b"a") + END + raw_header(b"b") + END,
    "row30 one zero block, then a member": raw_header(b"a") + bytes(512) + raw_header(b"b") + END,
    "row30 content of a directory": raw_header(b"d/", flag=b"5", size=octal(512, 12)) + padded(b"x"),
    "row30 content of a hard link": raw_header(b"h", flag=b"1", link=b"t", size=octal(512, 12)) + padded(b"x"),
    "row30 content of a symlink": raw_header(b"s", flag=b"2", link=b"t", size=octal(512, 12)) + padded(b"x"),
    "row30 a slash at the end of a file with content": raw_header(b"d/", size=octal(3, 12)) + padded(b"abc"),
    "row30 a global PAX path": extension(b"g", pax_record(b"path", b"all")) + raw_header(),
    "row30 a NUL inside a ustar name": raw_header(b"a\0b"),
    "row30 a NUL inside a link": raw_header(flag=b"2", link=b"a\0b"),
    "row30 a NUL inside a PAX path": extension(b"x", pax_record(b"path", b"a\0b")) + raw_header(),
    "row30 a NUL inside a GNU name": extension(b"L", b"a\0b\0") + raw_header(),
    "row30 a GNU name that goes on in its padding": extension(b"L", b"name") + raw_header(),
    "row30 an empty GNU name": extension(b"L", b"\0") + raw_header(),
    "row30 an empty PAX path": extension(b"x", pax_record(b"path", b"")) + raw_header(),
    "row30 a PAX record that is too long": extension(b"x", b"99 path=a\n") + raw_header(),
    "row30 a PAX record without a newline": extension(b"x", b"9 path=ab") + raw_header(),
    "row30 a PAX record of length zero": extension(b"x", b"0 path=a\n") + raw_header(),
    "row30 a PAX record without a length": extension(b"x", b"path=a\n") + raw_header(),
    "row30 a PAX header for nothing": extension(b"x", pax_record(b"path", b"a")) + END,
    "row30 another character set": extension(b"x", pax_record(b"hdrcharset", b"EBCDIC")) + raw_header(),
    "row29 PAX header that claims 8 GiB": raw_header(b"x", flag=b"x", size=b"\x80" + bytes(6) + b"\x02" + bytes(4)),
    "row29 GNU sparse file": raw_header(flag=b"S"),
    "row29 PAX sparse file": extension(b"x", pax_record(b"GNU.sparse.major", b"1")) + raw_header(),
    "row29 star's sparse file": extension(b"x", pax_record(b"SCHILY.realsize", b"1")) + raw_header(),
    "row29 negative base-256 size": raw_header(size=b"\xff" * 12),
    "row29 base-256 size above 63 bits": raw_header(size=b"\x80\0\0" + b"\xff" * 9),
    "row29 negative octal size": raw_header(size=b"-0000000001\0"),
    "row29 a size that is no number": raw_header(size=b"12x\0" + bytes(8)),
    "row29 negative PAX size": extension(b"x", pax_record(b"size", b"-1")) + raw_header(),
    "row29 PAX size above 63 bits": extension(b"x", pax_record(b"size", b"9" * 19)) + raw_header(),
    "row29 PAX time that is no time": extension(b"x", pax_record(b"mtime", b"now")) + raw_header(),
    "row29 an owner that no system has": extension(b"x", pax_record(b"uid", b"4294967295")) + raw_header(),
    "row29 attributes beyond the budget": extension(b"x", pax_record(b"SCHILY.xattr.user.a", b"x" * 70_000))
    + raw_header(),
    "row24 a name with ..": raw_header(b"a/../../b"),
    "row24 a hard link with ..": raw_header(flag=b"1", link=b"../b"),
    "row24 a name of 5,000 characters": extension(b"x", pax_record(b"path", b"n" * 5000)) + raw_header(),
    "a link without a target": raw_header(flag=b"2"),
    "a wrong checksum": raw_header(checksum=1),
    "an unknown magic": raw_header(magic=b"ustar\x0001"),
    "a contiguous file, which is a directory to some": raw_header(b"d/", flag=b"7"),
    "an unknown type": raw_header(flag=b"D"),
    "cut in a header": raw_header()[:200],
    "cut in a file": raw_header(size=octal(5000, 12)) + bytes(512),
    "cut in a PAX header": extension(b"x", pax_record(b"path", b"a" * 600))[:700],
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_readers_could_disagree_on_is_refused(name: str) -> None:
    with pytest.raises(HostileInputError):
        read_all(AMBIGUOUS[name])


def test_a_pax_size_beyond_ustar_is_believed() -> None:
    """Go and GNU tar write 0 into the header then; the archive here is cut, but its size was understood."""
    archive = extension(b"x", pax_record(b"size", SIZE_8_GIB)) + raw_header() + bytes(512)
    reader = LayerReader(io.BytesIO(archive))
    assert next(iter(reader)).size == 8**11


SMALL = replace(DEFAULT_BUDGETS, size=100_000, entries=10, path=50, link=20, depth=5, header=2048, xattrs=100)


@pytest.mark.parametrize(
    "archive",
    [
        tar_bytes([tar_file(f"f{number}") for number in range(11)]),
        tar_bytes([tar_file("a/b/c/d/e/f")]),
        tar_bytes([tar_file("n" * 51)]),
        tar_bytes([tar_symlink("t" * 21, "s")]),
        tar_bytes([tar_file("f", bytes(200_000))]),
        tar_bytes([tar_file("f", pax={"comment": "c" * 3000})]),
        tar_bytes([tar_file("f", pax={"SCHILY.xattr.user.a": "v" * 100})]),
    ],
    ids=["entries", "depth", "path", "link", "size", "header", "xattrs"],
)
def test_each_budget_holds(archive: bytes) -> None:
    with pytest.raises(HostileInputError):
        read_all(archive, budgets=SMALL)
    read_all(archive, budgets=DEFAULT_BUDGETS)


def test_the_time_budget_holds() -> None:
    clock = iter(range(0, 100_000, 600))
    with pytest.raises(HostileInputError, match="3600 seconds"):
        read_all(tar_bytes([tar_file(f"f{number}") for number in range(20)]), monotonic=lambda: float(next(clock)))


class Endless(io.RawIOBase):
    """Ten million empty files, made while they are read."""

    def __init__(self) -> None:
        self._block = raw_header(b"empty") * 2048

    def read(self, size: int = -1, /) -> bytes:
        return self._block[: size - size % 512]


def test_row29_ten_million_empty_files_stop_at_the_budget_in_little_memory() -> None:
    tracemalloc.start()
    with pytest.raises(HostileInputError, match="more than 20000 entries"):
        for _ in LayerReader(Endless(), replace(DEFAULT_BUDGETS, entries=20_000)):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def zeros(size: int) -> Iterator[bytes]:
    return (bytes(1 << 20) for _ in range(size >> 20))


def gzip_bomb(size: int) -> bytes:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(part) for part in zeros(size)) + packer.flush()


def zstd_bomb(size: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    return b"".join(packer.compress(part) for part in zeros(size)) + packer.flush()


@pytest.mark.parametrize(
    ("blob", "media_type"),
    [(gzip_bomb(256 << 20), media.LAYER_GZIP), (zstd_bomb(256 << 20), media.LAYER_ZSTD)],
    ids=["gzip", "zstd"],
)
def test_row29_a_bomb_stops_at_the_ratio_in_little_memory(blob: bytes, media_type: str) -> None:
    budgets = replace(DEFAULT_BUDGETS, ratio_from=64 << 20)
    stream = open_decompressed(io.BytesIO(blob), media_type, budgets)
    tracemalloc.start()
    with pytest.raises(HostileInputError, match="250 times"):
        drain(stream)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def drain(stream: BinaryIO) -> None:
    """Reads to the end and keeps nothing."""
    while stream.read(1 << 20):
        pass


def test_row29_a_zstd_frame_may_not_ask_for_more_memory_than_the_budget() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    blob = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = blob.compress(os.urandom(1 << 20)) + blob.flush()
    with pytest.raises(HostileInputError, match="zstd"):
        open_decompressed(io.BytesIO(data), media.LAYER_ZSTD, replace(DEFAULT_BUDGETS, window=1 << 20)).read()


def decompress(blob: bytes, media_type: str, budgets: Budgets = DEFAULT_BUDGETS) -> bytes:
    return open_decompressed(io.BytesIO(blob), media_type, budgets).read()


def frame(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def test_row30_all_members_of_a_gzip_blob_are_read() -> None:
    tar = tar_bytes([tar_file("a", b"x" * 3000), tar_file("b", b"y")])
    blob = gzip.compress(tar[:700]) + gzip.compress(tar[700:]) + bytes(300)
    assert decompress(blob, media.LAYER_GZIP) == tar


def test_row30_all_frames_of_a_zstd_blob_are_read() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"extra"
    stream = zstandard.ZstdCompressor(level=3).compressobj()
    streamed = stream.compress(b"tail" * 90_000) + stream.flush()
    blob = frame(b"one") + skippable + frame(bytes(300_000)) + frame(b"") + streamed
    assert decompress(blob, media.LAYER_ZSTD) == b"one" + bytes(300_000) + b"tail" * 90_000


BLOBS = {media.LAYER_GZIP: gzip.compress(os.urandom(3000)), media.LAYER_ZSTD: frame(os.urandom(3000))}


@pytest.mark.parametrize("media_type", BLOBS)
@pytest.mark.parametrize("cut", [5, 12, 1000, 3000, -1])
def test_row30_a_cut_blob_is_refused(media_type: str, cut: int) -> None:
    with pytest.raises(HostileInputError):
        decompress(BLOBS[media_type][:cut], media_type)


@pytest.mark.parametrize("media_type", BLOBS)
def test_row30_bytes_behind_a_blob_are_refused(media_type: str) -> None:
    with pytest.raises(HostileInputError):
        decompress(BLOBS[media_type] + b"more", media_type)


@pytest.mark.parametrize("media_type", BLOBS)
def test_a_flipped_bit_is_refused(media_type: str) -> None:
    blob = bytearray(BLOBS[media_type])
    blob[1500] ^= 1
    with pytest.raises(HostileInputError):
        decompress(bytes(blob), media_type)


def test_an_uncompressed_layer_is_passed_on_within_its_budget() -> None:
    assert decompress(b"abc", media.LAYER_TAR) == b"abc"
    with pytest.raises(HostileInputError, match="larger than 2 bytes"):
        decompress(b"abc", media.LAYER_TAR, replace(DEFAULT_BUDGETS, size=2))


def test_an_unknown_media_type_is_refused() -> None:
    with pytest.raises(HostileInputError, match="foreign"):
        open_decompressed(io.BytesIO(), "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
