"""Takes one file or one directory out of a downloaded archive.

Archives are hostile input (RELIABILITY X1): names are checked before they touch a path, everything is made new below a
directory that did not exist, links must stay inside it, and sizes are bounded. Zip files are read with the standard
library; for tar files a reader is handed in, because the one that withstands hostile archives belongs to layers.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from lamella.errors import ConfigError, HostileInputError
from lamella.graph.fileset import check_path
from lamella.values import dataclass, replace

if TYPE_CHECKING:
    import zipfile

__all__ = ["EXTRACT_LIMIT", "TarMember", "TarReader", "extract_member"]

EXTRACT_LIMIT = 64 << 30
"""Bytes that come out of one archive at most."""

_ENTRIES = 1_000_000
_CHUNK = 1 << 20
_LINK_LIMIT = 4096


class ReadStream(Protocol):
    """Where an archive comes from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


class TarMember(Protocol):
    """One member: ``layers.reader.Member`` is one. The name of ``kind`` says what it is."""

    @property
    def path(self) -> str:
        """Relative and plain."""

    @property
    def kind(self) -> Enum:
        """FILE, DIRECTORY, SYMLINK, HARD_LINK or something else."""

    @property
    def mode(self) -> int:
        """Permission bits."""

    @property
    def link(self) -> str:
        """A symlink's target, or a hard link's as a plain path."""


class TarReader(Protocol):
    """Iterates over members; ``chunks`` gives the bytes of the current one. ``layers.reader.LayerReader`` is one."""

    def __iter__(self) -> Iterator[TarMember]:
        """The members in order."""

    def chunks(self) -> Iterator[bytes]:
        """The current member's bytes."""


OpenTar = Callable[[ReadStream], TarReader]


@dataclass(frozen=True, slots=True)
class _Member:
    path: str
    kind: str
    mode: int
    link: str
    chunks: Callable[[], Iterable[bytes]]


def extract_member(archive: BinaryIO, member: str, target: Path, *, name: str, open_tar: OpenTar) -> None:
    """Writes the file or directory ``member`` of an archive as ``target``, which must not exist.

    ``name`` is the archive's file name, for messages; its kind is told from its bytes: zip, or tar plain or compressed
    with gzip, bzip2, xz or zstd. Modes become 0644 or 0755. Raises ConfigError when there is no such member,
    HostileInputError.
    """
    wanted = check_path(member.strip("/"))
    made = False
    try:
        for found in _members(archive, name, open_tar):
            inside = _below(found.path, wanted)
            if inside is None:
                continue
            made = _write(found, inside, target, wanted) or made
    except BaseException:
        _remove(target)
        raise
    if not made:
        raise ConfigError(f"{name} has no {member}", hint="`extract` is a path inside the archive")


def _below(path: str, wanted: str) -> str | None:
    """The part of ``path`` below ``wanted``, empty for itself; None when it is elsewhere."""
    if path == wanted:
        return ""
    return path[len(wanted) + 1 :] if path.startswith(f"{wanted}/") else None


def _write(found: _Member, inside: str, target: Path, wanted: str) -> bool:
    """Makes one member below ``target``; false for a kind that is passed over."""
    place = target / inside if inside else target
    if found.kind == "DIRECTORY":
        _make_directories(target, inside)
        return True
    if found.kind not in ("FILE", "SYMLINK", "HARD_LINK"):
        return False
    if inside:
        _make_directories(target, inside.rpartition("/")[0])
    if os.path.lexists(place):
        raise HostileInputError(f"the archive has {found.path[:80]!r} twice")
    if found.kind == "FILE":
        _write_file(place, found)
    elif found.kind == "SYMLINK":
        _check_link(inside, found.link)
        os.symlink(found.link, place)
    else:
        _copy_linked(_below(found.link, wanted), place, target, found)
    return True


def _make_directories(target: Path, inside: str) -> None:
    """``target`` and the directories below it that ``inside`` names; anything else on the way is refused."""
    place = target
    for part in ("", *filter(None, inside.split("/"))):
        place = place / part if part else place
        with suppress(FileExistsError):
            place.mkdir(mode=0o755)
            continue
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            raise HostileInputError(f"the archive puts files below {place.name!r}, which is no directory in it")


def _copy_linked(source: str | None, place: Path, target: Path, found: _Member) -> None:
    """A hard link becomes a copy of the file it names, which must have been extracted before it."""
    original = target / source if source else target
    if source is None or not original.is_file() or original.resolve() != target.resolve() / source:
        raise HostileInputError(f"the archive has {found.path[:80]!r} as a hard link to what is not extracted")
    shutil.copyfile(original, place)
    shutil.copymode(original, place)


