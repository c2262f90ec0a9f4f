"""Docker archives: what ``docker save`` writes and ``docker load`` reads (Docker image specification v1.2).

``manifest.json`` names the config and the uncompressed layers of each image. The image id is the config's digest,
so it is the one that the manifest in the store names too.
"""

from __future__ import annotations

from collections.abc import Iterable

from lamella.canonical import canonical_json
from lamella.errors import ConfigError
from lamella.images.outputs.archive import ArchiveFile, blob_file, layer_file, small_file
from lamella.images.stored import StoredImage
from lamella.oci.digest import digest_hex
from lamella.store.store import Store

__all__ = ["check_names", "docker_files"]


def check_names(images: Iterable[StoredImage]) -> None:
    """Raises ConfigError when two images want one name: the form has no platforms."""
    owners: dict[str, StoredImage] = {}
    for image in images:
        for name in image.names:
            other = owners.setdefault(name, image)
            if other.descriptor.digest != image.descriptor.digest:
                raise ConfigError(
                    f"two images of this build are both called {name}; a Docker archive holds one of a name",
                    hint="name one image and platform, or write type=oci",
                )


def docker_files(store: Store, images: Iterable[StoredImage]) -> tuple[ArchiveFile, ...]:
    """The files of a Docker archive. Raises ConfigError when two images want one name."""
    images = tuple(images)
    check_names(images)
    files: dict[str, ArchiveFile] = {}
    rows = []
    for image in images:
        config = f"{digest_hex(image.manifest.config.digest)}.json"
        files[config] = blob_file(store, config, image.manifest.config.digest, image.manifest.config.size)
        layers = []
        for layer in image.layers:
            path = f"{digest_hex(layer.diff_id)}.tar"
            if path not in files:
                files[path] = layer_file(store, path, layer)
            layers.append(path)
        rows.append({"Config": config, "RepoTags": list(image.names), "Layers": layers})
    return (*files.values(), small_file("manifest.json", canonical_json(rows)))
