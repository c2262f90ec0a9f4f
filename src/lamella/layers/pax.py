"""PAX extended headers, read strictly (pax(1), "pax Extended Header").

Records that change what a member is must be unique and plausible; those that only describe it are skipped.
"""

from __future__ import annotations

import re

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import HostileInputError
from lamella.values import dataclass

__all__ = ["NO_PAX", "Pax", "parse_global", "parse_pax"]

_XATTR = b"SCHILY.xattr."
_SPARSE = (b"GNU.sparse.", b"SCHILY.realsize", b"SUN.holesdata")
_CHARSETS = (b"BINARY", b"ISO-IR 10646 2000 UTF-8")
_TIME = re.compile(rb"-?\d{1,18}(\.\d{0,18})?")


@dataclass(frozen=True, slots=True)
class Pax:
    """What a PAX header says of its member; None where it says nothing. ``mtime_ns`` is never negative."""

    path: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    xattrs: FrozenMap[str, bytes] = EMPTY_MAP


NO_PAX = Pax()
"""A member without a PAX header."""


def parse_pax(data: bytes) -> Pax:
    """A PAX header's meaning from its bytes; raises HostileInputError."""
    records = _records(data)
    _refuse(records)
    xattrs = {
        key[len(_XATTR) :].decode("utf-8", "surrogateescape"): value
        for key, value in records.items()
        if key.startswith(_XATTR)
    }
    return Pax(
        _name(records, b"path"),
        _name(records, b"linkpath"),
        _number(records, b"size"),
        _number(records, b"uid"),
        _number(records, b"gid"),
        _time(records),
        FrozenMap(xattrs) if xattrs else EMPTY_MAP,
    )


def parse_global(data: bytes) -> None:
    """Checks a global header: only comments may stand there, readers disagree on everything else."""
    for key in _records(data):
        if key != b"comment":
            raise HostileInputError(f"archive sets {key[:40]!r} for all its members in a global header")


def _records(data: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        if not digits.isdigit() or digits.startswith(b"0"):
            raise HostileInputError("archive has a PAX header with a malformed length")
        end = at + int(digits)
        record = data[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if end > len(data) or not record.endswith(b"\n") or not equals or not key:
            raise HostileInputError("archive has a PAX header with a malformed record")
        if key in records:
            raise HostileInputError(f"archive has a PAX header with {key[:40]!r} twice")
        records[key] = value[:-1]
        at = end
    return records


def _refuse(records: dict[bytes, bytes]) -> None:
    """What would make the member another one than its header shows."""
    for key, value in records.items():
        if key.startswith(_SPARSE):
            raise HostileInputError("archive has a sparse file, which layers may not have")
        if key == b"hdrcharset" and value not in _CHARSETS:
            raise HostileInputError(f"archive has names in the character set {value[:40]!r}")
        if b"\0" in key:
            raise HostileInputError("archive has a PAX header with a NUL in a key")


def _name(records: dict[bytes, bytes], key: bytes) -> bytes | None:
    value = records.get(key)
    if value is not None and (not value or b"\0" in value):
        raise HostileInputError(f"archive has a PAX header with an empty {key.decode()} or a NUL in it")
    return value


def _number(records: dict[bytes, bytes], key: bytes) -> int | None:
    value = records.get(key)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 19 or int(value) >= 1 << 63:
        raise HostileInputError(f"archive has a PAX header whose {key.decode()} is no number in range")
    return int(value)


def _time(records: dict[bytes, bytes]) -> int | None:
    value = records.get(b"mtime")
    if value is None:
        return None
    if not _TIME.fullmatch(value):
        raise HostileInputError("archive has a PAX header whose mtime is no time")
    seconds, _, fraction = value.partition(b".")
    return max(0, int(seconds) * 10**9 + int(fraction[:9].ljust(9, b"0")))