def _write_file(place: Path, found: _Member) -> None:
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        for data in found.chunks():
            out.write(data)
        os.fchmod(out.fileno(), 0o755 if found.mode & stat.S_IXUSR else 0o644)


def _check_link(inside: str, link: str) -> None:
    """A symlink may lead only to what is extracted with it."""
    depth = inside.count("/")
    for part in link.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0 or link.startswith("/") or not inside:
            raise HostileInputError(
                f"the archive has a symlink {inside[:80]!r} to {link[:80]!r}, which leads out of it"
            )


def _remove(target: Path) -> None:
    with suppress(FileNotFoundError):
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()


def _members(archive: BinaryIO, name: str, open_tar: OpenTar) -> Iterator[_Member]:
    """The members of an archive, bounded in number and size."""
    archive.seek(0)
    magic = archive.read(6)
    archive.seek(0)
    tar = magic[:4] != b"PK\x03\x04"
    members = _tar_members(_Unpacking(archive, magic, name), open_tar) if tar else _zip_members(archive, name)
    total = 0

    def counted(take: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
        nonlocal total
        for data in take():
            total += len(data)
            if total > EXTRACT_LIMIT:
                raise HostileInputError(f"{name} grows to more than {EXTRACT_LIMIT} bytes")
            yield data

    for count, member in enumerate(members):
        if count >= _ENTRIES:
            raise HostileInputError(f"{name} has more than {_ENTRIES} members")
        yield replace(member, chunks=partial(counted, member.chunks))


class _Unpacking:
    """The tar inside a compressed file; what is wrong with its compression is HostileInputError."""

    def __init__(self, archive: BinaryIO, magic: bytes, name: str) -> None:
        self._name = name
        self._stream = _uncompressed(archive, magic)

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        import lzma
        import zlib

        import zstandard

        try:
            return self._stream.read(size)
        except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
            raise HostileInputError(f"{self._name} is damaged: {error}") from error


def _tar_members(stream: ReadStream, open_tar: OpenTar) -> Iterator[_Member]:
    reader = open_tar(stream)
    for member in reader:
        yield _Member(member.path, member.kind.name, member.mode, member.link, reader.chunks)


def _uncompressed(archive: BinaryIO, magic: bytes) -> ReadStream:
    """The tar inside, by the first bytes of the file."""
    if magic[:2] == b"\x1f\x8b":
        import gzip

        return cast(ReadStream, gzip.GzipFile(fileobj=archive, mode="rb"))
    if magic[:3] == b"BZh":
        import bz2

        return bz2.BZ2File(archive)
    if magic == b"\xfd7zXZ\x00":
        import lzma

        return lzma.LZMAFile(archive)
    if magic[:4] == b"\x28\xb5\x2f\xfd":
        return _Zstd(archive)
    return archive


class _Zstd:
    """A zstd file unpacked as it is read; the library's own reader takes a cut file for a short one."""

    _PIECE = 4096  # what is unpacked at once: at most some 130 MB come out of it, whatever it is

    def __init__(self, archive: BinaryIO) -> None:
        import zstandard

        self._archive = archive
        self._library = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        self._frame = self._library.decompressobj()
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end. Raises EOFError for a file that is cut."""
        while not self._ready:
            data = self._frame.unused_data if self._frame.eof else b""
            data = data or self._archive.read(self._PIECE)
            if not data:
                if not self._frame.eof:
                    raise EOFError("it ends in the middle of a frame")
                return b""
            if self._frame.eof:
                self._frame = self._library.decompressobj()
            self._ready = self._frame.decompress(data)
        data, self._ready = self._ready[:size], self._ready[size:]
        return data


@contextmanager
def _zip_errors(name: str) -> Iterator[None]:
    import zipfile
    import zlib

    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise HostileInputError(f"{name} is damaged or of an unsupported form: {error}") from error


def _zip_members(archive: BinaryIO, name: str) -> Iterator[_Member]:
    import zipfile

    with _zip_errors(name):
        opened = zipfile.ZipFile(archive)
    for info in opened.infolist():
        yield _zip_member(opened, info, name)


def _zip_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> _Member:
    path = check_path(entry.filename.rstrip("/"))
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        if entry.file_size > _LINK_LIMIT:
            raise HostileInputError(f"{name} has a link of {entry.file_size} bytes")
        with _zip_errors(name):
            target = archive.read(entry).decode("utf-8", "surrogateescape")
        return _Member(path, "SYMLINK", mode, target, tuple)
    kind = "DIRECTORY" if entry.is_dir() else "FILE"
    return _Member(path, kind, mode, "", partial(_zip_chunks, archive, entry, name))


def _zip_chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    with _zip_errors(name), archive.open(entry) as file:
        while data := file.read(_CHUNK):
            yield data
