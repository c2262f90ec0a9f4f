"""``--push``: images of the store under names that somebody gave, as ``buildx build --push`` does it.

No rule of publishing applies: the names are moved to what was built, over all of its platforms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError
from lamella.images.describe import index_annotations
from lamella.images.index import make_index
from lamella.images.push import Freight, Parcel, Pusher
from lamella.images.stored import StoredImage
from lamella.oci.manifest import Descriptor
from lamella.oci.reference import Reference
from lamella.registry.remote import RemoteRepository

__all__ = ["check_names", "push_stored"]


def check_names(names: Sequence[str], platforms: Mapping[str, Sequence[str]]) -> None:
    """``platforms`` are those of each image of the build. Raises ConfigError where one name would hold two images."""
    if not names:
        raise ConfigError("--push needs a name to push to", hint="add -t REGISTRY/NAME:TAG, or use: lamella publish")
    repeated = any(len(set(found)) < len(found) for found in platforms.values())
    if len(platforms) > 1 or repeated:
        raise ConfigError(
            f"--push would give {names[0]} to several images of this build",
            hint="name one image and one cell of it, or use: lamella publish",
        )


def push_stored(
    images: Iterable[StoredImage],
    config: Callable[[StoredImage], bytes],
    names: Sequence[Reference],
    repository: Callable[[Reference], RemoteRepository],
    pusher: Pusher,
) -> tuple[tuple[tuple[str, str], ...], Freight]:
    """Pushes images and moves all names to them: to the manifest of one, to an index over several.

    Returns (name, digest) of each. Raises AuthError and RegistryError; no name moves before everything is there.
    """
    parcels = [(image, Parcel(image.manifest, config(image))) for image in images]
    places = {name: repository(name) for name in names}
    unique = {place.name: place for place in places.values()}
    pusher.bring((place, parcel) for place in unique.values() for _, parcel in parcels)
    data, descriptor = _document(parcels)
    for place in unique.values():
        for _, parcel in parcels:
            pusher.push(place, parcel)
        place.push_manifest(data, descriptor.media_type)
    for name, place in places.items():
        place.tag(data, descriptor.media_type, (name.tag or "latest",))
    done = tuple((f"{place.name}:{name.tag or 'latest'}", descriptor.digest) for name, place in places.items())
    return done, pusher.freight


def _document(parcels: Sequence[tuple[StoredImage, Parcel]]) -> tuple[bytes, Descriptor]:
    manifests = tuple(parcel.manifest for _, parcel in parcels)
    if len(manifests) == 1:
        data, kind = manifests[0].to_bytes(), manifests[0].media_type
    else:
        entries = [parcel.manifest.descriptor(image.platform) for image, parcel in parcels]
        index = make_index(entries, index_annotations(manifests))
        data, kind = index.to_bytes(), index.media_type
    return data, Descriptor(kind, digest_bytes(data), len(data))
