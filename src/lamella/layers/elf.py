"""A small ELF reader: which libraries and which glibc a program needs, without running it (elf(5), LSB).

Only program headers are used, so stripped programs are read too. Every read is bounded: the file is untrusted.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from lamella.errors import HostileInputError
from lamella.values import dataclass

__all__ = ["Elf", "elf_needed", "needed_glibc", "read_elf", "version_key"]

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 1, 5, 10
_DT_VERDEF, _DT_VERDEFNUM, _DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
_MACHINES = {3: "386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 22: "s390x", 21: "ppc64"}

_MAX_HEADERS = 512
_MAX_DYNAMIC = 1 << 20
_MAX_STRINGS = 64 << 20
_MAX_VERSIONS = 65536


@dataclass(frozen=True, slots=True)
class Elf:
    """What a program asks for. ``machine`` is an OCI architecture, or empty for an unknown one.

    ``needed`` are library names, ``interpreter`` the loader's path (empty for a static program). ``wanted`` are symbol
    versions it needs (``GLIBC_2.34``), ``offered`` those it defines.
    """

    machine: str
    needed: tuple[str, ...]
    interpreter: str
    wanted: tuple[str, ...]
    offered: tuple[str, ...]


def read_elf(file: str | os.PathLike[str] | int) -> Elf | None:
    """The program's needs (path or open handle); None when it is no ELF file.

    Raises HostileInputError when it is a malformed one, OSError when it cannot be read.
    """
    handle = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = os.pread(handle, 64, 0)
        if head[:4] != b"\x7fELF":
            return None
        return _Image(handle, head).elf()
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise HostileInputError(f"ELF file is malformed: {error}") from error
    finally:
        if not isinstance(file, int):
            os.close(handle)


def needed_glibc(file: str | os.PathLike[str] | int) -> str:
    """The newest glibc that a program needs, as ``2.34``; empty when it needs none or is no ELF file."""
    elf = read_elf(file)
    wanted = [name.removeprefix("GLIBC_") for name in elf.wanted if name.startswith("GLIBC_2.")] if elf else []
    return max(wanted, key=version_key, default="")


def elf_needed(file: str | os.PathLike[str] | int) -> tuple[str, ...]:
    """The shared libraries that a program names, in its order; none when it is static or no ELF file."""
    elf = read_elf(file)
    return elf.needed if elf else ()


def version_key(version: str) -> tuple[int, ...]:
    """For comparing versions like ``2.34``; parts that are no numbers count as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


class _Image:
    """One ELF file, of either word size and byte order."""

    def __init__(self, handle: int, head: bytes) -> None:
        self._handle = handle
        self._steps = 0
        self._wide = head[4] == 2
        self._order = "<" if head[5] == 1 else ">"
        self._machine = _MACHINES.get(struct.unpack_from(f"{self._order}H", head, 18)[0], "")
        self._segments = list(self._read_segments(head))

    def elf(self) -> Elf:
        dynamic = self._dynamic()
        strings = self._strings(dynamic)
        needed = tuple(_string(strings, value) for tag, value in dynamic if tag == _DT_NEEDED)
        table = dict(dynamic)
        return Elf(
            self._machine,
            needed,
            self._interpreter(),
            tuple(sorted(set(self._wanted(table, strings)))),
            tuple(sorted(set(self._offered(table, strings)))),
        )

    def _read_segments(self, head: bytes) -> Iterator[tuple[int, int, int, int]]:
        """(type, offset, address, size) of each program header."""
        if self._wide:
            offset = struct.unpack_from(f"{self._order}Q", head, 32)[0]
            size, count = struct.unpack_from(f"{self._order}HH", head, 54)
        else:
            offset = struct.unpack_from(f"{self._order}I", head, 28)[0]
            size, count = struct.unpack_from(f"{self._order}HH", head, 42)
        if count > _MAX_HEADERS:
            raise ValueError("too many program headers")
        data = self._read(offset, size * count)
        for number in range(count):
            if self._wide:
                kind, _, start, address, _, length = struct.unpack_from(f"{self._order}IIQQQQ", data, number * size)
            else:
                kind, start, address, _, length = struct.unpack_from(f"{self._order}IIIII", data, number * size)
            yield kind, start, address, length

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._handle, size, offset)

    def _at(self, address: int, size: int) -> bytes:
        """Bytes at a virtual address, as far as the file has them."""
        for kind, offset, start, length in self._segments:
            if kind == _PT_LOAD and start <= address < start + length:
                return self._read(offset + address - start, min(size, start + length - address))
        raise ValueError(f"no segment holds address {address:#x}")

    def _interpreter(self) -> str:
        for kind, offset, _, length in self._segments:
            if kind == _PT_INTERP:
                return _string(self._read(offset, min(length, 4096)), 0)
        return ""

    def _dynamic(self) -> list[tuple[int, int]]:
        """(tag, value) of the dynamic section up to its end mark."""
        form, step = (f"{self._order}QQ", 16) if self._wide else (f"{self._order}II", 8)
        found: list[tuple[int, int]] = []
        for kind, offset, _, length in self._segments:
            if kind != _PT_DYNAMIC:
                continue
            data = self._read(offset, min(length, _MAX_DYNAMIC))
            for tag, value in struct.iter_unpack(form, data[: len(data) - len(data) % step]):
                if tag == 0:
                    break
                found.append((tag, value))
        return found

    def _strings(self, dynamic: list[tuple[int, int]]) -> bytes:
        table = dict(dynamic)
        if _DT_STRTAB not in table:
            return b""
        return self._at(table[_DT_STRTAB], min(table.get(_DT_STRSZ, 0), _MAX_STRINGS))

    def _wanted(self, table: dict[int, int], strings: bytes) -> Iterator[str]:
        """Names in ``.gnu.version_r``: per library a list of versions."""
        address = table.get(_DT_VERNEED, 0)
        for _ in range(min(table.get(_DT_VERNEEDNUM, 0), _MAX_VERSIONS)):
            _, count, _, first, after = struct.unpack(f"{self._order}HHIII", self._at(address, 16))
            entry = address + first
            for _ in range(count):
                self._steps += 1
                if self._steps > _MAX_VERSIONS:
                    raise ValueError("too many symbol versions")
                _, _, _, name, following = struct.unpack(f"{self._order}IHHII", self._at(entry, 16))
                yield _string(strings, name)
                entry += following
            address += after

    def _offered(self, table: dict[int, int], strings: bytes) -> Iterator[str]:
        """Names in ``.gnu.version_d``: the first name of each definition."""
        address = table.get(_DT_VERDEF, 0)
        for _ in range(min(table.get(_DT_VERDEFNUM, 0), _MAX_VERSIONS)):
            _, _, _, _, _, first, after = struct.unpack(f"{self._order}HHHHIII", self._at(address, 20))
            (name,) = struct.unpack(f"{self._order}I", self._at(address + first, 4))
            yield _string(strings, name)
            address += after


def _string(data: bytes, at: int) -> str:
    end = data.index(b"\0", at)
    return data[at:end].decode("utf-8", "replace")
