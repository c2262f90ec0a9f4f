"""Referrers of a manifest (distribution-spec, "Listing Referrers"), with the tag schema where the API is missing."""

from __future__ import annotations

from typing import Any, Protocol

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.errors import HostileInputError, RegistryError
from lamella.oci import media
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor, Index, parse_document, parse_index
from lamella.registry.documents import Document
from lamella.registry.place import Place

__all__ = ["Manifests", "Referrers", "fallback_tag", "referrer_of", "subject_of"]

_RACES = 5
"""Times that a list is written again because somebody else wrote it at the same time."""


class Manifests(Protocol):
    """What the fall-back needs of a repository."""

    def manifest(self, name: str) -> Document | None:
        """A manifest by tag or digest."""

    def tag(self, data: bytes, media_type: str, tags: tuple[str, ...]) -> None:
        """Stores a manifest under tags."""


class Referrers:
    """Who refers to a manifest of one repository, and the lists that are kept where the registry keeps none."""

    def __init__(self, place: Place, manifests: Manifests) -> None:
        self._place = place
        self._manifests = manifests

    def list(self, digest: str) -> tuple[Descriptor, ...]:
        """By the API, or by the tag."""
        state, what = self._place.state, f"listing what refers to {short_digest(digest)} in {self._place.name}"
        entries: list[Descriptor] = []
        if state.referrers_api is not False:
            for answer in self._place.pages(f"referrers/{digest}", what):
                state.referrers_api = True
                entries += _entries(answer.body, self._place.name)
        if state.referrers_api is not True:
            document = self._manifests.manifest(fallback_tag(digest))
            entries += document.index.manifests if document and document.index else ()
        return tuple({entry.digest: entry for entry in entries}.values())

    def has_api(self, digest: str) -> bool:
        """Whether the registry has the API: it answers 200 with an empty list for what nobody refers to."""
        state = self._place.state
        if state.referrers_api is None:
            what = f"asking {self._place.repository.host} for referrers"
            state.referrers_api = self._place.request("GET", f"referrers/{digest}", what).status == 200
        return state.referrers_api

    def add(self, subject: str, referrer: Descriptor) -> None:
        """Adds to the list under the fall-back tag, and looks whether another writer was faster."""
        tag = fallback_tag(subject)
        with self._place.state.only_one(tag):
            for _ in range(_RACES):
                document = self._manifests.manifest(tag)
                entries = _index_of(document, tag) if document else ()
                if any(entry.digest == referrer.digest for entry in entries):
                    return
                self._manifests.tag(Index((*entries, referrer)).to_bytes(), media.IMAGE_INDEX, (tag,))
        raise RegistryError(
            f"the list of referrers {self._place.name}:{tag} is changed by others all the time", hint="try again later"
        )

    def remove(self, subject: str, digest: str) -> None:
        """Takes a manifest off the list; the last one takes the list with it."""
        tag = fallback_tag(subject)
        with self._place.state.only_one(tag):
            document = self._manifests.manifest(tag)
            entries = _index_of(document, tag) if document else ()
            left = tuple(entry for entry in entries if entry.digest != digest)
            if document is None or len(left) == len(entries):
                return
            if left:
                self._manifests.tag(Index(left).to_bytes(), media.IMAGE_INDEX, (tag,))
            else:
                self._place.delete(f"manifests/{document.descriptor.digest}", f"tag {tag}")


def _index_of(document: Document, tag: str) -> tuple[Descriptor, ...]:
    if document.index is None:
        raise HostileInputError(f"tag {tag} should list referrers and is no index", hint="somebody else uses that tag")
    return document.index.manifests


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


def _entries(data: bytes, where: str) -> tuple[Descriptor, ...]:
    """The entries of an answer of the API; raises HostileInputError when it is no index."""
    document = parse_document(data)
    if (document.get("mediaType") or media.IMAGE_INDEX) != media.IMAGE_INDEX:
        raise HostileInputError(f"{where} lists referrers in a document of another type than an index")
    if document.get("manifests") is None:  # an empty list as Go writes it
        return ()
    return parse_index(data).manifests
