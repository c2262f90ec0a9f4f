"""An image of the local store as a value: manifest, config, and what they say about each layer."""

from __future__ import annotations

from lamella.canonical import EMPTY_MAP
from lamella.errors import ConfigError, HostileInputError, IntegrityError
from lamella.oci import media
from lamella.oci.config import ImageConfig, parse_config
from lamella.oci.digest import short_digest
from lamella.oci.manifest import Descriptor, Manifest, parse_index, parse_manifest
from lamella.oci.platform import Platform
from lamella.oci.reference import parse_reference
from lamella.store.store import Store
from lamella.values import dataclass, replace

__all__ = ["StoredImage", "StoredLayer", "find_image", "full_name", "read_image"]


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """One layer: the blob that a manifest names and the digest of what is in it."""

    descriptor: Descriptor
    diff_id: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image for one platform. ``names`` are complete (with a tag); ``descriptor`` is the manifest's,
    without annotations.
    """

    names: tuple[str, ...]
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return self.config.platform

    @property
    def layers(self) -> tuple[StoredLayer, ...]:
        """Lowest first."""
        pairs = zip(self.manifest.layers, self.config.diff_ids, strict=True)
        return tuple(StoredLayer(descriptor, diff_id) for descriptor, diff_id in pairs)


def full_name(name: str) -> str:
    """A name with its tag, ``latest`` when none is written; raises ConfigError for what is no image name.

    >>> full_name("shop/api")
    'shop/api:latest'
    """
    reference = parse_reference(name)
    return str(reference if reference.tag or reference.digest else reference.with_tag("latest"))


def read_image(store: Store, descriptor: Descriptor, names: tuple[str, ...] = (), platform: str = "") -> StoredImage:
    """The image of a manifest, or of an index the one for ``platform`` (the only one when that is empty).

    Raises IntegrityError when a document is missing or does not fit, ConfigError when there is no such platform.
    """
    if media.is_index(descriptor.media_type):
        return read_image(store, _for_platform(store, descriptor, names, platform), names)
    try:
        manifest = parse_manifest(store.blobs.read(descriptor.digest))
        config = parse_config(store.blobs.read(manifest.config.digest))
    except HostileInputError as error:
        raise IntegrityError(f"image {short_digest(descriptor.digest)}: {error.message}") from error
    if len(manifest.layers) != len(config.diff_ids):
        raise IntegrityError(
            f"image {short_digest(descriptor.digest)} has {len(manifest.layers)} layers, "
            f"its config names {len(config.diff_ids)}"
        )
    return StoredImage(names, replace(descriptor, annotations=EMPTY_MAP), manifest, config)


def _for_platform(store: Store, descriptor: Descriptor, names: tuple[str, ...], platform: str) -> Descriptor:
    entries = parse_index(store.blobs.read(descriptor.digest)).manifests
    for entry in entries:
        if (platform and str(entry.platform) == platform) or (not platform and len(entries) == 1):
            return entry
    there = ", ".join(str(entry.platform) for entry in entries if entry.platform) or "none"
    shown = names[0] if names else short_digest(descriptor.digest)
    raise ConfigError(f"image {shown} has no manifest for {platform or 'any platform'}", hint=f"it has {there}")


def find_image(store: Store, name: str, platform: str = "") -> StoredImage:
    """The image of a local name (``latest`` when it has no tag). Raises ConfigError for an unknown one."""
    complete = full_name(name)
    for candidate in dict.fromkeys((name, complete)):
        descriptor = store.images.resolve(candidate)
        if descriptor is not None:
            return read_image(store, descriptor, (complete,), platform)
    import difflib

    known = [image.name for image in store.images.list()]
    near = difflib.get_close_matches(complete, known, n=1)
    hint = f"the nearest is {near[0]}" if near else "see: lamella images; or build it: lamella build"
    raise ConfigError(f"there is no image {name!r} in the local store", hint=hint)
