"""What an image says of itself under the names of the OCI image spec (annotations.md, "Pre-Defined Annotation Keys").

Title, version and base come from the project and go both into the config's labels, where every tool shows them, and
into the manifest's annotations, where a registry reads them without the config. Labels of the project win. The commit
is not among them: an image that did not change keeps its digest over commits; the provenance names the commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lamella.canonical import FrozenMap, digest_bytes
from lamella.oci import media
from lamella.oci.config import EPOCH, ImageConfig
from lamella.oci.manifest import Descriptor, Manifest
from lamella.values import dataclass, replace

__all__ = ["PREFIX", "Described", "describe", "described_labels", "index_annotations"]

PREFIX = "org.opencontainers.image."
"""Names that the image spec defines."""

_SHARED = (
    *("title", "version", "created", "url", "source"),
    *("documentation", "vendor", "licenses", "description", "authors"),
)
"""What is as true of all platforms together as of each."""


@dataclass(frozen=True, slots=True)
class Described:
    """A manifest and its config's bytes, ready to be pushed."""

    manifest: Manifest
    config: bytes

    @property
    def descriptor(self) -> Descriptor:
        """The manifest's, without a platform."""
        return self.manifest.descriptor()


def described_labels(*, title: str, version: str | None, base: tuple[str, str] | None) -> FrozenMap[str, str]:
    """The labels that every published image has; ``base`` is (reference, manifest digest) of a base image."""
    labels = {"title": title, "version": version or ""}
    if base is not None:
        labels |= {"base.name": base[0], "base.digest": base[1]}
    return FrozenMap({f"{PREFIX}{name}": value for name, value in labels.items() if value})


def describe(
    manifest: Manifest, config: ImageConfig, labels: Mapping[str, str], own: Collection[str] = ()
) -> Described:
    """The image with ``labels`` where it has none of its ``own`` names, and annotations for all of these that the image
    spec defines.

    What comes from the base is about the base: it stays a label where nothing replaces it, and is no annotation.
    """
    said = {name: text for name, text in labels.items() if name not in own}
    merged = FrozenMap({**config.runtime.labels, **said})
    described = replace(config, runtime=replace(config.runtime, labels=merged))
    data = described.to_bytes()
    names = sorted(name for name in {*said, *own} if name.startswith(PREFIX) and name in merged)
    annotations = {name: merged[name] for name in names}
    if config.created != EPOCH:
        annotations.setdefault(f"{PREFIX}created", config.created)
    descriptor = Descriptor(media.IMAGE_CONFIG, digest_bytes(data), len(data))
    return Described(replace(manifest, config=descriptor, annotations=FrozenMap(annotations)), data)


def index_annotations(manifests: tuple[Manifest, ...]) -> FrozenMap[str, str]:
    """The annotations of an index: those that are about all platforms and that all its manifests agree on."""
    first = manifests[0].annotations
    names = [name for name in (f"{PREFIX}{key}" for key in _SHARED) if name in first]
    agreed = (name for name in names if all(one.annotations.get(name) == first[name] for one in manifests))
    return FrozenMap({name: first[name] for name in agreed})
