"""The stored form of a listing: one file per project in the store's ``scan`` folder.

    magic · length of head (8 bytes) · head (JSON) · texts and columns, back to back · sha256 of all before

It is a cache of this machine: byte order and width are the machine's own, and the head says so. A file that is torn,
of another format or another machine's reads as absent; nothing but time is lost.
"""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lamella.commit import replace_file
from lamella.sources.listing import Columns, Listing
from lamella.values import dataclass, field

__all__ = ["Answer", "Scan", "load_scan", "save_scan"]

Answer = str | list[str]
"""The digest of a selection, or its paths."""

_MAGIC = b"lamella-scan-2\n"
_LAYOUT = f"{sys.byteorder}-{array('I').itemsize}-{array('Q').itemsize}"
_TAIL = 32
_TEXT = ("utf-8", "surrogateescape")


@dataclass(slots=True)
class Scan:
    """A listing with what it depends on.

    ``settings`` is a digest of ignore rules and declared globs; ``witnesses``, ``repositories`` and ``git`` are those
    of ``sources.census.Census``. ``answers`` remembers what was asked of exactly this state.
    """

    listing: Listing
    settings: str
    git: str = ""
    repositories: list[str] = field(default_factory=list)
    witnesses: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)


def save_scan(path: Path, scan: Scan) -> None:
    """Replaces the stored scan. Raises ResourceError or ConfigError as ``lamella.commit`` does."""
    listing = scan.listing
    texts = {
        "directories": "\0".join(listing.directories),
        "names": "\0".join(listing.names),
        "trees": "\0".join(listing.trees),
    }
    pieces = [
        *(text.encode(*_TEXT) for text in texts.values()),
        *(part.tobytes() for part in (*listing.marks.parts, listing.first, *listing.stats.parts)),
        bytes(listing.racy),
        bytes(listing.flags),
        bytes(listing.digests),
    ]
    head = {
        "layout": _LAYOUT,
        "lengths": [len(piece) for piece in pieces],
        "count": len(listing.names),
        "settings": scan.settings,
        "git": scan.git,
        "repositories": scan.repositories,
        "witnesses": scan.witnesses,
        "answers": scan.answers,
        "links": {str(file): target for file, target in listing.links.items()},
    }
    encoded = json.dumps(head, ensure_ascii=True).encode()
    data = b"".join([_MAGIC, len(encoded).to_bytes(8, "little"), encoded, *pieces])
    replace_file(path, data + hashlib.sha256(data).digest(), what="storing the scan of the project")


def load_scan(path: Path) -> Scan | None:
    """The stored scan; None when there is none that can be used."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return None
    view = memoryview(data)
    if not data.startswith(_MAGIC) or hashlib.sha256(view[:-_TAIL]).digest() != view[-_TAIL:]:
        return None
    start = len(_MAGIC) + 8
    end = start + int.from_bytes(view[len(_MAGIC) : start], "little")
    head = json.loads(bytes(view[start:end]))
    return _decode(head, view[end:-_TAIL]) if head["layout"] == _LAYOUT else None


def _decode(head: dict[str, Any], body: memoryview) -> Scan:
    pieces = _cut(body, head["lengths"])
    directories, names, trees = (bytes(next(pieces)).decode(*_TEXT).split("\0") for _ in range(3))
    marks = _columns(pieces)
    first = array("I", bytes(next(pieces)))
    stats = _columns(pieces)
    listing = Listing(
        directories=directories,
        marks=marks,
        first=first,
        names=names if head["count"] else [],
        stats=stats,
        racy=bytearray(next(pieces)),
        flags=bytearray(next(pieces)),
        digests=bytearray(next(pieces)),
        links={int(file): target for file, target in head["links"].items()},
        trees=trees,
    )
    return Scan(
        listing,
        head["settings"],
        head["git"],
        head["repositories"],
        {path: tuple(state) for path, state in head["witnesses"].items()},
        head["answers"],
    )


def _cut(body: memoryview, lengths: list[int]) -> Iterator[memoryview]:
    at = 0
    for length in lengths:
        yield body[at : at + length]
        at += length


def _columns(pieces: Iterator[memoryview]) -> Columns:
    columns = Columns()
    for part in columns.parts:
        part.frombytes(next(pieces))
    return columns
