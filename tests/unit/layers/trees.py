"""Small trees and file sets for the tests of layers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from lamella.canonical import FrozenMap, digest_bytes
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.layers.content import bytes_content
from lamella.layers.tar import write_layer


def file(path: str, data: bytes = b"", mode: int = 0o644, uid: int = 0, gid: int = 0, **xattrs: str) -> Entry:
    """A regular file's entry; ``xattrs`` are hex, with ``__`` for the dot of the name."""
    attributes = FrozenMap({name.replace("__", "."): value for name, value in xattrs.items()})
    return Entry(path, EntryType.FILE, mode, uid, gid, len(data), digest_bytes(data), xattrs=attributes)


def directory(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    return Entry(path, EntryType.DIRECTORY, mode, uid, gid)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, EntryType.SYMLINK, 0o777, link=target)


def layer_bytes(entries: list[Entry], files: Mapping[str, bytes] | None = None, **options: object) -> bytes:
    """The archive of some entries; a file without bytes given is empty."""
    known = {entry.path: b"" for entry in entries if entry.type is EntryType.FILE} | dict(files or {})
    out = io.BytesIO()
    write_layer(FileSet.of(entries), bytes_content(known), out, **options)  # type: ignore[arg-type]
    return out.getvalue()


def stdlib_members(archive: bytes) -> list[tarfile.TarInfo]:
    """What an independent reader sees in an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
        return opened.getmembers()


def make_tree(root: Path, files: Mapping[str, bytes | str | None]) -> Path:
    """Files (bytes), symlinks (str) and empty directories (None) below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            place.mkdir(exist_ok=True)
        elif isinstance(content, str):
            place.symlink_to(content)
        else:
            place.write_bytes(content)
    return root
