"""What the in-memory registry holds: blobs by repository, manifests, tags, uploads that are under way."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from typing import Any

from lamella.canonical import digest_bytes
from lamella.oci import media
from lamella.values import dataclass, field

__all__ = ["Content", "Stored", "artifact_type", "digest_of", "named_blobs", "named_manifests"]

Stored = tuple[str, bytes]
"""A manifest's media type and bytes."""


@dataclass(slots=True)
class Content:
    """All repositories of a registry. ``lock`` is held by whoever changes more than one thing.

    A blob without an entry in ``owners`` is visible in every repository; ``manifests`` has an entry for each digest
    and each tag.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    owners: dict[str, set[str]] = field(default_factory=dict)
    manifests: dict[tuple[str, str], Stored] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def blob(self, repository: str, digest: str) -> bytes | None:
        """The bytes of a blob that the repository may see."""
        owners = self.owners.get(digest)
        return self.blobs.get(digest) if owners is None or repository in owners else None

    def add_blob(self, data: bytes, repository: str = "") -> str:
        """Stores a blob for one repository, or for all; returns its SHA-256 digest."""
        return self.link(digest_bytes(data), data, repository)

    def link(self, digest: str, data: bytes, repository: str) -> str:
        """Makes a blob visible in one repository, or in all; returns its digest."""
        with self.lock:
            everywhere = digest in self.blobs and digest not in self.owners
            self.blobs[digest] = data
            if not repository:
                self.owners.pop(digest, None)
            elif not everywhere:
                self.owners.setdefault(digest, set()).add(repository)
        return digest

    def unlink(self, repository: str, digest: str) -> bool:
        """Takes a blob out of a repository; its bytes go when nobody sees them any more."""
        with self.lock:
            if self.blob(repository, digest) is None:
                return False
            owners = self.owners.get(digest, {repository})
            owners.discard(repository)
            if not owners:
                del self.blobs[digest]
                self.owners.pop(digest, None)
            return True

    def begin_upload(self) -> str:
        """A new upload's id."""
        with self.lock:
            name = f"upload-{next(self.numbers)}"
            self.uploads[name] = bytearray()
            return name

    def put_manifest(self, repository: str, stored: Stored, *names: str) -> str:
        """Stores a manifest under its digest and ``names``; returns the digest."""
        digest = digest_bytes(stored[1])
        with self.lock:
            for name in (digest, *names):
                self.manifests[repository, name] = stored
        return digest

    def delete_manifest(self, repository: str, name: str) -> bool:
        """Deletes a tag, or a manifest with all its tags."""
        with self.lock:
            stored = self.manifests.pop((repository, name), None)
            if stored is not None and ":" in name:
                same = [key for key, value in self.manifests.items() if key[0] == repository and value[1] == stored[1]]
                for key in same:
                    del self.manifests[key]
            return stored is not None

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository in lexical order."""
        with self.lock:
            return sorted(name for where, name in self.manifests if where == repository and ":" not in name)

    def has_repository(self, repository: str) -> bool:
        """Whether anything is there."""
        with self.lock:
            return any(where == repository for where, _ in self.manifests) or any(
                repository in owners for owners in self.owners.values()
            )

    def referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """Descriptors of the manifests whose subject is ``digest``, in the order they came."""
        found = []
        with self.lock:
            held = [(n, s) for (where, n), s in self.manifests.items() if where == repository and ":" in n]
        for name, (kind, data) in held:
            document = json.loads(data)
            subject = document.get("subject") or {}
            if subject.get("digest") == digest:
                entry = {"mediaType": kind, "digest": name, "size": len(data)}
                if document.get("annotations"):
                    entry["annotations"] = document["annotations"]
                if artifact_type(document):
                    entry["artifactType"] = artifact_type(document)
                found.append(entry)
        return found


def artifact_type(document: dict[str, Any]) -> str:
    """A manifest's artifact type, else the media type of its config (distribution-spec, "Listing Referrers")."""
    return str(document.get("artifactType") or (document.get("config") or {}).get("mediaType") or "")


def named_blobs(document: dict[str, Any]) -> list[str]:
    """Digests of the blobs that a manifest needs; layers that lie elsewhere are not among them."""
    entries = [document.get("config"), *(document.get("layers") or ())]
    return [str(entry.get("digest")) for entry in entries if isinstance(entry, dict) and not entry.get("urls")]


def named_manifests(document: dict[str, Any], kind: str) -> list[str]:
    """Digests of the manifests that an index needs."""
    entries = document.get("manifests") or () if media.is_index(kind) else ()
    return [str(entry.get("digest")) for entry in entries if isinstance(entry, dict)]


def digest_of(data: bytes, like: str) -> str:
    """The digest of ``data`` by the algorithm of another digest; empty for an unknown algorithm."""
    algorithm = like.partition(":")[0]
    if algorithm not in ("sha256", "sha512"):
        return ""
    return f"{algorithm}:{hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()}"
