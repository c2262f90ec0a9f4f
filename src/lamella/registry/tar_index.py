"""Where the files of an image archive lie in it: a strict index of a plain tar, for random access.

An image archive holds files with short names and nothing else of interest, so only plain ustar and GNU headers are
read (tar(5)). Links are kept as names: some archives of ``docker save`` name a layer by a symlink. Anything that
would need an extended header to be understood is left out, and then missing.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from lamella.errors import ConfigError, HostileInputError
from lamella.values import dataclass

__all__ = ["TarIndex"]

_BLOCK = 512
_MEMBERS = 100_000
_CHUNK = 1 << 20
_FILE_TYPES = frozenset({b"0", b"\0", b"7"})
_LINK_TYPES = frozenset({b"1", b"2"})


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    size: int


class TarIndex:
    """The members of an uncompressed tar by name. Raises ConfigError and HostileInputError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, _Place] = {}
        self._links: dict[str, str] = {}
        try:
            self._read()
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error

    def names(self) -> tuple[str, ...]:
        """Names of all regular files, sorted."""
        return tuple(sorted(self._files))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self._place(name).size

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file."""
        place = self._place(name)
        with open(self._path, "rb", buffering=0) as file:
            at, end = place.offset, place.offset + place.size
            while at < end:
                data = os.pread(file.fileno(), min(_CHUNK, end - at), at)
                if not data:
                    raise HostileInputError(f"{self._path} ends within {name}")
                at += len(data)
                yield data

    def read(self, name: str, limit: int) -> bytes:
        """A small file; raises HostileInputError when it is larger than ``limit`` bytes."""
        if self.size(name) > limit:
            raise HostileInputError(f"{name} in {self._path} is larger than {limit} bytes")
        return b"".join(self.chunks(name))

    def __contains__(self, name: str) -> bool:
        return self._followed(name) in self._files

    def _followed(self, name: str) -> str:
        return self._links.get(name, name)

    def _place(self, name: str) -> _Place:
        place = self._files.get(self._followed(name))
        if place is None:
            raise HostileInputError(f"{self._path} has no {name[:120]}")
        return place

    def _read(self) -> None:
        with open(self._path, "rb") as file:
            end = os.fstat(file.fileno()).st_size
            at, skip = 0, False
            for _ in range(_MEMBERS):
                file.seek(at)
                header = file.read(_BLOCK)
                if len(header) < _BLOCK or not header.strip(b"\0"):
                    return
                self._check(header)
                size, kind = _number(header[124:136]), header[156:157]
                if at + _BLOCK + size > end:
                    raise HostileInputError(f"{self._path} ends within one of its files")
                if not skip:
                    self._add(header, kind, _Place(at + _BLOCK, size))
                skip = kind in b"xLK" and kind != b""  # what follows has its name or size in this extended header
                at += _BLOCK + -(-size // _BLOCK) * _BLOCK if kind not in _LINK_TYPES else _BLOCK
        raise HostileInputError(f"{self._path} has more than {_MEMBERS} members")

    def _add(self, header: bytes, kind: bytes, place: _Place) -> None:
        name = _text(header[:100])
        if header[257:263] == b"ustar\0" and header[345]:
            name = f"{_text(header[345:500])}/{name}"
        name = posixpath.normpath(name)
        if name in self._files or name in self._links:
            raise HostileInputError(f"{self._path} holds {name[:120]} twice")
        if kind in _FILE_TYPES:
            self._files[name] = place
        elif kind in _LINK_TYPES:
            target = _text(header[157:257])
            base = posixpath.dirname(name) if kind == b"2" else ""
            self._links[name] = posixpath.normpath(posixpath.join(base, target))

    def _check(self, header: bytes) -> None:
        """The header's checksum: what is not a tar fails here."""
        found = sum(header[:148]) + 8 * 0x20 + sum(header[156:])
        try:
            wanted = int(header[148:156].strip(b" \0") or b"0", 8)
        except ValueError:
            wanted = -1
        if found != wanted:
            hint = "it must be an uncompressed tar" if header[:2] == b"\x1f\x8b" else ""
            raise HostileInputError(f"{self._path} is not a tar archive, or damaged", hint=hint)


def _number(field: bytes) -> int:
    """A size: octal, or GNU's binary form for large ones."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise HostileInputError("an archive has a file of negative size")
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise HostileInputError("an archive has a file without a size") from None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
