"""The deterministic tar writer: equal file sets give equal bytes, whoever writes them, when and where.

POSIX ustar headers (pax(1), "ustar Interchange Format"), sorted as the file set is, one constant time, numeric
owners, no names of users. A PAX extended header comes only where ustar cannot say it: long or non-ASCII names and
link targets, sizes of 8 GiB and more, ids of 2097152 and more, extended attributes (``SCHILY.xattr.*``, as all
readers of image layers expect). Whiteouts are those of the image spec (layer.md, "Whiteouts").

Headers are made by filling one prepared form and their checksum is taken in C, content is read in one piece
when it is small: writing a layer of many files is bound by the system calls.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lamella.errors import ConfigError, HostileInputError, IntegrityError, InternalError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.record import LayerResult
from lamella.layers.content import Content, KnownChunks
from lamella.layers.digest import StreamDigest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OPAQUE_MARKER", "WHITEOUT_PREFIX", "ByteSink", "DigestingSink", "check_layer", "write_layer"]

WHITEOUT_PREFIX = ".wh."
OPAQUE_MARKER = ".wh..wh..opq"
"""Names of the image spec, layer.md."""

_MAX_SIZE = 8**11 - 1
_MAX_ID = 8**7 - 1
_BLOCK = 512
_FLUSH = 1 << 20

_TYPE_FLAGS = {
    EntryType.FILE: b"0",
    EntryType.SYMLINK: b"2",
    EntryType.CHAR_DEVICE: b"3",
    EntryType.BLOCK_DEVICE: b"4",
    EntryType.DIRECTORY: b"5",
    EntryType.OPAQUE: b"5",
    EntryType.FIFO: b"6",
    EntryType.WHITEOUT: b"0",
}
_HARD_LINK = b"1"
_PAX = b"x"

# name, mode, uid, gid, size, mtime | checksum | type, link name, magic, version, user, group, device, prefix
_FRONT = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0"
_BACK = b"%b%bustar\x0000" + bytes(64) + b"%07o\0%07o\0%b"
_BLANK = b" " * 8


class ByteSink(Protocol):
    """Where the archive goes: a binary file, or a compressor of ``lamella.layers.compress``."""

    def write(self, data: bytes, /) -> object:
        """Takes all of ``data``."""


@runtime_checkable
class DigestingSink(ByteSink, Protocol):
    """A sink that takes the digest of what it is given, so that nobody else has to."""

    def plain_digest(self) -> str:
        """The digest of all data so far; nothing may follow."""


def write_layer(
    fileset: FileSet,
    content: Content,
    out: ByteSink,
    *,
    mtime: int = 0,
    links: Iterable[tuple[str, ...]] = (),
) -> LayerResult:
    """Writes a file set as an uncompressed layer and returns its diff_id, size in bytes and number of members.

    ``mtime`` is the one time of all members (SOURCE_DATE_EPOCH). ``links`` are groups of paths that are one file:
    the first in order holds the bytes, the others become hard links to it; their entries must be equal.

    Raises IntegrityError when a file's bytes are not those its entry promises, InternalError for a file set that
    is no layer (see :func:`check_layer`), HostileInputError for a name that a reader would take for a whiteout.
    """
    if not 0 <= mtime <= _MAX_SIZE:
        raise ConfigError(
            f"time {mtime} cannot be written into an archive", hint="SOURCE_DATE_EPOCH counts seconds since 1970"
        )
    check_layer(fileset)
    first_of = _link_targets(fileset, links)
    archive = _Archive(out, mtime)
    try:
        for entry in fileset.entries:
            if entry.path in first_of:
                archive.header(entry.path, _HARD_LINK, entry, link=first_of[entry.path])
            elif entry.type is EntryType.FILE:
                archive.file(entry, content)
            elif entry.type is EntryType.WHITEOUT:
                archive.whiteout(_whiteout_name(entry.path))
            else:
                archive.node(entry)
        return archive.finish()
    finally:
        archive.drop()


def check_layer(fileset: FileSet) -> None:
    """Raises InternalError unless every entry's parent directory is in the file set too.

    Without them an unpacker makes parents of its own and resets ``/tmp`` to 0755 root (DESIGN 7b.3). Raises
    HostileInputError for a file named like a whiteout.
    """
    directories = {""}
    for entry in fileset.entries:
        parent, _, name = entry.path.rpartition("/")
        if parent not in directories:
            raise InternalError(f"layer has {entry.path!r} but no directory entry {parent!r} above it")
        if name.startswith(WHITEOUT_PREFIX):
            raise HostileInputError(
                f"{entry.path!r} cannot be in a layer: names that start with {WHITEOUT_PREFIX} mean removal",
                hint="remove the file in the step that makes it, or leave it out of the outputs",
            )
        if entry.type in (EntryType.DIRECTORY, EntryType.OPAQUE):
            directories.add(entry.path)


def _whiteout_name(path: str) -> str:
    parent, _, name = path.rpartition("/")
    return f"{parent}/{WHITEOUT_PREFIX}{name}" if parent else WHITEOUT_PREFIX + name


def _link_targets(fileset: FileSet, links: Iterable[tuple[str, ...]]) -> Mapping[str, str]:
    """Path -> first path of its group, for all but the first."""
    targets: dict[str, str] = {}
    for group in links:
        first, *others = sorted(group)
        source = fileset.get(first)
        for path in others:
            entry = fileset.get(path)
            if entry is None or source is None or entry.to_row()[1:] != source.to_row()[1:]:
                raise InternalError(f"{path!r} and {first!r} are no hard links to one file")
            targets[path] = first
    return targets


class _Archive:
    """One archive being written: gathers small pieces, hashes and hands them on in large ones."""

    def __init__(self, out: ByteSink, mtime: int) -> None:
        self._out = out
        self._mtime = mtime
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._size = 0
        self._members = 0
        self._digest = None if isinstance(out, DigestingSink) else StreamDigest()

    def file(self, entry: Entry, content: Content) -> None:
        """A regular file with its bytes, which must be as long and as hashed as the entry says."""
        self.header(entry.path, b"0", entry, size=entry.size)
        chunks, size = content(entry), 0
        checked = None if isinstance(chunks, KnownChunks) else hashlib.sha256()
        for chunk in chunks:
            size += len(chunk)
            if size > entry.size:
                break
            if checked is not None:
                checked.update(chunk)
            self._add(chunk)
        if size != entry.size or (checked is not None and f"sha256:{checked.hexdigest()}" != entry.digest):
            raise IntegrityError(
                f"file {entry.path!r} is not what was hashed before: it changed while the layer was written",
                hint="nothing may write there during a build; run it again",
            )
        if pad := -size % _BLOCK:
            self._add(bytes(pad))

    def node(self, entry: Entry) -> None:
        """Everything without bytes; an opaque directory's marker comes right after it, before what is inside."""
        self.header(entry.path, _TYPE_FLAGS[entry.type], entry, link=entry.link, device=entry.device or (0, 0))
        if entry.type is EntryType.OPAQUE:
            self.whiteout(f"{entry.path}/{OPAQUE_MARKER}")

    def whiteout(self, path: str) -> None:
        """An empty file whose name is the message."""
        self.header(path, b"0", Entry(path, EntryType.WHITEOUT, 0o600))

    def header(
        self, path: str, flag: bytes, entry: Entry, *, size: int = 0, link: str = "", device: tuple[int, int] = (0, 0)
    ) -> None:
        """One member's header, with a PAX header before it where ustar is not enough."""
        self._members += 1
        name = f"{path}/" if flag == b"5" else path
        mode = 0o777 if flag == b"2" else entry.mode & 0o7777
        uid, gid = entry.uid, entry.gid
        split = _ustar_name(name)
        plain_link = link.isascii() and len(link) <= 100
        if split is None or not plain_link or size > _MAX_SIZE or uid > _MAX_ID or gid > _MAX_ID or entry.xattrs:
            self._pax(_pax_records(name if split is None else "", "" if plain_link else link, size, uid, gid, entry))
            split = split or (_fallback_name(name), b"")
            link = link if plain_link else ""
            size, uid, gid = (
                value if value <= limit else 0 for value, limit in ((size, _MAX_SIZE), (uid, _MAX_ID), (gid, _MAX_ID))
            )
        self._add(self._block(split, flag, (mode, uid, gid, size), link.encode(), device))

    def _pax(self, records: bytes) -> None:
        self._add(self._block((b"././@PaxHeader", b""), _PAX, (0o644, 0, 0, len(records)), b"", (0, 0)))
        self._add(records + bytes(-len(records) % _BLOCK))

    def _block(
        self,
        split: tuple[bytes, bytes],
        flag: bytes,
        numbers: tuple[int, int, int, int],
        link: bytes,
        device: tuple[int, int],
    ) -> bytes:
        name, prefix = split
        front = _FRONT % (name.ljust(100, b"\0"), *numbers, self._mtime)
        back = _BACK % (flag, link.ljust(100, b"\0"), *device, prefix.ljust(167, b"\0"))
        # Adler-32's lower half is 1 + the sum of all bytes modulo 65521; an ASCII header's sum stays below that.
        total = (zlib.adler32(back, zlib.adler32(front + _BLANK)) & 0xFFFF) - 1
        return b"%b%06o\0 %b" % (front, total, back)

    def _add(self, data: bytes) -> None:
        self._pieces.append(data)
        self._gathered += len(data)
        if self._gathered >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size += len(data)
        self._gathered = 0
        if self._digest is not None:
            self._digest.update(data)
        self._out.write(data)

    def drop(self) -> None:
        """Ends what runs for it; harmless after :meth:`finish`."""
        if self._digest is not None:
            self._digest.drop()

    def finish(self) -> LayerResult:
        """The two zero blocks that end an archive, and the result."""
        self._add(bytes(2 * _BLOCK))
        self._flush()
        diff_id = self._out.plain_digest() if isinstance(self._out, DigestingSink) else ""
        return LayerResult(self._digest.finish() if self._digest else diff_id, self._size, self._members)


