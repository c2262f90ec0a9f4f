"""OCI image layouts (image-spec image-layout.md), as a directory or as one tar.

Every name of an image is an entry of ``index.json`` under its complete name (``shop/api:dev``); names that several
platforms share point to an index over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lamella.canonical import canonical_json
from lamella.commit import commit_directory, commit_stream, disk_errors, replace_file
from lamella.errors import ConfigError, HostileInputError
from lamella.images.outputs.archive import ArchiveFile, blob_file, small_file
from lamella.images.outputs.folders import staged_folder
from lamella.images.stored import StoredImage
from lamella.images.variants import layer_variant
from lamella.layers.content import CHUNK
from lamella.oci.digest import digest_hex
from lamella.oci.manifest import Descriptor, Index, Manifest, parse_index
from lamella.store.images import REF_NAME
from lamella.store.store import Store
from lamella.values import dataclass, field, replace

__all__ = ["Layout", "is_layout", "make_layout", "write_layout"]

_VERSION_FILE, _INDEX_FILE = "oci-layout", "index.json"
_VERSION = canonical_json({"imageLayoutVersion": "1.0.0"})


@dataclass(slots=True)
class Layout:
    """A layout's content: blobs by path, and the entries of its index."""

    blobs: dict[str, ArchiveFile] = field(default_factory=dict)
    entries: tuple[Descriptor, ...] = ()

    def add(self, file: ArchiveFile) -> None:
        """Adds a blob once."""
        self.blobs.setdefault(file.path, file)

    def files(self) -> tuple[ArchiveFile, ...]:
        """All files, for an archive."""
        index = Index(self.entries).to_bytes()
        return (*self.blobs.values(), small_file(_VERSION_FILE, _VERSION), small_file(_INDEX_FILE, index))


def blob_path(digest: str) -> str:
    """Where a blob lies in a layout."""
    return f"blobs/{digest.partition(':')[0]}/{digest_hex(digest)}"


def make_layout(store: Store, images: Iterable[StoredImage], compressor: str = "") -> Layout:
    """The content of a layout with some images; with ``compressor`` their layers are compressed by it."""
    layout = Layout()
    named: dict[str, list[Descriptor]] = {}
    for image in images:
        manifest = _recompressed(store, image, compressor) if compressor else image.manifest
        descriptor = replace(image.descriptor, platform=image.platform)
        if manifest is image.manifest:
            layout.add(blob_file(store, blob_path(descriptor.digest), descriptor.digest, descriptor.size))
        else:
            descriptor = manifest.descriptor(image.platform)
            layout.add(small_file(blob_path(descriptor.digest), manifest.to_bytes()))
        for blob in (manifest.config, *manifest.layers):
            layout.add(blob_file(store, blob_path(blob.digest), blob.digest, blob.size))
        for name in image.names:
            named.setdefault(name, []).append(descriptor)
    layout.entries = tuple(_entry(layout, name, found) for name, found in sorted(named.items()))
    return layout


def _recompressed(store: Store, image: StoredImage, compressor: str) -> Manifest:
    """The manifest with each layer in another compressed form; the one we have when all are in it already."""
    layers = tuple(layer_variant(store, layer.diff_id, compressor) for layer in image.layers)
    return image.manifest if layers == image.manifest.layers else replace(image.manifest, layers=layers)


def _entry(layout: Layout, name: str, found: list[Descriptor]) -> Descriptor:
    """What a name points to: one manifest, or an index over the platforms of several."""
    distinct = tuple(dict.fromkeys(found))
    if len(distinct) > 1:
        platforms = [str(descriptor.platform) for descriptor in distinct]
        if len(set(platforms)) < len(platforms):
            raise ConfigError(
                f"two images of this build are both called {name} for {platforms[0]}",
                hint="name one image, or leave out -t",
            )
        index = Index(distinct)
        data = index.to_bytes()
        file = small_file("", data)
        layout.add(replace(file, path=blob_path(file.digest)))
        top = Descriptor(index.media_type, file.digest, file.size)
    else:
        top = distinct[0]
    return replace(top, annotations=top.annotations.with_items({REF_NAME: name}))


def is_layout(path: Path) -> bool:
    """Whether a directory is an image layout."""
    return (path / _VERSION_FILE).is_file() and (path / _INDEX_FILE).is_file()


def write_layout(layout: Layout, target: Path) -> None:
    """Writes a layout directory; into one that exists the images are added, under an index replaced at the end.

    So whoever reads it sees the old images or the old and the new ones, never half of one.
    """
    if is_layout(target):
        _write_blobs(layout, target)
        replace_file(target / _INDEX_FILE, _merged(layout, target), what=f"writing {target}")
        return
    with staged_folder(target) as staged:
        _write_blobs(layout, staged)
        documents = {_VERSION_FILE: _VERSION, _INDEX_FILE: Index(layout.entries).to_bytes()}
        if not commit_directory(staged, target, documents, what=f"layout {target}"):
            raise ConfigError(f"{target} appeared while it was written, and is not empty")


def _write_blobs(layout: Layout, root: Path) -> None:
    for path, file in sorted(layout.blobs.items()):
        place = root / path
        with disk_errors(f"writing {root}", root, needed=file.size):
            place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_file() and place.stat().st_size == file.size:
            continue
        _write_blob(file, place)


def _write_blob(file: ArchiveFile, place: Path) -> None:
    with file.open() as stream:
        chunks: Iterator[bytes] = iter(lambda: stream.read(CHUNK), b"")
        commit_stream(
            chunks, lambda _: place, place.parent, digest=file.digest, size=file.size, what=f"writing {place.parent}"
        )


def _merged(layout: Layout, target: Path) -> bytes:
    """The index of a layout that exists, with our names in it."""
    try:
        there = parse_index((target / _INDEX_FILE).read_bytes()).manifests
    except HostileInputError as error:
        raise ConfigError(f"{target} is no image layout: {error.message}", hint="name another folder") from error
    names = {entry.annotations[REF_NAME] for entry in layout.entries}
    kept = tuple(entry for entry in there if entry.annotations.get(REF_NAME) not in names)
    return Index((*kept, *layout.entries)).to_bytes()
