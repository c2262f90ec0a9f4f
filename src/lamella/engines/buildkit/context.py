"""The folder that a builder is sent: sources, products, inline files, generated scripts.

BuildKit's transfer takes a file of the same size, time and mode for the one that it has, whatever its bytes
(MECHANICS A2, measured). So every time here follows from the content, and modes are those of the file sets.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from lamella.canonical import digest_bytes
from lamella.commit import disk_errors
from lamella.engines.executor.products import Products
from lamella.engines.work import Work
from lamella.errors import ConfigError, IntegrityError
from lamella.graph.op import InlineOp, SourceOp
from lamella.host.rooted import Rooted
from lamella.layers.content import bytes_content
from lamella.layers.decompress import open_decompressed
from lamella.oci import media
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor
from lamella.planning.walk import inline_fileset
from lamella.sources.staging import Times, stable_time, stage_tree
from lamella.store.store import Store

__all__ = ["Context"]

_CHUNK = 1 << 20


class Context:
    """One context folder while it is filled. Paths that are handed out are relative to it."""

    def __init__(self, store: Store, products: Products, folder: Path) -> None:
        self._store = store
        self._products = products
        self._folder = folder
        folder.mkdir(mode=0o755)

    def add_input(self, work: Work, vertex: str) -> str:
        """The product of an input vertex of ``work``, as a folder. Raises ConfigError for sources that changed."""
        place = f"inputs/{short_digest(vertex)}"
        target = self._folder / place
        if target.exists():
            return place
        op = work.request.definition[vertex].op
        if isinstance(op, SourceOp):
            self._sources(work, op, work.results[vertex].tree, target)
        elif isinstance(op, InlineOp):
            self._inline(op, target)
        else:
            self._product(work, vertex, target)
        return place

    def _sources(self, work: Work, op: SourceOp, digest: str, target: Path) -> None:
        fileset = work.resolver.source_fileset(op)
        if not work.resolver.check_source(fileset, op, digest):
            raise ConfigError(
                f"files of {work.vertex.info.name} changed while they were read", hint="run the build again"
            )
        root = self._products.source_root(op)
        stage_tree(fileset, root / op.strip if op.strip else root, target, times=Times())

    def _product(self, work: Work, vertex: str, target: Path) -> None:
        found = self._store.snapshots.find(work.results[vertex].tree)
        if found is None:
            raise IntegrityError(
                f"the product of {work.request.definition[vertex].info.name} is not in the store any more",
                hint="run: lamella cache repair, then build again",
            )
        stage_tree(found.fileset(), found.path, target, times=Times())

    def _inline(self, op: InlineOp, target: Path) -> None:
        content = bytes_content({file.path: file.data for file in op.files})
        target.mkdir(mode=0o755, parents=True)
        for entry in inline_fileset(op):
            path = target / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry.link:
                os.symlink(entry.link, path)
            elif entry.digest:
                self._file(path, b"".join(content(entry)), entry.mode)
            else:
                path.mkdir(exist_ok=True)
        _settle(target)

    def add_files(self, files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
        """Files by their relative path."""
        for name, data in sorted(files.items()):
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file(path, data, mode)

    def _file(self, path: Path, data: bytes, mode: int) -> None:
        with disk_errors("staging what a builder is sent", path, needed=len(data)):
            path.write_bytes(data)
            path.chmod(mode)
        moment = stable_time(digest_bytes(data))
        os.utime(path, ns=(moment, moment))

    def reserve(self, place: str, digest: str) -> Path | None:
        """Where to write a large file that ``digest`` names, or None when it is there; then call ``settle``."""
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return None if path.exists() else path

    def settle(self, place: str, digest: str) -> None:
        """Gives a written file its mode and the time that follows from its content."""
        path = self._folder / place
        path.chmod(0o644)
        moment = stable_time(digest)
        os.utime(path, ns=(moment, moment))

    def add_blob(self, place: str, blob: Descriptor) -> None:
        """A layer's blob of the store as an archive that ADD unpacks: before BuildKit 0.11 it knows no zstd."""
        path = self.reserve(place, blob.digest)
        if path is None:
            return
        with self._store.blobs.open(blob.digest) as stored, disk_errors("staging a base", path), path.open("wb") as out:
            source = open_decompressed(stored, blob.media_type) if blob.media_type == media.LAYER_ZSTD else stored
            while data := source.read(_CHUNK):
                out.write(data)
        self.settle(place, blob.digest)

    def finish(self, folder: Path) -> None:
        """Directories that grew while it was filled get one constant mode and time, and all of it its real name."""
        for path in (
            self._folder,
            *self._folder.glob("inputs"),
            *self._folder.glob("bases"),
            *self._folder.glob("bases/*"),
        ):
            if path.is_dir():
                path.chmod(0o755)
                os.utime(path, ns=(stable_time(""), stable_time("")))
        self._folder.rename(folder)
        self._folder = folder


def _settle(target: Path) -> None:
    """Modes of directories, and times of directories and links, of a tree that was just written."""
    with Rooted(target, links=False) as rooted:
        for item in reversed(list(rooted.walk())):
            if stat.S_ISDIR(item.stat.st_mode):
                rooted.chmod(item.path, 0o755)
            if not stat.S_ISREG(item.stat.st_mode):
                link = os.readlink(item.name, dir_fd=item.parent) if stat.S_ISLNK(item.stat.st_mode) else item.path
                rooted.utime(item.path, stable_time(link))
