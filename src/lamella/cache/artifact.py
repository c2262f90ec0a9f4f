"""A record as an OCI artifact: one image manifest under the tag ``r1-<64 hex digits of the resolved key>``.

Its config is the record, embedded in the manifest, so that one small GET brings it. Its layers are what the record
names: small artefacts (base facts, package set, file set) compressed and embedded up to a size, the layers of the
result as the images have them, and the files of a step's product. Pure: bytes in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from lamella.canonical import EMPTY_MAP, FrozenMap, digest_bytes
from lamella.errors import HostileInputError
from lamella.graph.keys import rootfs_identity
from lamella.graph.record import RECORD_FORMAT, Record
from lamella.oci import media
from lamella.oci.digest import check_digest
from lamella.oci.manifest import Descriptor, Manifest
from lamella.store.record_format import StoredRecord, parse_record, record_to_bytes
from lamella.values import dataclass, replace

__all__ = [
    "EMBEDDED_LIMIT",
    "FACTS_TYPE",
    "FILESET_TYPE",
    "IDENTITY",
    "PACKAGES_TYPE",
    "PRODUCT_TYPE",
    "RECORD_TYPE",
    "Part",
    "RecordArtifact",
    "described",
    "part_descriptor",
    "read_artifact",
    "record_manifest",
    "record_tag",
    "travelling",
]

RECORD_TYPE = "application/vnd.lamella.record.v1+json"
"""Artifact type, and media type of the config: the record's canonical JSON."""

FACTS_TYPE = "application/vnd.lamella.facts.v1+zstd"
PACKAGES_TYPE = "application/vnd.lamella.packages.v1+zstd"
FILESET_TYPE = "application/vnd.lamella.fileset.v1+zstd"
PRODUCT_TYPE = "application/vnd.lamella.product.v1.tar+zstd"

IDENTITY = "dev.lamella.identity"
"""Annotation: the digest that the record knows the content by, that of its uncompressed bytes or of its file set."""

EMBEDDED_LIMIT = 8 * 1024
"""Bytes of a compressed small artefact that the manifest itself carries. The facts of a base have more, and only those
of the finished chain are read.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a record names. ``identity`` is a diff_id for layers, a file set's digest for products, and the
    digest of the uncompressed bytes for everything else.
    """

    identity: str
    descriptor: Descriptor

    @property
    def is_layer(self) -> bool:
        """Whether it is a layer of images."""
        return media.is_layer(self.descriptor.media_type)


@dataclass(frozen=True, slots=True)
class RecordArtifact:
    """A record with where its bytes are."""

    record: Record
    parts: tuple[Part, ...] = ()

    def part(self, media_type: str, identity: str) -> Part | None:
        """One small artefact or product."""
        return next((p for p in self.parts if (p.descriptor.media_type, p.identity) == (media_type, identity)), None)

    def layer(self, diff_id: str) -> Part | None:
        """The blob of a layer."""
        return next((part for part in self.parts if part.is_layer and part.identity == diff_id), None)


def record_tag(key: str, prefix: str = "") -> str:
    """The tag of a record. The format's major version is in it, so a record of another one is not found.

    >>> record_tag("sha256:" + "0" * 64)[:8]
    'r1-00000'
    """
    return f"{prefix}r{RECORD_FORMAT}-{check_digest(key, what='resolved key').partition(':')[2]}"


def travelling(record: Record) -> Record:
    """What of a record leaves the machine: not its snapshot, the step's output and the file sets of sources."""
    return replace(record, result=replace(record.result, snapshot=""), log="", filesets=EMPTY_MAP)


def part_descriptor(media_type: str, identity: str, data: bytes) -> Descriptor:
    """The descriptor of a small artefact, embedded when it is small enough."""
    embedded = data if len(data) <= EMBEDDED_LIMIT else b""
    return Descriptor(media_type, digest_bytes(data), len(data), FrozenMap({IDENTITY: identity}), data=embedded)


def record_manifest(record: Record, parts: Iterable[Part]) -> tuple[Manifest, bytes]:
    """The manifest of a record, and the bytes of its config."""
    data = record_to_bytes(StoredRecord(travelling(record), ()))
    config = Descriptor(RECORD_TYPE, digest_bytes(data), len(data), data=data)
    layers = tuple(
        replace(part.descriptor, annotations=FrozenMap({IDENTITY: part.identity}), platform=None) for part in parts
    )
    return Manifest(config, layers, annotations=described(record.name, record.created), artifact_type=RECORD_TYPE), data


def described(name: str, created: int) -> FrozenMap[str, str]:
    """Annotations that tell people and retention what an artifact is, and since when (image-spec annotations.md)."""
    when = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return FrozenMap({"org.opencontainers.image.title": name, "org.opencontainers.image.created": when})


def read_artifact(key: str, manifest: Manifest, config: bytes) -> RecordArtifact:
    """A record and its parts from what a repository has under the tag of ``key``.

    Raises HostileInputError for anything but the record of that very key: one whose parts do not give the key again,
    whose result is another's, that may not leave its machine, or that names parts which are not its own.
    """
    record = parse_record(config).record
    result = record.result
    if record.key != key or record.parts.key != key or result.key != key:
        raise HostileInputError(f"what is stored as the record of {key} is the record of something else")
    if record.local or result.snapshot:
        raise HostileInputError(f"the record of {key} is of one machine only")
    if result.identity and result.identity != rootfs_identity(key, result.packages):
        raise HostileInputError(f"the record of {key} has another identity than its key and packages give")
    parts = tuple(_part(descriptor) for descriptor in manifest.layers)
    own = {
        FACTS_TYPE: {result.facts},
        PACKAGES_TYPE: {result.packages},
        FILESET_TYPE: {result.tree},
        PRODUCT_TYPE: {result.tree},
    }
    diff_ids = {layer.diff_id for layer in result.layers}
    for part in parts:
        if part.identity not in own.get(part.descriptor.media_type, diff_ids if part.is_layer else set()):
            raise HostileInputError(f"the record of {key} comes with {part.descriptor.media_type} of something else")
    return RecordArtifact(record, parts)


def _part(descriptor: Descriptor) -> Part:
    return Part(check_digest(descriptor.annotations.get(IDENTITY, "")), descriptor)
