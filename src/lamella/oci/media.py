"""Media types of the OCI image spec (media-types.md) and Docker's equal ones."""

from __future__ import annotations

__all__ = [
    "DOCKER_CONFIG",
    "DOCKER_INDEX",
    "DOCKER_LAYER_GZIP",
    "DOCKER_MANIFEST",
    "IMAGE_CONFIG",
    "IMAGE_INDEX",
    "IMAGE_MANIFEST",
    "LAYER_GZIP",
    "LAYER_TAR",
    "LAYER_ZSTD",
    "compression_of",
    "is_index",
    "is_layer",
    "is_manifest",
]

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

_COMPRESSION = {
    LAYER_TAR: "none",
    LAYER_GZIP: "gzip",
    LAYER_ZSTD: "zstd",
    DOCKER_LAYER_GZIP: "gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "none",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
}


def is_manifest(media_type: str) -> bool:
    """Whether the type names an image manifest."""
    return media_type in (IMAGE_MANIFEST, DOCKER_MANIFEST)


def is_index(media_type: str) -> bool:
    """Whether the type names an image index."""
    return media_type in (IMAGE_INDEX, DOCKER_INDEX)


def is_layer(media_type: str) -> bool:
    """Whether the type names a layer that can be read here. Foreign layers are not (CVE-2020-15157)."""
    return media_type in _COMPRESSION


def compression_of(media_type: str) -> str:
    """``none``, ``gzip`` or ``zstd``; the type must satisfy :func:`is_layer`."""
    return _COMPRESSION[media_type]
