"""Descriptors, manifests and indexes (image-spec descriptor.md, manifest.md, image-index.md).

Parsing is strict where a wrong value would be dangerous (digests, sizes, two kinds in one document) and
tolerant elsewhere: unknown fields of the wire format do not fail. Rendering is canonical JSON, so equal
values have equal digests.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap, canonical_json, digest_bytes
from lamella.errors import HostileInputError
from lamella.oci import media
from lamella.oci.digest import check_digest
from lamella.oci.platform import Platform
from lamella.values import dataclass, field

__all__ = ["MANIFEST_LIMIT", "Descriptor", "Index", "Manifest", "parse_document", "parse_index", "parse_manifest"]

MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes; larger manifests are refused (distribution-spec, "Pushing Manifests")."""

Annotations = FrozenMap[str, str]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names content: what it is, its digest, its size in bytes. ``data`` is the content itself when it is embedded."""

    media_type: str
    digest: str
    size: int
    annotations: Annotations = EMPTY_MAP
    platform: Platform | None = None
    artifact_type: str = ""
    data: bytes = field(default=b"", repr=False)

    def to_json(self) -> dict[str, Any]:
        """The JSON object; empty parts are left out."""
        out: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.platform is not None:
            out["platform"] = {"os": self.platform.os, "architecture": self.platform.architecture}
            if self.platform.variant:
                out["platform"]["variant"] = self.platform.variant
        if self.data:
            out["data"] = base64.b64encode(self.data).decode()
        return out

    @classmethod
    def from_json(cls, data: Any) -> Descriptor:
        """A descriptor from a parsed object; raises HostileInputError when it is malformed."""
        if not isinstance(data, dict):
            raise HostileInputError("a descriptor is not a JSON object")
        size, kind = data.get("size"), data.get("mediaType", "")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(kind, str):
            raise HostileInputError("a descriptor has no valid size or mediaType")
        artifact = data.get("artifactType")
        digest = check_digest(data.get("digest", ""))
        return cls(
            kind,
            digest,
            size,
            _annotations(data),
            _platform(data),
            artifact if isinstance(artifact, str) else "",
            _embedded(data.get("data"), digest, size),
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform: config and layers, lowest layer first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = media.IMAGE_MANIFEST
    annotations: Annotations = EMPTY_MAP
    subject: Descriptor | None = None
    artifact_type: str = ""

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        out: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.subject is not None:
            out["subject"] = self.subject.to_json()
        return canonical_json(out)

    def descriptor(self, platform: Platform | None = None) -> Descriptor:
        """The descriptor of :meth:`to_bytes`."""
        data = self.to_bytes()
        return Descriptor(self.media_type, digest_bytes(data), len(data), platform=platform)


@dataclass(frozen=True, slots=True)
class Index:
    """A list of manifests, one per platform, or the entry point of an OCI layout."""

    manifests: tuple[Descriptor, ...]
    media_type: str = media.IMAGE_INDEX
    annotations: Annotations = EMPTY_MAP

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        out: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [entry.to_json() for entry in self.manifests],
        }
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        return canonical_json(out)


def _annotations(data: dict[str, Any]) -> Annotations:
    found = data.get("annotations") or {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise HostileInputError("annotations are not a map of strings")
    return FrozenMap(found)


def _embedded(text: Any, digest: str, size: int) -> bytes:
    """Embedded content (image-spec descriptor.md, "Embedded Content"), which must be what its descriptor names."""
    if not isinstance(text, str) or not digest.startswith("sha256:"):
        return b""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise HostileInputError("a descriptor's data is not base64") from error
    if len(content) != size or digest_bytes(content) != digest:
        raise HostileInputError(f"a descriptor's data does not have its digest {digest}")
    return content


def _platform(data: dict[str, Any]) -> Platform | None:
    found = data.get("platform")
    if not isinstance(found, dict):
        return None
    return Platform(str(found.get("os", "")), str(found.get("architecture", "")), str(found.get("variant", "")))


def parse_document(data: bytes) -> dict[str, Any]:
    """A manifest or index as a JSON object.

    Raises HostileInputError for oversize or malformed bytes and for a document that is both
    a manifest and an index (CVE-2021-41190).
    """
    if len(data) > MANIFEST_LIMIT:
        raise HostileInputError(f"manifest of {len(data)} bytes is larger than {MANIFEST_LIMIT}")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HostileInputError(f"manifest is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise HostileInputError("manifest is not an object with schemaVersion 2")
    if "manifests" in document and ("layers" in document or "config" in document):
        raise HostileInputError("document is both a manifest and an index")
    return document


def parse_manifest(data: bytes) -> Manifest:
    """A manifest from bytes; raises HostileInputError."""
    document = parse_document(data)
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise HostileInputError("manifest has no list of layers")
    kind = document.get("mediaType") or media.IMAGE_MANIFEST
    if not media.is_manifest(kind):
        raise HostileInputError(f"mediaType {kind!r} is not an image manifest")
    subject = document.get("subject")
    return Manifest(
        Descriptor.from_json(document.get("config")),
        tuple(Descriptor.from_json(layer) for layer in layers),
        kind,
        _annotations(document),
        Descriptor.from_json(subject) if subject is not None else None,
        str(document.get("artifactType", "")),
    )


def parse_index(data: bytes) -> Index:
    """An index from bytes; raises HostileInputError."""
    document = parse_document(data)
    entries = document.get("manifests")
    kind = document.get("mediaType") or media.IMAGE_INDEX
    if not isinstance(entries, list) or not media.is_index(kind):
        raise HostileInputError("document is not an image index")
    return Index(tuple(Descriptor.from_json(entry) for entry in entries), kind, _annotations(document))
