"""Releases made of bytes, and a publication of them to an in-memory registry."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import LamellaError
from lamella.images.describe import describe
from lamella.images.index import CellPlan, tag_plans
from lamella.images.publish import Publication, PublishOutcome, Release, Sign
from lamella.images.push import Attachment, Parcel, Pusher
from lamella.images.tags import WantedTag
from lamella.oci import media
from lamella.oci.config import ImageConfig, RuntimeConfig
from lamella.oci.manifest import Descriptor, Manifest, parse_document
from lamella.oci.platform import parse_platform
from lamella.oci.reference import parse_reference
from lamella.project.cells import Cell, ImageCell
from lamella.project.template import Scope, TemplateFacts, parse_template, platform_variables, render
from lamella.registry.client import RegistryClient
from lamella.registry.credentials import Credential
from lamella.registry.remote import Transfer
from lamella.testing.registry import MemoryRegistry
from lamella.transport.client import Client
from lamella.transport.retry import Timing

AMD64, ARM64 = "linux/amd64", "linux/arm64"
TEMPLATES = ("{version}-{arch}", "{version}", "latest")


def cell(platform: str = AMD64, image: str = "shop", *, allow_failure: bool = False, **axes: str) -> ImageCell:
    return ImageCell(image, Cell(FrozenMap({**axes, "profile": "prod", "platform": platform})), allow_failure)


def plan(
    where: ImageCell,
    repository: str,
    templates: tuple[str, ...] = TEMPLATES,
    version: str = "1.2.0",
    *,
    selected: bool = True,
) -> CellPlan:
    scope = Scope(TemplateFacts(version), where.cell.values)
    tags = []
    for text in templates:
        template = parse_template(text)
        tags.append(WantedTag(str(render(template, scope)), template, platform_variables(template)))
    return CellPlan(where, repository, tuple(tags), scope, selected)


@dataclass
class Layers:
    """A ``BlobSource`` of bytes in memory; ``opened`` are the digests that were asked for."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)

    def add(self, text: str) -> tuple[Descriptor, str]:
        data = gzip.compress(text.encode(), mtime=0)
        self.blobs[digest_bytes(data)] = data
        return Descriptor(media.LAYER_GZIP, digest_bytes(data), len(data)), digest_bytes(text.encode())

    def open(self, blob: Descriptor) -> BinaryIO:
        self.opened.append(blob.digest)
        return io.BytesIO(self.blobs[blob.digest])

    def homes(self, digest: str) -> tuple[str, ...]:
        return self.places.get(digest, ())


@dataclass
class Shop:
    """Makes and publishes releases. Each publication has a client of its own, as each command has."""

    registry: MemoryRegistry
    layers: Layers = field(default_factory=Layers)
    transfers: list[Transfer] = field(default_factory=list)
    credential: Credential | None = None

    @property
    def repository(self) -> str:
        return f"{self.registry.address}/acme/shop"

    def release(self, where: CellPlan, *texts: str, attachments: tuple[Attachment, ...] = ()) -> Release:
        found = [self.layers.add(text) for text in texts or ("base", f"app {where.platform}")]
        config = ImageConfig(parse_platform(where.platform), RuntimeConfig(), tuple(diff_id for _, diff_id in found))
        manifest = Manifest(Descriptor(media.IMAGE_CONFIG, "", 0), tuple(blob for blob, _ in found))
        made = describe(manifest, config, {"org.opencontainers.image.title": "shop"})
        parcel = Parcel(made.manifest, made.config, lambda: attachments)
        return Release(where, parcel, tuple(f"layer {number}" for number, _ in enumerate(found)))

    def client(self) -> Iterator[RegistryClient]:
        http = Client(timing=Timing(sleep=lambda _: None))
        yield RegistryClient(http, None, lambda _: self.credential, on_transfer=self.transfers.append)
        http.close()

    def open(self, plans: tuple[CellPlan, ...]) -> Publication:
        client = next(self.client())
        return Publication(tag_plans(plans), lambda name: client.repository(parse_reference(name)))

    def publish(
        self,
        *releases: Release,
        others: tuple[CellPlan, ...] = (),
        failed: Mapping[CellPlan, LamellaError] | None = None,
        sign: Sign | None = None,
    ) -> PublishOutcome:
        publication = self.open((*(release.plan for release in releases), *others))
        publication.look()
        return publication.publish(releases, failed or {}, Pusher(self.layers), sign=sign)

    def tags(self) -> dict[str, str]:
        """What each tag names."""
        found = self.registry.manifests
        return {
            name: digest_bytes(data)
            for (_, name), (_, data) in found.items()
            if not name.startswith(("sha256:", "sha256-"))
        }

    def check_tags(self) -> None:
        """Nothing that a tag names, however deep, is missing."""
        for (repository, name), (_, data) in list(self.registry.manifests.items()):
            if not name.startswith("sha256:"):
                self._check(repository, data)

    def _check(self, repository: str, data: bytes) -> None:
        document = parse_document(data)
        for entry in document.get("manifests", ()):
            stored = self.registry.manifests.get((repository, entry["digest"]))
            assert stored is not None, f"an index names {entry['digest']}, which is not there"
            self._check(repository, stored[1])
        for blob in (*document.get("layers", ()), *filter(None, [document.get("config")])):
            assert self.registry.content.blob(repository, blob["digest"]) is not None, "a manifest names a lost blob"
