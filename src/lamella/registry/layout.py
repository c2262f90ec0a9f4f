"""Images on disk: OCI layouts (image-spec image-layout.md), the same in a tar, and archives of ``docker save``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, HostileInputError
from lamella.oci import media
from lamella.oci.config import parse_config
from lamella.oci.digest import check_digest
from lamella.oci.manifest import MANIFEST_LIMIT, Descriptor, Index, Manifest, parse_index
from lamella.oci.platform import Platform
from lamella.registry.documents import (
    ATTESTATION,
    CONFIG_LIMIT,
    Document,
    ImageSource,
    Resolved,
    Sink,
    choose,
    config_of,
    read_document,
    resolved,
    verified,
)
from lamella.registry.tar_index import TarIndex

__all__ = ["LOCAL_SCHEMES", "open_local"]

LOCAL_SCHEMES = ("oci", "oci-archive", "docker-archive")
"""``SCHEME:PATH`` in a project file; for the first two ``@DIGEST`` or ``:TAG`` may follow the path."""

_NAME = "org.opencontainers.image.ref.name"
_CHUNK = 1 << 20


class _Files(Protocol):
    """The files of a layout, in a directory or a tar."""

    def read(self, name: str, limit: int) -> bytes:
        """A small file."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """A file's bytes."""


class _Directory:
    """A layout as a directory. Symlinks in it are the user's own and followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str, limit: int) -> bytes:
        data = b"".join(self.chunks(name, limit + 1))
        if len(data) > limit:
            raise HostileInputError(f"{self._path / name} is larger than {limit} bytes")
        return data

    def chunks(self, name: str, most: int = 1 << 62) -> Iterator[bytes]:
        try:
            with open(self._path / name, "rb", buffering=0) as file:
                while most > 0 and (data := file.read(min(_CHUNK, most))):
                    most -= len(data)
                    yield data
        except OSError as error:
            raise ConfigError(
                f"{self._path / name} cannot be read: {(error.strerror or str(error)).lower()}",
                hint=f"{self._path} must be a whole OCI image layout",
            ) from error


def open_local(location: str, root: Path) -> ImageSource | None:
    """The image of a ``SCHEME:PATH`` location, relative to ``root``; None when it is a registry's reference.

    Raises ConfigError and HostileInputError.
    """
    scheme, _, rest = location.partition(":")
    if scheme not in LOCAL_SCHEMES or not rest:
        return None
    if scheme == "docker-archive":
        path = _existing(root / rest, location)
        return _DockerArchive(TarIndex(path), str(location))
    path, wanted = _split(root, rest)
    if scheme == "oci-archive" and path.is_file():
        return _LayoutImage(TarIndex(path), location, wanted)
    if not (path / "index.json").is_file():
        raise ConfigError(f"{location}: {path} is not an OCI image layout", hint="it has no index.json")
    return _LayoutImage(_Directory(path), location, wanted)


def _existing(path: Path, location: str) -> Path:
    if not os.path.lexists(path):
        raise ConfigError(f"{location}: there is no {path}")
    return path


def _split(root: Path, text: str) -> tuple[Path, str]:
    """Path and ``@DIGEST`` or ``:TAG``; the longest path that exists wins."""
    if (root / text).exists():
        return root / text, ""
    path, at, digest = text.rpartition("@")
    if at and (root / path).exists():
        return root / path, check_digest(digest)
    path, colon, tag = text.rpartition(":")
    if colon and (root / path).exists():
        return root / path, tag
    raise ConfigError(f"there is no {root / text}")


class _LayoutImage:
    """One image of a layout; ``wanted`` is a digest, a tag or empty for the only one."""

    def __init__(self, files: _Files, location: str, wanted: str) -> None:
        self._files = files
        self._where = location
        index = parse_index(files.read("index.json", MANIFEST_LIMIT))
        self._root = self._entry(index, wanted)

    def platforms(self) -> dict[Platform, str]:
        """See :class:`lamella.registry.documents.ImageSource`."""
        document = self._root
        if document.index is None:
            return {parse_config(self._config_data(document)).platform: document.descriptor.digest}
        entries = [entry for entry in document.index.manifests if ATTESTATION not in entry.annotations]
        return {entry.platform: entry.digest for entry in entries if entry.platform}

    def resolve(self, platform: Platform) -> Resolved:
        """See :class:`lamella.registry.documents.ImageSource`."""
        document = self._root
        if document.index is not None:
            document = self._document(choose(document.index, platform, self._where))
        return resolved(self._root.descriptor, document, self._config_data(document), platform, self._where)

    def fetch(self, descriptor: Descriptor, sink: Sink) -> None:
        """See :class:`lamella.registry.documents.ImageSource`."""
        chunks = self._files.chunks(_blob(descriptor.digest))
        sink(descriptor.digest, descriptor.size, verified(chunks, descriptor, self._where))

    def _entry(self, index: Index, wanted: str) -> Document:
        """What the layout's entry point names; several entries without a choice are one index of platforms."""
        entries = index.manifests
        if wanted:
            entries = tuple(e for e in entries if wanted in (e.digest, e.annotations.get(_NAME)))
        if len(entries) == 1:
            return self._document(entries[0])
        names = sorted({entry.annotations.get(_NAME, entry.digest) for entry in index.manifests})
        if entries and not wanted and all(entry.platform for entry in entries) and _distinct(entries):
            data = Index(entries).to_bytes()
            return read_document(data, self._where)
        raise ConfigError(
            f"{self._where} holds {'no such image' if not entries else 'several images'}",
            hint=f"name one with :NAME or @DIGEST; it has: {', '.join(names) or 'none'}",
        )

    def _document(self, descriptor: Descriptor) -> Document:
        data = self._files.read(_blob(descriptor.digest), MANIFEST_LIMIT)
        return read_document(data, self._where, expected=descriptor)

    def _config_data(self, document: Document) -> bytes:
        descriptor = config_of(document, self._where)
        chunks = self._files.chunks(_blob(descriptor.digest))
        return b"".join(verified(chunks, descriptor, self._where))


