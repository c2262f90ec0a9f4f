"""Manifests, indexes and configs as they arrive: checked against digest, size, type and each other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Protocol

from lamella.errors import ConfigError, HostileInputError, IntegrityError, InternalError
from lamella.oci import media
from lamella.oci.config import ImageConfig, parse_config
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor, Index, Manifest, parse_document, parse_index, parse_manifest
from lamella.oci.platform import Platform
from lamella.values import dataclass

__all__ = [
    "ATTESTATION",
    "CONFIG_LIMIT",
    "Document",
    "ImageSource",
    "Resolved",
    "Sink",
    "choose",
    "config_of",
    "read_document",
    "resolved",
    "verified",
]

CONFIG_LIMIT = 8 << 20
"""Bytes of an image config; the field's own tools write some hundred kilobytes at most."""

ATTESTATION = "vnd.docker.reference.type"
"""Annotation of BuildKit's attestation manifests, which stand among the platforms of an index and are none."""

Sink = Callable[[str, int, Iterator[bytes]], None]
"""Takes a blob: digest, size in bytes, and its bytes in pieces. The pieces raise IntegrityError at their end when
they are not that blob, so a sink keeps nothing before it has seen the last one."""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index with its raw bytes and the descriptor they have."""

    descriptor: Descriptor
    data: bytes
    index: Index | None = None
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """One image for one platform.

    ``root`` is what the reference names, an index or the manifest itself; ``descriptor`` the manifest. The raw bytes
    are those the digests belong to. ``layers`` pairs each layer's descriptor with its diff_id, lowest first.
    """

    root: Descriptor
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    manifest_data: bytes
    config_data: bytes

    @property
    def layers(self) -> tuple[tuple[Descriptor, str], ...]:
        """Descriptor and diff_id of each layer, lowest first."""
        return tuple(zip(self.manifest.layers, self.config.diff_ids, strict=True))


class ImageSource(Protocol):
    """One image somewhere: in a registry, an OCI layout, an archive."""

    def platforms(self) -> dict[Platform, str]:
        """The platforms it has, with the digest of each one's manifest."""

    def resolve(self, platform: Platform) -> Resolved:
        """The image of a platform. Raises ConfigError when it has none, RegistryError, AuthError, IntegrityError,
        HostileInputError.
        """

    def fetch(self, descriptor: Descriptor, sink: Sink) -> None:
        """Hands the bytes of a layer to ``sink``, verified."""


def verified(chunks: Iterator[bytes], descriptor: Descriptor, where: str) -> Iterator[bytes]:
    """``chunks``, with IntegrityError as soon as they are too many, or at the end when they are not the blob."""
    algorithm, _, wanted = descriptor.digest.partition(":")
    running, size = hashlib.new(algorithm, usedforsecurity=False), 0
    what = f"blob {short_digest(descriptor.digest)} of {where}"
    for data in chunks:
        running.update(data)
        size += len(data)
        if size > descriptor.size:
            raise IntegrityError(f"{what} is longer than the {descriptor.size} bytes that its descriptor says")
        yield data
    if size != descriptor.size:
        raise IntegrityError(f"{what} has {size} bytes, its descriptor says {descriptor.size}")
    if running.hexdigest() != wanted:
        raise IntegrityError(
            f"{what} has the digest {algorithm}:{running.hexdigest()}",
            hint="what was sent is not what was published; do not use it",
        )


