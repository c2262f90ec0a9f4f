"""Reads back what a builder exported. Its archives are foreign input: read forward, within budgets, nothing followed.

A product becomes a snapshot whose file set, modes and times are those that the embedded engine would have given it. A
root file system is compared with the chain below it, and only the difference is kept, written by our own layer writer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lamella.canonical import FrozenMap, canonical_json
from lamella.engines.buildkit.trees import Tree, check_tree, difference, without_stubs
from lamella.engines.executor.layers import LayerWriter
from lamella.engines.local.copying import settle_times
from lamella.engines.local.packages import PACKAGES_FORMAT, apk_packages, dpkg_packages, rpm_packages
from lamella.errors import HostileInputError, IntegrityError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.record import LayerResult
from lamella.host.rooted import Rooted
from lamella.layers.attributes import kept_attributes
from lamella.layers.policy import MERGED_POLICY, UnpackMode
from lamella.layers.reader import LayerReader, Member, MemberKind
from lamella.layers.snapshot import scan_tree
from lamella.layers.unpack import unpack_layer
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["ImportedLayer", "ImportedProduct", "import_product", "import_rootfs", "read_packages"]

_EVIDENCE_LIMIT = 256 << 20
_DATABASE_LIMIT = 64 << 20
_IN_MEMORY = 4 << 20
"""Bytes of a file that are kept until it is known whether it changed; a larger one is spooled meanwhile."""

_CHUNK = 1 << 20

_TYPES = {
    MemberKind.FILE: EntryType.FILE,
    MemberKind.SYMLINK: EntryType.SYMLINK,
    MemberKind.DIRECTORY: EntryType.DIRECTORY,
    MemberKind.FIFO: EntryType.FIFO,
    MemberKind.CHAR_DEVICE: EntryType.CHAR_DEVICE,
    MemberKind.BLOCK_DEVICE: EntryType.BLOCK_DEVICE,
}


@dataclass(frozen=True, slots=True)
class ImportedProduct:
    """A product in the store by its digest, evidence by name, and absolute paths below binds that were written."""

    fileset: FileSet
    evidence: FrozenMap[str, bytes]
    wrote: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedLayer:
    """What a step changed in its root file system, as a layer of the store."""

    fileset: FileSet
    layer: LayerResult
    size: int
    warnings: tuple[str, ...] = ()


def import_product(store: Store, archive: Path, evidence: Mapping[str, str]) -> ImportedProduct:
    """Puts the product of an export into the store; ``evidence`` maps names to paths in the archive.

    Raises HostileInputError for an archive that no export of ours can be, ResourceError when the disk is full.
    """
    with store.snapshots.stage() as staged:
        whole = staged.folder / "export"
        whole.mkdir(mode=0o700)
        with archive.open("rb") as stream:
            unpack_layer(stream, whole, mode=UnpackMode.MERGED, policy=MERGED_POLICY)
        captured, wrote = _evidence(whole, evidence)
        product = whole / "product"
        if product.is_symlink() or not product.is_dir():
            raise HostileInputError("the builder's export of a step has no product")
        os.rmdir(staged.path)
        os.rename(product, staged.path)
        staged.path.chmod(0o755)
        fileset = scan_tree(staged.path)
        _settle_modes(staged.path, fileset)
        settle_times(str(staged.path), fileset)
        staged.commit(store.blobs.put_bytes(fileset.to_bytes()), fileset)
    return ImportedProduct(fileset, captured, wrote)


def _evidence(whole: Path, names: Mapping[str, str]) -> tuple[FrozenMap[str, bytes], tuple[str, ...]]:
    captured: dict[str, bytes] = {}
    with Rooted(whole, links=False) as root:
        for name, path in names.items():
            with suppress(FileNotFoundError):
                captured[name] = root.read_bytes(path, limit=_EVIDENCE_LIMIT)
        wrote = b""
        with suppress(FileNotFoundError):
            wrote = root.read_bytes("wrote", limit=_EVIDENCE_LIMIT)
    paths = {path.decode("utf-8", "surrogateescape") for path in wrote.split(b"\0") if path}
    return FrozenMap(captured), tuple(sorted(paths))


def _settle_modes(root: Path, fileset: FileSet) -> None:
    """The modes that the file set states, on disk too: a step of the embedded engine may see this tree."""
    with Rooted(root, links=False) as rooted:
        for entry in fileset:
            if entry.type in (EntryType.FILE, EntryType.DIRECTORY):
                rooted.chmod(entry.path, entry.mode)


def import_rootfs(
    store: Store, archive: Path, below: Tree, stubs: Iterable[str], compressor: str = "gzip"
) -> ImportedLayer:
    """Writes the layer that turns the chain ``below`` into the exported tree; see ``trees.without_stubs``.

    Raises HostileInputError for an archive that is no tree, IntegrityError when it changes while it is read.
    """
    with store.snapshots.stage() as staged:
        spool = staged.folder / "spool"
        spool.mkdir(mode=0o700)
        with archive.open("rb") as stream:
            reading = _Reading(below, spool)
            reading.run(stream)
        tree = without_stubs(reading.tree, below, stubs)
        check_tree(tree)
        fileset = difference(below, tree)
        with archive.open("rb") as stream:
            reading.keep(fileset, stream)
        result, size = LayerWriter(store).write(fileset, _spooled(spool), reading.links(fileset), compressor)
    return ImportedLayer(fileset, result, size, tuple(reading.warnings))


class _Reading:
    """One pass over a whole tree: every entry, and the bytes of those files that the chain below has not."""

    def __init__(self, below: Tree, spool: Path) -> None:
        self.tree: dict[str, Entry] = {}
        self.warnings: list[str] = []
        self._below = below
        self._spool = spool
        self._linked: dict[str, list[str]] = {}

    def run(self, stream: BinaryIO) -> None:
        reader = LayerReader(stream)
        for member in reader:
            if not member.path:
                continue
            if member.kind is MemberKind.HARD_LINK:
                self._hard_link(member)
            else:
                self.tree[member.path] = self._entry(member, reader)

    def _hard_link(self, member: Member) -> None:
        first = self.tree.get(member.link)
        if first is None or first.type is EntryType.DIRECTORY:
            raise HostileInputError(f"the builder's archive has a hard link to {member.link[:80]!r}, which is no file")
        self.tree[member.path] = replace(first, path=member.path)
        self._linked.setdefault(member.link, [member.link]).append(member.path)

    def _entry(self, member: Member, reader: LayerReader) -> Entry:
        mode = 0o777 if member.kind is MemberKind.SYMLINK else member.mode
        entry = Entry(member.path, _TYPES[member.kind], mode, member.uid, member.gid)
        if member.kind is MemberKind.SYMLINK:
            return replace(entry, link=member.link)
        if member.kind in (MemberKind.CHAR_DEVICE, MemberKind.BLOCK_DEVICE):
            return replace(entry, device=member.device)
        kept, warnings = kept_attributes(member.path, member.xattrs, capabilities=True)
        self.warnings += warnings
        if member.kind is MemberKind.FILE:
            return replace(entry, size=member.size, digest=self._content(member, reader), xattrs=kept)
        return replace(entry, xattrs=kept)

    def _content(self, member: Member, reader: LayerReader) -> str:
        """The digest of a file, whose bytes are spooled unless the chain below has them at the same path."""
        before = self._below.get(member.path)
        may_be_known = before is not None and before.size == member.size and member.size <= _IN_MEMORY
        if may_be_known:
            data = b"".join(reader.chunks())
            digest = hashlib.sha256(data).hexdigest()
            if before is None or before.digest != f"sha256:{digest}":
                (self._spool / digest).write_bytes(data)
            return f"sha256:{digest}"
        running = hashlib.sha256()
        fresh = self._spool / "incoming"
        with fresh.open("wb") as out:
            for chunk in reader.chunks():
                running.update(chunk)
                out.write(chunk)
        digest = running.hexdigest()
        fresh.rename(self._spool / digest)
        return f"sha256:{digest}"

    def keep(self, fileset: FileSet, stream: BinaryIO) -> None:
        """Spools what the chain below has too, but under another name, mode or owner; takes a second pass."""
        wanted = {entry.digest for entry in fileset if entry.type is EntryType.FILE}
        missing = {digest for digest in wanted if not self._place(digest).exists()}
        if not missing:
            return
        reader = LayerReader(stream)
        for member in reader:
            entry = self.tree.get(member.path)
            if member.kind is MemberKind.FILE and entry is not None and entry.digest in missing:
                missing.discard(entry.digest)
                with self._place(entry.digest).open("wb") as out:
                    for chunk in reader.chunks():
                        out.write(chunk)

    def _place(self, digest: str) -> Path:
        return self._spool / digest.partition(":")[2]

    def links(self, fileset: FileSet) -> tuple[tuple[str, ...], ...]:
        """Groups of changed paths that are one file."""
        groups = (tuple(sorted(path for path in paths if fileset.get(path))) for paths in self._linked.values())
        return tuple(sorted(group for group in groups if len(group) > 1))


class _Spooled:
    """``Content`` from the spool."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    def __call__(self, entry: Entry) -> Iterator[bytes]:
        try:
            with (self._spool / entry.digest.partition(":")[2]).open("rb") as file:
                while data := file.read(_CHUNK):
                    yield data
        except FileNotFoundError as error:
            raise IntegrityError(f"{entry.path} was not kept while the builder's export was read") from error


def _spooled(spool: Path) -> _Spooled:
    return _Spooled(spool)


def read_packages(archive: Path) -> bytes:
    """The recorded package set of an export of databases, in the bytes that the embedded engine records.

    Raises HostileInputError for an archive that cannot be read or a database that is too large.
    """
    packages: dict[str, str] = {}
    with archive.open("rb") as stream:
        reader = LayerReader(stream)
        for member in reader:
            if member.kind is not MemberKind.FILE:
                continue
            if member.size > _DATABASE_LIMIT:
                raise HostileInputError(f"the builder's export has a package database of {member.size} bytes")
            packages |= _of_database(member.path, b"".join(reader.chunks()).decode("utf-8", "replace"))
    return canonical_json({"format": PACKAGES_FORMAT, "packages": packages})


def _of_database(path: str, text: str) -> dict[str, str]:
    name = path.removeprefix("packages/")
    if name == "dpkg-status" or name.startswith("dpkg-status.d/"):
        return {f"dpkg:{package}": version for package, version in dpkg_packages(text).items()}
    if name == "apk-installed":
        return {f"apk:{package}": version for package, version in apk_packages(text).items()}
    if name == "rpm":
        return {f"rpm:{package}": version for package, version in rpm_packages(text).items()}
    return {}
