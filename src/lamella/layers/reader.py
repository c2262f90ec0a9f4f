"""The hostile-proof tar reader: a stream of typed members, nothing ambiguous, nothing beyond the budgets.

It reads forward only and holds one header and one chunk in memory. Where GNU tar, Go's archive/tar and Python's
tarfile could disagree about what an archive holds, the archive is refused; what remains has one member list for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Protocol

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import HostileInputError, InternalError
from lamella.layers.budgets import DEFAULT_BUDGETS, Budgets
from lamella.layers.header import BLOCK, Header, parse_header, text
from lamella.layers.pax import NO_PAX, Pax, parse_global, parse_pax
from lamella.values import dataclass

__all__ = ["LayerReader", "Member", "MemberKind", "ReadStream", "normal_path"]

_FILL = 1 << 20
_MAX_ID = (1 << 32) - 2
"""The largest user or group id; -1 means "no change" to chown(2)."""

_MAX_USTAR_SIZE = 8**11 - 1


class ReadStream(Protocol):
    """Where the archive comes from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


class MemberKind(Enum):
    """What a member is; the value is its type flag."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHAR_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


_KINDS = {kind.value: kind for kind in MemberKind}


@dataclass(frozen=True, slots=True)
class Member:
    """One member. ``name`` is as in the archive, ``path`` relative and plain; the root itself has the path ''.

    ``link`` is a symlink's target as stored, or a hard link's target as a plain path. ``size`` in bytes is 0 but for
    files. ``mtime_ns`` counts from 1970. ``xattrs`` are raw.
    """

    name: str
    path: str
    kind: MemberKind
    mode: int
    uid: int
    gid: int
    size: int
    link: str
    device: tuple[int, int]
    mtime_ns: int
    xattrs: FrozenMap[str, bytes] = EMPTY_MAP


def normal_path(name: str, budgets: Budgets = DEFAULT_BUDGETS) -> str:
    """A member's name as a plain relative path: without leading slashes, ``.`` parts and doubled slashes.

    Raises HostileInputError for ``..``, a NUL, and what is longer or deeper than the budgets allow.
    """
    if len(name.encode("utf-8", "surrogateescape")) > budgets.path:
        raise HostileInputError(f"archive has a path of more than {budgets.path} bytes: {name[:60]!r}...")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise HostileInputError(f"archive has the path {name[:80]!r}, which leads out of it")
    if len(parts) > budgets.depth:
        raise HostileInputError(f"archive has a path of more than {budgets.depth} parts: {name[:60]!r}...")
    return "/".join(parts)


class LayerReader:
    """Iterates over the members of an uncompressed archive.

    While a file's member is the current one, :meth:`chunks` gives its bytes; what is not taken is skipped. After the
    iteration the stream has been read to its end. Everything raises HostileInputError.
    """

    def __init__(
        self,
        stream: ReadStream,
        budgets: Budgets = DEFAULT_BUDGETS,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blocks = _Blocks(stream, budgets)
        self._budgets = budgets
        self._monotonic = monotonic
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        deadline = self._monotonic() + self._budgets.seconds
        count = 0
        while (member := self._next()) is not None:
            count += 1
            if count > self._budgets.entries:
                raise HostileInputError(f"archive has more than {self._budgets.entries} entries")
            if self._monotonic() > deadline:
                raise HostileInputError(f"archive takes longer than {self._budgets.seconds} seconds to read")
            yield member
            self._skip_content()

    def chunks(self) -> Iterator[bytes]:
        """The current file's bytes, in chunks of at most 1 MiB."""
        while self._left:
            data = self._blocks.some(self._left)
            self._left -= len(data)
            yield data

    def _skip_content(self) -> None:
        for _ in self.chunks():
            pass
        self._blocks.exact(self._padding)
        self._padding = 0

    def _next(self) -> Member | None:
        """The next member with its extended headers; None at the end of the archive."""
        pax, long_name, long_link, seen = NO_PAX, None, None, set[bytes]()
        while (block := self._blocks.block()) is not None and block.strip(b"\0"):
            header = parse_header(block)
            if header.flag not in (b"x", b"g", b"L", b"K"):
                return self._member(header, pax, long_name, long_link)
            data = self._extension(header)
            if header.flag == b"g":
                parse_global(data)
                continue
            if header.flag in seen:
                raise HostileInputError("archive has two extended headers of one kind for one member")
            seen.add(header.flag)
            if header.flag == b"x":
                pax = parse_pax(data)
            elif header.flag == b"L":
                long_name = _gnu_name(data)
            else:
                long_link = _gnu_name(data)
        if seen:
            raise HostileInputError("archive ends behind an extended header")
        if block is not None:
            self._blocks.only_zeros()
        return None

    def _extension(self, header: Header) -> bytes:
        if header.size > self._budgets.header:
            raise HostileInputError(f"archive has an extended header of {header.size} bytes")
        data = self._blocks.exact(header.size)
        self._blocks.exact(-header.size % BLOCK)
        return data

    def _member(self, header: Header, pax: Pax, long_name: bytes | None, long_link: bytes | None) -> Member:
        kind = _KINDS.get(header.flag)
        if kind is None:
            what = "a sparse file" if header.flag == b"S" else f"a member of type {header.flag!r}"
            raise HostileInputError(f"archive has {what}, which layers may not have")
        if (pax.path is not None and long_name is not None) or (pax.link is not None and long_link is not None):
            raise HostileInputError("archive names one member both by PAX and by GNU headers")
        raw_name = next((raw for raw in (pax.path, long_name) if raw is not None), header.name)
        raw_link = next((raw for raw in (pax.link, long_link) if raw is not None), header.link)
        name = text(raw_name)
        size = _size(header, pax)
        if kind is MemberKind.FILE and name.endswith("/"):
            kind = MemberKind.DIRECTORY
        if size and kind is not MemberKind.FILE:
            raise HostileInputError(f"archive has content for {name[:80]!r}, which is no file: readers disagree on it")
        self._left, self._padding = size, -size % BLOCK
        mtime_ns = header.mtime * 10**9 if pax.mtime_ns is None else pax.mtime_ns
        return Member(
            name,
            normal_path(name, self._budgets),
            kind,
            header.mode & 0o7777,
            _owner(header.uid if pax.uid is None else pax.uid),
            _owner(header.gid if pax.gid is None else pax.gid),
            size,
            self._link(kind, text(raw_link)),
            header.device,
            min(mtime_ns, (1 << 63) - 1),
            self._xattrs(pax),
        )

    def _link(self, kind: MemberKind, link: str) -> str:
        if kind not in (MemberKind.SYMLINK, MemberKind.HARD_LINK):
            return ""
        if not link or len(link.encode("utf-8", "surrogateescape")) > self._budgets.link:
            raise HostileInputError(f"archive has a link without a target, or with one over {self._budgets.link} bytes")
        return link if kind is MemberKind.SYMLINK else normal_path(link, self._budgets)

    def _xattrs(self, pax: Pax) -> FrozenMap[str, bytes]:
        if sum(len(name) + len(value) for name, value in pax.xattrs.items()) > self._budgets.xattrs:
            raise HostileInputError(f"archive has a member with over {self._budgets.xattrs} bytes of attributes")
        return pax.xattrs


