"""A program of 200 bytes that needs nothing: an x86-64 ELF file that says hello and ends with a status of its own."""

from __future__ import annotations

import struct

__all__ = ["HELLO", "STATUS", "TEXT"]

TEXT = b"hello from the image\n"
STATUS = 7

_BASE = 0x400000
_HEADERS = 64 + 56


def _code() -> bytes:
    """write(1, TEXT, len); exit(STATUS), by the x86-64 system call convention (syscall(2))."""
    size = 34
    write = b"\xb8\x01\x00\x00\x00" + b"\xbf\x01\x00\x00\x00" + b"\xbe" + struct.pack("<I", _BASE + _HEADERS + size)
    write += b"\xba" + struct.pack("<I", len(TEXT)) + b"\x0f\x05"
    leave = b"\xb8\x3c\x00\x00\x00" + b"\xbf" + struct.pack("<I", STATUS) + b"\x0f\x05"
    code = write + leave
    return code.ljust(size, b"\x90") + TEXT


def _elf(code: bytes) -> bytes:
    entry = _BASE + _HEADERS
    size = _HEADERS + len(code)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000) + code


HELLO = _elf(_code())