def read_document(data: bytes, where: str, *, content_type: str = "", expected: Descriptor | None = None) -> Document:
    """A manifest or index from bytes, verified.

    ``content_type`` is the header it came with and must agree with what the document says of itself (R1).
    ``expected`` is the descriptor it was fetched by; its media type may be empty and its size -1 where only the
    digest is known.
    """
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if expected is not None:
        algorithm = expected.digest.partition(":")[0]
        digest = f"{algorithm}:{hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()}"
        if digest != expected.digest or expected.size not in (-1, len(data)):
            raise IntegrityError(
                f"the manifest of {where} has digest {digest} and {len(data)} bytes, where {expected.digest}"
                f"{f' and {expected.size} bytes' if expected.size >= 0 else ''} were promised",
                hint="what was sent is not what was published; do not use it",
            )
    document = parse_document(data)
    own = document.get("mediaType") or ""
    header = content_type.partition(";")[0].strip().lower()
    if own and header and header != own:
        raise HostileInputError(f"the manifest of {where} says it is {own!r} and came as {header!r}")
    if expected is not None and own and expected.media_type and expected.media_type != own:
        raise HostileInputError(f"the manifest of {where} says it is {own!r}, its index {expected.media_type!r}")
    kind = own or header or (expected.media_type if expected is not None else "") or _guessed(document)
    descriptor = Descriptor(kind, digest, len(data))
    if media.is_index(kind):
        return Document(descriptor, data, index=parse_index(data))
    if media.is_manifest(kind):
        return Document(descriptor, data, manifest=parse_manifest(data))
    raise HostileInputError(f"{where} is {kind[:80]!r}, which is no image", hint="it may be another kind of artifact")


def _guessed(document: dict[str, object]) -> str:
    return media.IMAGE_INDEX if "manifests" in document else media.IMAGE_MANIFEST


def choose(index: Index, platform: Platform, where: str) -> Descriptor:
    """The entry of an index for a platform; raises ConfigError that lists what there is.

    The very variant first; then an entry without one; for 32-bit arm then lower versions, which run there.
    """
    entries = [entry for entry in index.manifests if ATTESTATION not in entry.annotations and entry.platform]
    same = [e for e in entries if e.platform and _normal(e.platform)[:2] == (platform.os, platform.architecture)]
    variants = {_normal(entry.platform)[2]: entry for entry in reversed(same) if entry.platform}
    for variant in _acceptable(platform):
        if variant in variants:
            return variants[variant]
    there = ", ".join(sorted({str(entry.platform) for entry in entries})) or "none"
    raise ConfigError(f"{where} has no image for {platform}", hint=f"it has: {there}")


def _normal(platform: Platform) -> tuple[str, str, str]:
    variant = "" if (platform.architecture, platform.variant) == ("arm64", "v8") else platform.variant
    return platform.os, platform.architecture, variant


def _acceptable(platform: Platform) -> tuple[str, ...]:
    variant = _normal(platform)[2]
    if platform.architecture == "arm":
        lower = ("v8", "v7", "v6", "v5")
        return (*lower[lower.index(variant) :], "") if variant in lower else (variant, "v7", "v6", "v5")
    if platform.architecture == "amd64" and not variant:
        return ("", "v1")
    return (variant, "")


def config_of(document: Document, where: str) -> Descriptor:
    """The config of a manifest that is an image we can use.

    Raises HostileInputError for an index, an artifact, layers that lie elsewhere and a config that is too large.
    """
    manifest = document.manifest
    if manifest is None:
        raise HostileInputError(f"{where}: an index inside an index is not understood")
    config = manifest.config
    if config.media_type not in (media.IMAGE_CONFIG, media.DOCKER_CONFIG):
        kind = manifest.artifact_type or config.media_type
        raise HostileInputError(f"{where} is an artifact of type {kind[:80]!r}, not an image")
    if config.size > CONFIG_LIMIT:
        raise HostileInputError(f"{where} has a config of {config.size} bytes, more than {CONFIG_LIMIT}")
    for layer in manifest.layers:
        if not media.is_layer(layer.media_type):
            raise HostileInputError(
                f"{where} has a layer of type {layer.media_type[:80]!r}",
                hint="layers that lie elsewhere (foreign layers) are not fetched",
            )
    return config


def resolved(root: Descriptor, document: Document, config_data: bytes, platform: Platform, where: str) -> Resolved:
    """The image of a manifest with its config; raises ConfigError when it is for another platform."""
    manifest = document.manifest
    if manifest is None:
        raise InternalError("an index was given where its image is wanted")
    config = parse_config(config_data)
    if len(config.diff_ids) != len(manifest.layers):
        raise HostileInputError(
            f"{where} has {len(manifest.layers)} layers and a config with {len(config.diff_ids)} diff_ids"
        )
    if _normal(config.platform)[:2] != (platform.os, platform.architecture):
        raise ConfigError(f"{where} is for {config.platform}, not for {platform}")
    return Resolved(root, document.descriptor, manifest, config, document.data, config_data)
