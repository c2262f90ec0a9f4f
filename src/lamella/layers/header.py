"""One tar header block, read strictly: ustar (POSIX), GNU and the old form without a magic.

Whatever two readers might take differently is refused, so that the list of members is the same for all of them
(CVE-2025-62518 and CVE-2026-53655 are what happens otherwise).
"""

from __future__ import annotations

from lamella.errors import HostileInputError
from lamella.values import dataclass

__all__ = ["BLOCK", "Header", "parse_header", "text"]

BLOCK = 512

_USTAR, _GNU, _OLD = b"ustar\x0000", b"ustar  \x00", bytes(8)


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a header. ``flag`` is the type; ``name`` and ``link`` are raw bytes; ``mtime`` in seconds."""

    flag: bytes
    name: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    device: tuple[int, int]


def parse_header(block: bytes) -> Header:
    """A header from its 512 bytes; raises HostileInputError when anything in it is wrong or ambiguous."""
    stored = _octal(block[148:156], "checksum")
    if sum(block) - sum(block[148:156]) + 8 * 0x20 != stored:
        raise HostileInputError("archive has a header with a wrong checksum")
    magic = block[257:265]
    if magic not in (_USTAR, _GNU, _OLD):
        raise HostileInputError(f"archive has a header of an unknown form ({magic!r})")
    name = _string(block[0:100], "name")
    if magic == _USTAR and (prefix := _string(block[345:500], "prefix")):
        name = prefix + b"/" + name
    flag = block[156:157]
    device = (0, 0)
    if flag in (b"3", b"4"):
        device = (_number(block[329:337], "device"), _number(block[337:345], "device"))
    return Header(
        b"0" if flag == b"\0" else flag,
        name,
        _string(block[157:257], "link"),
        _number(block[100:108], "mode"),
        _number(block[108:116], "owner"),
        _number(block[116:124], "group"),
        _number(block[124:136], "size"),
        _time(block[136:148]),
        device,
    )


def text(raw: bytes) -> str:
    """A name as the file system calls take it."""
    return raw.decode("utf-8", "surrogateescape")


def _string(field: bytes, what: str) -> bytes:
    """A field that ends at its first NUL or is full; nothing may stand behind the NUL."""
    value, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise HostileInputError(f"archive has a {what} with a NUL inside")
    return value


def _octal(field: bytes, what: str) -> int:
    """Octal digits with blanks before and blanks or NULs behind; an empty field is 0."""
    digits = field.rstrip(b" \0").lstrip(b" ")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise HostileInputError(f"archive has a header whose {what} is no number")
    return int(digits, 8)


def _number(field: bytes, what: str) -> int:
    """Octal, or GNU's base-256 form; never negative, never more than 63 bits."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
        if value >= 1 << 63:
            raise HostileInputError(f"archive has a header whose {what} is out of range")
        return value
    if field[0] & 0x80:
        raise HostileInputError(f"archive has a header whose {what} is negative or out of range")
    return _octal(field, what)


def _time(field: bytes) -> int:
    """A time, 0 when it lies before 1970 (the only field where a negative number is honest)."""
    return 0 if field[0] == 0xFF else _number(field, "time")