def _ustar_name(name: str) -> tuple[bytes, bytes] | None:
    """(name, prefix) of a ustar header; None when the name does not fit."""
    if not name.isascii():
        return None
    raw = name.encode()
    if len(raw) <= 100:
        return raw, b""
    # The slash between them is not stored, and a directory's own trailing slash cannot be it.
    cut = raw.rfind(b"/", 0, min(156, len(raw) - 1))
    if cut <= 0 or len(raw) - cut - 1 > 100:
        return None
    return raw[cut + 1 :], raw[:cut]


def _fallback_name(name: str) -> bytes:
    """What stands in the header of a member whose real name is in its PAX header."""
    return name.encode("ascii", "replace").replace(b"?", b"_")[-100:].lstrip(b"/") or b"_"


def _pax_records(path: str, link: str, size: int, uid: int, gid: int, entry: Entry) -> bytes:
    """The records that ustar cannot hold, sorted by key."""
    records: dict[bytes, bytes] = {
        b"SCHILY.xattr." + _raw(name): bytes.fromhex(value) for name, value in entry.xattrs.items()
    }
    if path:
        records[b"path"] = _raw(path)
    if link:
        records[b"linkpath"] = _raw(link)
    for key, value, limit in ((b"size", size, _MAX_SIZE), (b"uid", uid, _MAX_ID), (b"gid", gid, _MAX_ID)):
        if value > limit:
            records[key] = b"%d" % value
    return b"".join(_pax_record(key, records[key]) for key in sorted(records))


def _pax_record(key: bytes, value: bytes) -> bytes:
    """``LENGTH key=value`` and a newline, where LENGTH counts itself (pax(1), "pax Extended Header")."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _raw(text: str) -> bytes:
    """A name's bytes as the file system has them."""
    return text.encode("utf-8", "surrogateescape")