def _gnu_name(data: bytes) -> bytes:
    """A GNU long name: ends with a NUL (else GNU tar reads on into the padding), has none inside."""
    name = data.rstrip(b"\0")
    if not name or b"\0" in name or name == data:
        raise HostileInputError("archive has a GNU long name that is empty, has a NUL inside or does not end")
    return name


def _size(header: Header, pax: Pax) -> int:
    """The content's size; a PAX size must repeat the header's, or be one that ustar cannot hold."""
    if pax.size is None or pax.size == header.size:
        return header.size
    if pax.size > _MAX_USTAR_SIZE and header.size == 0:
        return pax.size
    raise HostileInputError(f"archive says {header.size} and {pax.size} for the size of one member")


def _owner(number: int) -> int:
    if number > _MAX_ID:
        raise HostileInputError(f"archive has the owner {number}, which no system has")
    return number


class _Blocks:
    """The archive in pieces of wanted sizes, counted against the budget."""

    def __init__(self, stream: ReadStream, budgets: Budgets) -> None:
        self._stream = stream
        self._limit = budgets.size
        self._buffer = b""
        self._at = 0
        self._total = 0

    def block(self) -> bytes | None:
        """The next 512 bytes; None when the archive ended right here."""
        if len(self._buffer) - self._at >= BLOCK:
            self._at += BLOCK
            return self._buffer[self._at - BLOCK : self._at]
        if self._at == len(self._buffer) and not self._fill():
            return None
        return self.exact(BLOCK)

    def exact(self, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        data = self._take(size)
        while len(data) < size:
            if not self._fill():
                raise HostileInputError("archive ends in the middle of a member")
            data += self._take(size - len(data))
        return data

    def some(self, most: int) -> bytes:
        """At least one byte and at most ``most``."""
        if self._at == len(self._buffer) and not self._fill():
            raise HostileInputError("archive ends in the middle of a file")
        return self._take(most)

    def only_zeros(self) -> None:
        """Reads to the end, where only padding may stand: another reader might go on behind the end marker."""
        while True:
            if self._take(len(self._buffer)).strip(b"\0"):
                raise HostileInputError("archive has data behind its end marker")
            if not self._fill():
                return

    def _take(self, size: int) -> bytes:
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        return data

    def _fill(self) -> bool:
        """Replaces the used buffer by the next bytes; false at the end."""
        if self._at < len(self._buffer):
            raise InternalError("the archive's buffer was refilled before it was used")
        self._buffer, self._at = self._stream.read(_FILL), 0
        self._total += len(self._buffer)
        if self._total > self._limit:
            raise HostileInputError(f"archive is larger than {self._limit} bytes")
        return bool(self._buffer)
