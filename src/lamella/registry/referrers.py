"""Referrers of a manifest (distribution-spec, "Listing Referrers"), with the tag schema where the API is missing."""

from __future__ import annotations

from typing import Any

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import HostileInputError
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Index, parse_document, parse_index

__all__ = ["fallback_tag", "merged", "referrer_of", "referrers_index", "subject_of", "without"]


def fallback_tag(digest: str) -> str:
    """The tag that holds the list of a subject's referrers (distribution-spec, "Referrers Tag Schema")."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def subject_of(data: bytes) -> Descriptor | None:
    """The subject of a manifest or index; raises HostileInputError for a malformed one."""
    found = parse_document(data).get("subject")
    return Descriptor.from_json(found) if found is not None else None


def referrer_of(data: bytes, descriptor: Descriptor) -> Descriptor:
    """How a manifest stands in the list of its subject's referrers: with its artifact type and annotations."""
    document = parse_document(data)
    kind = document.get("artifactType") or _config_type(document)
    annotations = document.get("annotations") or {}
    return Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        FrozenMap({str(name): str(value) for name, value in annotations.items()}) if annotations else EMPTY_MAP,
        artifact_type=str(kind or ""),
    )


def _config_type(document: dict[str, Any]) -> str:
    config = document.get("config")
    return str(config.get("mediaType") or "") if isinstance(config, dict) else ""


def merged(index: bytes, referrer: Descriptor) -> bytes | None:
    """The list with one more referrer; None when it is there already. ``index`` is empty for the first one."""
    entries = parse_index(index).manifests if index else ()
    if any(entry.digest == referrer.digest for entry in entries):
        return None
    return Index((*entries, referrer)).to_bytes()


def without(index: bytes, digest: str) -> bytes | None:
    """The list without one referrer; None when it is not there."""
    entries = parse_index(index).manifests
    left = tuple(entry for entry in entries if entry.digest != digest)
    return None if len(left) == len(entries) else Index(left).to_bytes()


def referrers_index(data: bytes, where: str) -> tuple[Descriptor, ...]:
    """The entries of an answer of the API; raises HostileInputError when it is no index."""
    document = parse_document(data)
    if (document.get("mediaType") or media.IMAGE_INDEX) != media.IMAGE_INDEX:
        raise HostileInputError(f"{where} lists referrers in a document of another type than an index")
    if document.get("manifests") is None:  # an empty list as Go writes it
        return ()
    return parse_index(data).manifests
