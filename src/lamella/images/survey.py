"""A repository in figures: tags, layers, shared and own bytes. Pure."""

from __future__ import annotations

from collections import Counter

from lamella.images.catalog import Catalog, Node, is_attestation
from lamella.oci.digest import short_digest
from lamella.values import dataclass

__all__ = ["LayerRow", "RepositorySurvey", "TagRow", "survey"]


@dataclass(frozen=True, slots=True)
class TagRow:
    """A tag. ``size`` are the bytes of all it leads to, ``own`` of blobs that no other tag leads to."""

    tag: str
    digest: str
    kind: str
    platforms: tuple[str, ...]
    age: int | None
    size: int
    own: int
    referrers: int


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A blob (config, layer or an artifact's content): ``size`` bytes, how many tags lead to it."""

    digest: str
    size: int
    tags: int


@dataclass(frozen=True, slots=True)
class RepositorySurvey:
    """All of a repository. ``size`` counts each blob once, ``shared`` those that several tags lead to."""

    name: str
    tags: tuple[TagRow, ...]
    layers: tuple[LayerRow, ...]
    images: int
    indexes: int
    artifacts: int
    size: int
    shared: int
    problems: tuple[str, ...]


def survey(catalog: Catalog, *, now: int) -> RepositorySurvey:
    """The figures of a catalog; ``now`` is the present second."""
    below = {tag: catalog.blobs(catalog.reachable((digest,))) for tag, digest in catalog.tags.items()}
    uses = Counter(blob for blobs in below.values() for blob in blobs)
    sizes = {blob: size for blobs in below.values() for blob, size in blobs.items()}
    tags = []
    for tag, digest in sorted(catalog.tags.items()):
        node, created = catalog.nodes[digest], catalog.created(digest)
        tags.append(
            TagRow(
                tag,
                digest,
                _kind(node),
                _platforms(node),
                max(0, now - created) if created else None,
                sum(below[tag].values()),
                sum(size for blob, size in below[tag].items() if uses[blob] == 1),
                _referrers(catalog, digest),
            )
        )
    layers = [LayerRow(blob, size, uses[blob]) for blob, size in sizes.items()]
    kinds = Counter(_kind(node) for node in catalog.nodes.values())
    return RepositorySurvey(
        catalog.name,
        tuple(tags),
        tuple(sorted(layers, key=lambda layer: (-layer.size, layer.digest))),
        kinds["image"],
        kinds["index"],
        kinds["artifact"],
        sum(sizes.values()),
        sum(size for blob, size in sizes.items() if uses[blob] > 1),
        _problems(catalog),
    )


def _kind(node: Node) -> str:
    if node.subject or node.artifact_type:
        return "artifact"
    return "index" if node.children else "image"


def _platforms(node: Node) -> tuple[str, ...]:
    named = (child.platform for child in node.children if not is_attestation(child))
    return tuple(dict.fromkeys(str(platform) for platform in named if platform))


def _referrers(catalog: Catalog, digest: str) -> int:
    below = [child.digest for child in catalog.nodes[digest].children]
    return sum(len(catalog.referrers.get(one, ())) for one in (digest, *below))


def _problems(catalog: Catalog) -> tuple[str, ...]:
    found = [f"tag {tag} names a manifest that is not there" for tag in catalog.broken]
    found += [f"manifest {short_digest(digest)} is named and is not there" for digest in catalog.gaps]
    return tuple(found)
