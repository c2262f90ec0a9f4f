"""Releases as they stand in a repository: indexes with untagged children, SBOMs that refer to them, shared layers."""

from __future__ import annotations

import gzip
import io
import time
from dataclasses import dataclass

from lamella.canonical import FrozenMap, digest_bytes
from lamella.images.catalog import CREATED
from lamella.oci import media
from lamella.oci.config import ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Index, Manifest
from lamella.oci.platform import Platform
from lamella.registry.remote import RemoteRepository

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64", "v8")
DAY = 86400


@dataclass(frozen=True, slots=True)
class Release:
    """Digests of what was pushed."""

    index: str
    children: tuple[str, ...]
    referrers: tuple[str, ...]


def push_release(
    repository: RemoteRepository, *tags: str, text: str, day: int | None = None, platforms: tuple[Platform, ...] = ()
) -> Release:
    """An index of two platforms on one shared layer, each with a layer of its own, and an SBOM for the index.

    ``day`` is when the SBOM says that it was published; without one there is no SBOM.
    """
    children = []
    for platform in platforms or (AMD64, ARM64):
        layers = (_layer(b"shared base"), _layer(f"{text} {platform}".encode()))
        config = ImageConfig(platform, RuntimeConfig(), tuple(digest_bytes(gzip.decompress(raw)) for raw in layers))
        manifest = Manifest(
            _push(repository, config.to_bytes(), media.IMAGE_CONFIG),
            tuple(_push(repository, raw, media.LAYER_GZIP) for raw in layers),
        )
        repository.push_manifest(manifest.to_bytes(), media.IMAGE_MANIFEST)
        children.append(manifest.descriptor(platform))
    index = Index(tuple(children))
    pushed = repository.push_manifest(index.to_bytes(), media.IMAGE_INDEX, tags=tags)
    referrers = () if day is None else (push_sbom(repository, pushed, day),)
    return Release(pushed.digest, tuple(child.digest for child in children), referrers)


def push_sbom(repository: RemoteRepository, subject: Descriptor, day: int) -> str:
    """A statement about ``subject`` of some day."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(day * DAY))
    empty = _push(repository, b"{}", "application/vnd.oci.empty.v1+json")
    body = _push(repository, f'{{"sbom of": "{subject.digest}"}}'.encode(), "application/vnd.cyclonedx+json")
    manifest = Manifest(
        empty,
        (body,),
        annotations=FrozenMap({CREATED: created}),
        subject=Descriptor(subject.media_type, subject.digest, subject.size),
        artifact_type="application/vnd.cyclonedx+json",
    )
    return repository.push_manifest(manifest.to_bytes(), media.IMAGE_MANIFEST).digest


def _layer(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _push(repository: RemoteRepository, data: bytes, media_type: str) -> Descriptor:
    descriptor = Descriptor(media_type, digest_bytes(data), len(data))
    repository.push_blob(descriptor, lambda: io.BytesIO(data))
    return descriptor