def _distinct(entries: tuple[Descriptor, ...]) -> bool:
    return len({str(entry.platform) for entry in entries}) == len(entries)


def _blob(digest: str) -> str:
    return f"blobs/{check_digest(digest).replace(':', '/')}"


class _DockerArchive:
    """The one image of an archive of ``docker save``: its layers get descriptors here, and so a manifest of ours."""

    def __init__(self, files: TarIndex, location: str) -> None:
        self._files = files
        self._where = location
        entry = self._manifest_entry()
        self._config_data = files.read(str(entry.get("Config", "")), CONFIG_LIMIT)
        config = Descriptor(media.IMAGE_CONFIG, _digest_of(iter([self._config_data])), len(self._config_data))
        self._names: dict[str, str] = {}
        layers = []
        for name in entry.get("Layers") or ():
            layers.append(self._layer(str(name)))
            self._names[layers[-1].digest] = str(name)
        manifest = Manifest(config, tuple(layers))
        self._document = Document(manifest.descriptor(), manifest.to_bytes(), manifest=manifest)

    def platforms(self) -> dict[Platform, str]:
        """See :class:`lamella.registry.documents.ImageSource`."""
        return {parse_config(self._config_data).platform: self._document.descriptor.digest}

    def resolve(self, platform: Platform) -> Resolved:
        """See :class:`lamella.registry.documents.ImageSource`."""
        return resolved(self._document.descriptor, self._document, self._config_data, platform, self._where)

    def fetch(self, descriptor: Descriptor, sink: Sink) -> None:
        """See :class:`lamella.registry.documents.ImageSource`."""
        name = self._names.get(descriptor.digest)
        if name is None:
            raise HostileInputError(f"{self._where} has no layer {descriptor.digest}")
        sink(descriptor.digest, descriptor.size, verified(self._files.chunks(name), descriptor, self._where))

    def _manifest_entry(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._files.read("manifest.json", MANIFEST_LIMIT))
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise HostileInputError(f"{self._where}: manifest.json is not a list of images")
        except (ValueError, RecursionError) as error:
            raise HostileInputError(f"{self._where}: manifest.json is not JSON") from error
        if len(entries) != 1:
            raise ConfigError(f"{self._where} holds {len(entries)} images", hint="save one image into the archive")
        found: dict[str, Any] = entries[0]
        return found

    def _layer(self, name: str) -> Descriptor:
        first = next(self._files.chunks(name), b"")
        kind = media.LAYER_TAR
        if first.startswith(b"\x1f\x8b"):
            kind = media.LAYER_GZIP
        elif first.startswith(b"\x28\xb5\x2f\xfd"):
            kind = media.LAYER_ZSTD
        return Descriptor(kind, _digest_of(self._files.chunks(name)), self._files.size(name), FrozenMap())


def _digest_of(chunks: Iterator[bytes]) -> str:
    running = hashlib.sha256()
    for data in chunks:
        running.update(data)
    return f"sha256:{running.hexdigest()}"
