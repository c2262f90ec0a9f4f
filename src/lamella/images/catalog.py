"""What a repository holds: tags, manifests, indexes, referrers, layers. Listing, retention and promotion read it.

A manifest that only an index or a subject names has no tag of its own, so everything is walked from the tags
(RELIABILITY finding 6). A registry cannot list manifests that nothing names any more.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lamella.canonical import EMPTY_MAP, FrozenMap
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.registry.documents import ATTESTATION, Document
from lamella.registry.referrers import fallback_tag, referrer_of, subject_of
from lamella.registry.remote import RemoteRepository
from lamella.values import dataclass, field

__all__ = ["CREATED", "Catalog", "Node", "is_fallback_tag", "node_of", "read_catalog"]

CREATED = "org.opencontainers.image.created"
"""Annotation with the time of making (image-spec annotations.md, RFC 3339). On a referrer it tells when its subject was
published; on our images themselves it is a constant (DESIGN 7b.8)."""

_WORKERS = 8
_A = TypeVar("_A")
_IMAGE_CONFIGS = (media.IMAGE_CONFIG, media.DOCKER_CONFIG)
_FALLBACK = re.compile(r"sha(?:256|512)-[0-9a-f]{64}")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))")
_NO_TIME_BEFORE = calendar.timegm((2001, 1, 1, 0, 0, 0))
"""An earlier time is a constant that stands for none."""


@dataclass(frozen=True, slots=True)
class Node:
    """One manifest or index. ``children`` are the manifests of an index, ``blobs`` config and layers (digest, bytes).

    ``created`` is the second it was made or published, 0 when nothing tells.
    """

    descriptor: Descriptor
    children: tuple[Descriptor, ...] = ()
    blobs: tuple[tuple[str, int], ...] = ()
    subject: str = ""
    artifact_type: str = ""
    annotations: FrozenMap[str, str] = EMPTY_MAP
    created: int = 0

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return self.descriptor.digest


@dataclass(frozen=True, slots=True)
class Catalog:
    """A repository at one moment.

    ``tags`` maps tags to digests; ``nodes`` everything that was found from them; ``referrers`` a subject to those that
    refer to it; ``lists`` the referrers' fall-back tags, with their subjects; ``broken`` tags whose manifest
    is not there, ``gaps`` manifests that an index names and that are not there.
    """

    name: str
    tags: FrozenMap[str, str]
    nodes: FrozenMap[str, Node]
    referrers: FrozenMap[str, tuple[str, ...]] = EMPTY_MAP
    lists: FrozenMap[str, str] = EMPTY_MAP
    broken: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()

    def tags_of(self, digest: str) -> tuple[str, ...]:
        """The tags that name a manifest, sorted."""
        return tuple(sorted(tag for tag, found in self.tags.items() if found == digest))

    def reachable(self, roots: Iterable[str]) -> frozenset[str]:
        """Everything that must stay for ``roots`` to be whole: children and, of each of them, referrers."""
        seen: set[str] = set()
        waiting = list(roots)
        while waiting:
            digest = waiting.pop()
            if digest in seen:
                continue
            seen.add(digest)
            node = self.nodes.get(digest)
            waiting += [child.digest for child in node.children] if node else []
            waiting += self.referrers.get(digest, ())
        return frozenset(seen)

    def blobs(self, digests: Iterable[str]) -> dict[str, int]:
        """The blobs of some manifests with their sizes, each once."""
        return {
            digest: size for one in digests for digest, size in (self.nodes[one].blobs if one in self.nodes else ())
        }

    def created(self, digest: str) -> int:
        """When a manifest was published: by what refers to it or its children, else by its own word; 0 unknown."""
        below = [child.digest for child in self.nodes[digest].children] if digest in self.nodes else []
        told = [
            self.nodes[referrer].created
            for one in (digest, *below)
            for referrer in self.referrers.get(one, ())
            if referrer in self.nodes and self.nodes[referrer].created
        ]
        if told:
            return min(told)
        own = [self.nodes[one].created for one in (digest, *below) if one in self.nodes and self.nodes[one].created]
        return min(own, default=0)


def is_fallback_tag(tag: str) -> bool:
    """Whether a tag is a list of referrers (distribution-spec, "Referrers Tag Schema")."""
    return _FALLBACK.fullmatch(tag) is not None


def read_catalog(
    repository: RemoteRepository,
    *,
    only: Callable[[str], bool] = lambda tag: True,
    also: Iterable[str] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Catalog:
    """Reads a repository: its tags (those of ``only``), and from there everything they lead to.

    ``also`` are digests of manifests that may be there without a tag; those that are gone are passed over.
    ``on_progress`` is told of tags read and all tags. Raises RegistryError, AuthError, HostileInputError.
    """
    return _Reader(repository, on_progress).read(only, tuple(also))


@dataclass(slots=True)
class _Reader:
    repository: RemoteRepository
    on_progress: Callable[[int, int], None]
    nodes: dict[str, Node] = field(default_factory=dict)
    referrers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)

    def read(self, only: Callable[[str], bool], also: tuple[str, ...]) -> Catalog:
        names = self.repository.tags()
        tags: dict[str, str] = {}
        broken: list[str] = []
        with ThreadPoolExecutor(_WORKERS) as pool:
            wanted = [tag for tag in names if not is_fallback_tag(tag) and only(tag)]
            for count, (tag, document) in enumerate(_both(wanted, pool.map(self.repository.manifest, wanted)), 1):
                self.on_progress(count, len(wanted))
                if document is None:
                    broken.append(tag)
                else:
                    tags[tag] = document.descriptor.digest
                    self.nodes[document.descriptor.digest] = node_of(document)
            for document in pool.map(self.repository.manifest, also):
                if document is not None:
                    self.nodes[document.descriptor.digest] = node_of(document)
            self._follow(pool)
        known = {fallback_tag(digest): digest for digest in self.nodes}
        lists = {tag: known[tag] for tag in names if tag in known}
        return Catalog(
            self.repository.name,
            FrozenMap(tags),
            FrozenMap(self.nodes),
            FrozenMap(self.referrers),
            FrozenMap(lists),
            tuple(broken),
            tuple(self.gaps),
        )

    def _follow(self, pool: ThreadPoolExecutor) -> None:
        """Children and referrers of all nodes, generation by generation."""
        fresh = list(self.nodes)
        while fresh:
            for digest, found in _both(fresh, pool.map(self.repository.referrers, fresh)):
                if found:
                    self.referrers[digest] = tuple(entry.digest for entry in found)
            wanted = dict.fromkeys(self._named(fresh))
            fresh = []
            for digest, document in _both(wanted, pool.map(self.repository.manifest, wanted)):
                if document is None:
                    self.gaps.append(digest)
                else:
                    self.nodes[digest] = node_of(document)
                    fresh.append(digest)

    def _named(self, digests: Iterable[str]) -> Iterator[str]:
        for digest in digests:
            for name in (*(child.digest for child in self.nodes[digest].children), *self.referrers.get(digest, ())):
                if name not in self.nodes and name not in self.gaps:
                    yield name


def _both(names: Iterable[str], answers: Iterable[_A]) -> Iterator[tuple[str, _A]]:
    return zip(names, answers, strict=True)


def node_of(document: Document) -> Node:
    """A manifest or index as a node."""
    described = referrer_of(document.data, document.descriptor)
    subject = subject_of(document.data)
    children: tuple[Descriptor, ...] = ()
    blobs: tuple[tuple[str, int], ...] = ()
    if document.index is not None:
        children = document.index.manifests
    elif document.manifest is not None:
        held = (document.manifest.config, *document.manifest.layers)
        blobs = tuple((blob.digest, blob.size) for blob in held)
    return Node(
        document.descriptor,
        children,
        blobs,
        subject.digest if subject else "",
        described.artifact_type if described.artifact_type not in _IMAGE_CONFIGS else "",
        described.annotations,
        parse_time(described.annotations.get(CREATED, "")),
    )


def parse_time(text: str) -> int:
    """Seconds since the epoch of an RFC 3339 time; 0 for anything else and for constants before 2001."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return 0
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    if match[7]:
        offset = (int(match[8]) * 60 + int(match[9])) * 60
        seconds -= offset if match[7] == "+" else -offset
    return seconds if seconds >= _NO_TIME_BEFORE else 0


def is_attestation(child: Descriptor) -> bool:
    """Whether an entry of an index is a statement about another one (BuildKit's form) and no platform."""
    return ATTESTATION in child.annotations
