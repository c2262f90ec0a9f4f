"""Hand-made archives: what the standard library writes of given members, and raw blocks where it would refuse."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

from lamella.layers.reader import LayerReader, Member

Piece = tuple[tarfile.TarInfo, bytes]


def tar_file(name: str, data: bytes = b"", mode: int = 0o644, *, pax: dict[str, str] | None = None) -> Piece:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.pax_headers = len(data), mode, pax or {}
    return info, data


def tar_dir(name: str, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime: int = 0) -> Piece:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid, info.mtime = tarfile.DIRTYPE, mode, uid, gid, mtime
    return info, b""


def tar_symlink(target: str, name: str) -> Piece:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, b""


def tar_link(target: str, name: str, mode: int = 0o777) -> Piece:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = tarfile.LNKTYPE, target, mode
    return info, b""


def tar_device(name: str, kind: bytes, device: tuple[int, int], mode: int = 0o600) -> Piece:
    info = tarfile.TarInfo(name)
    info.type, info.mode, (info.devmajor, info.devminor) = kind, mode, device
    return info, b""


def tar_bytes(pieces: Iterable[Piece], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, data in pieces:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def octal(number: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, number)


def raw_header(
    name: bytes = b"file",
    *,
    flag: bytes = b"0",
    size: bytes = octal(0, 12),
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    mode: bytes = octal(0o644, 8),
    mtime: bytes = octal(0, 12),
    uid: bytes = octal(0, 8),
    checksum: int | None = None,
) -> bytes:
    """One header block with a right checksum unless another is given."""
    front = name.ljust(100, b"\0") + mode + uid + octal(0, 8) + size + mtime
    back = flag + link.ljust(100, b"\0") + magic + bytes(64) + octal(0, 8) * 2 + prefix.ljust(167, b"\0")
    total = sum(front) + sum(back) + 8 * 0x20 if checksum is None else checksum
    return front + b"%06o\0 " % total + back


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def extension(flag: bytes, data: bytes) -> bytes:
    """An extended header (PAX or GNU) with its content."""
    return raw_header(b"././@X", flag=flag, size=octal(len(data), 12)) + padded(data)


def pax_record(key: bytes, value: bytes) -> bytes:
    for length in range(len(key) + len(value) + 3, len(key) + len(value) + 30):
        record = b"%d %b=%b\n" % (length, key, value)
        if len(record) == length:
            return record
    raise AssertionError


END = bytes(1024)


def read_all(archive: bytes, **options: object) -> list[tuple[Member, bytes]]:
    """All members with their bytes."""
    reader = LayerReader(io.BytesIO(archive), **options)  # type: ignore[arg-type]
    return [(member, b"".join(reader.chunks())) for member in reader]
