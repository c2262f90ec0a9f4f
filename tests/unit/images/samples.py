"""Images made by hand in a store, from archives."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from lamella.canonical import digest_bytes
from lamella.images.stored import StoredImage
from lamella.layers.compress import compress_layer, default_level
from lamella.oci import media
from lamella.oci.config import History, ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Manifest
from lamella.oci.platform import Platform
from lamella.store import Store
from tests.unit.layers.archives import tar_bytes, tar_dir, tar_file, tar_link, tar_symlink

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")

BASE = tar_bytes([
    tar_dir("etc"),
    tar_file("etc/motd", b"base\n"),
    tar_file("etc/shadow", b"secret\n", 0o000),
    tar_dir("root", 0o700),
    tar_file("root/.profile", b"profile\n"),
    tar_dir("opt", uid=7, gid=8),
    tar_file("opt/one", b"same\n", 0o755),
    tar_link("opt/one", "opt/two", 0o755),
    tar_dir("old"),
    tar_file("old/gone", b"gone\n"),
    tar_dir("sealed", 0o555),
])  # fmt: skip
"""A lower layer with things that are awkward: a closed directory, an unreadable file, a hard link, owners."""

APP = tar_bytes([
    tar_dir("etc"),
    tar_file("etc/motd", b"app\n"),
    tar_file(".wh.old"),
    tar_dir("sealed", 0o555),
    tar_file("sealed/new", b"new\n"),
    tar_symlink("etc/motd", "motd"),
])  # fmt: skip
"""An upper layer: replaces, removes, writes into the closed directory."""


def put_layer(store: Store, archive: bytes, compressor: str = "gzip") -> tuple[Descriptor, str]:
    """A layer's blob with its variant: (descriptor, diff_id)."""
    with store.blobs.writer() as out:
        made = compress_layer(io.BytesIO(archive), out, compressor)
        out.commit()
    store.variants.put(made.diff_id, compressor, default_level(compressor), made.descriptor)
    return made.descriptor, made.diff_id


def put_image(
    store: Store,
    name: str,
    layers: Sequence[bytes] = (BASE, APP),
    *,
    compressor: str = "gzip",
    runtime: RuntimeConfig = RuntimeConfig(),  # noqa: B008 - a frozen value
    platform: Platform = AMD64,
) -> StoredImage:
    """A tagged image of the store."""
    blobs = [put_layer(store, archive, compressor) for archive in layers]
    history = tuple(History("test") for _ in blobs)
    config = ImageConfig(platform, runtime, tuple(diff_id for _, diff_id in blobs), history)
    data = config.to_bytes()
    store.blobs.put_bytes(data)
    described = Descriptor(media.IMAGE_CONFIG, digest_bytes(data), len(data))
    manifest = Manifest(described, tuple(descriptor for descriptor, _ in blobs))
    store.blobs.put_bytes(manifest.to_bytes())
    descriptor = manifest.descriptor(platform)
    store.images.tag(name, descriptor)
    return StoredImage((name,), descriptor, manifest, config)


def renamed(image: StoredImage, *names: str) -> StoredImage:
    return replace(image, names=names)
