"""Reads wheels' zip files strictly: the directory and the members must say the same, and no more than allowed.

The standard library reads the central directory. Each member's own header is compared with it, members may not
overlap, sizes and checksums are held: two installers must not see two different wheels (CVE-2025-54368), and a bomb
stops at its budget. Inflating is ISA-L's, which is what most of an installation's time goes into.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import IO, cast

from lamella.errors import HostileInputError
from lamella.graph.fileset import check_path
from lamella.values import dataclass

__all__ = ["WHEEL_BUDGETS", "ZipBudgets", "ZipMember", "ZipReader"]

_CHUNK = 256 * 1024
_LOCAL = struct.Struct("<4s5H3I2H")
_ENCRYPTED, _UTF8 = 0x1, 0x800


@dataclass(frozen=True, slots=True)
class ZipBudgets:
    """Limits of one zip file: ``size`` bytes unpacked, ``entries`` members, ``path`` bytes of a name.

    ``ratio`` is unpacked bytes for each packed one, counted once ``ratio_from`` bytes came out.
    """

    size: int = 32 << 30
    entries: int = 200_000
    path: int = 1024
    ratio: int = 250
    ratio_from: int = 512 << 20


WHEEL_BUDGETS = ZipBudgets()
"""Enough for the largest published wheels."""


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file. ``path`` is relative and plain; ``executable`` as its mode says."""

    path: str
    size: int
    executable: bool
    info: zipfile.ZipInfo


class ZipReader:
    """The members of an open zip file (a seekable binary stream that stays the caller's).

    Raises HostileInputError for a zip file that is malformed, ambiguous or beyond its budgets.
    """

    def __init__(self, stream: IO[bytes], name: str, budgets: ZipBudgets = WHEEL_BUDGETS) -> None:
        self._stream = stream
        self._name = name
        self._budgets = budgets
        try:
            infos = zipfile.ZipFile(stream).infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OSError) as error:
            raise self._hostile(f"cannot be read: {error}") from error
        if len(infos) > budgets.entries:
            raise self._hostile(f"has more than {budgets.entries} members")
        self._check_layout(infos)
        self.members = tuple(self._members(infos))

    def _hostile(self, what: str) -> HostileInputError:
        return HostileInputError(f"zip file {self._name} {what}")

    def _check_layout(self, infos: list[zipfile.ZipInfo]) -> None:
        """Sizes within the budgets, no two members over the same bytes."""
        total = sum(info.file_size for info in infos)
        packed = sum(info.compress_size for info in infos)
        if total > self._budgets.size or (total > self._budgets.ratio_from and total > packed * self._budgets.ratio):
            raise self._hostile(f"would grow to {total} bytes")
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise self._hostile(f"has members that overlap at {info.filename[:60]!r}")
            end = info.header_offset + _LOCAL.size + info.compress_size

    def _members(self, infos: list[zipfile.ZipInfo]) -> Iterator[ZipMember]:
        seen: set[str] = set()
        for info in infos:
            # The library cuts names at a NUL and turns backslashes of some systems: the stored name counts.
            if info.filename != info.orig_filename or "\\" in info.filename:
                raise self._hostile(f"has the name {info.orig_filename[:60]!r}")
            if len(info.filename.encode("utf-8", "surrogateescape")) > self._budgets.path:
                raise self._hostile(f"has a name of more than {self._budgets.path} bytes")
            path = check_path(info.filename.rstrip("/"))
            if info.filename.endswith("/"):
                continue
            if path in seen:
                raise self._hostile(f"has {path[:60]!r} twice")
            if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise self._hostile(f"has {path[:60]!r} encrypted or compressed in an unusual way")
            seen.add(path)
            mode = info.external_attr >> 16
            yield ZipMember(path, info.file_size, stat.S_ISREG(mode) and bool(mode & 0o111), info)

    def chunks(self, member: ZipMember) -> Iterator[bytes]:
        """The bytes of one member in chunks, none of them empty; size and checksum are checked at the end."""
        from isal import isal_zlib

        size = crc = 0
        for chunk in self._unpacked(member.info):
            size += len(chunk)
            if size > member.size:
                break
            crc = isal_zlib.crc32(chunk, crc)
            if chunk:
                yield chunk
        if size != member.size or crc != member.info.CRC:
            raise self._hostile(f"has {member.path[:60]!r} with other bytes than its directory says")

    def _unpacked(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        from isal import isal_zlib

        raw = self._raw(info)
        if info.compress_type == zipfile.ZIP_STORED:
            yield from raw
            return
        inflater = isal_zlib.decompressobj(-15)
        malformed = cast(type[Exception], isal_zlib.error)
        try:
            for packed in raw:
                data = packed
                while data and not inflater.eof:
                    yield inflater.decompress(data, _CHUNK)
                    data = inflater.unconsumed_tail
            while not inflater.eof and (rest := inflater.decompress(b"", _CHUNK)):
                yield rest
        except malformed as error:
            raise self._hostile(f"has {info.filename[:60]!r} malformed: {error}") from error

    def _raw(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The packed bytes behind a member's own header, which must name the same member."""
        self._stream.seek(info.header_offset)
        header = self._stream.read(_LOCAL.size)
        if len(header) != _LOCAL.size:
            raise self._hostile(f"is cut at {info.filename[:60]!r}")
        magic, _, flags, method, _, _, _, _, _, name_size, extra_size = _LOCAL.unpack(header)
        name = self._stream.read(name_size).decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        if magic != b"PK\x03\x04" or name != info.orig_filename or method != info.compress_type:
            raise self._hostile(f"names {info.filename[:60]!r} otherwise in its directory")
        self._stream.seek(extra_size, 1)
        left = info.compress_size
        while left:
            data = self._stream.read(min(left, _CHUNK))
            if not data:
                raise self._hostile(f"is cut in {info.filename[:60]!r}")
            left -= len(data)
            yield data
