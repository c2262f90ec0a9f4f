"""``--load``: images of the store into a Docker daemon; where it has layers already, only the others are sent.

A daemon names what it has by the diff_ids of its images. An archive may leave out layers whose whole chain below is
there: a graph driver does not open them, containerd's store finds their blobs by digest. Afterwards the daemon is
asked whether it has the image with all of its layers; when not, or when it cannot be asked, everything is sent.

A daemon takes half a millisecond for each file of a layer. So that goes on beside what a build still has to do when
it knows its images: to write their documents, to give them names, to keep what it learnt of the tree.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from io import BytesIO
from itertools import chain
from typing import Any, BinaryIO

from lamella.canonical import canonical_json, digest_bytes
from lamella.errors import InternalError, LamellaError, RegistryError
from lamella.images.daemon import DockerApi, diff_ids, find_api
from lamella.images.docker_cli import DockerCli
from lamella.images.outputs.archive import ArchiveFile, small_file, write_archive
from lamella.images.outputs.docker import check_names, docker_files
from lamella.images.outputs.layout import Layout, blob_path, make_layout
from lamella.images.stored import StoredImage
from lamella.oci.manifest import Descriptor
from lamella.oci.reference import parse_reference
from lamella.process import PIPE, Process, spawn
from lamella.registry.hosts import DEFAULT_REGISTRY
from lamella.store.images import REF_NAME
from lamella.store.store import Store
from lamella.values import replace

__all__ = ["EarlyLoad", "load_images"]

_NAME = "io.containerd.image.name"
_TAIL = 4096
_IN_MEMORY = 16 << 20
_SOON_SENT = 8 << 20
"""Bytes that a daemon takes in the time of the questions about all of its images."""


def load_images(store: Store, images: Sequence[StoredImage], docker: DockerCli, *, mtime: int = 0) -> None:
    """Loads images with all their names.

    Raises RegistryError with Docker's words when the daemon refuses, IntegrityError for a blob that is not what its
    image promises, ConfigError when two images have one name.
    """
    check_names(images)
    api = find_api(docker.env)
    containerd = False
    if api is not None:
        try:
            with suppress(LamellaError):  # what is wrong is said by the docker program, in its own words
                if all(_bring(store, image, api, mtime) for image in images):
                    return
            with suppress(LamellaError):
                containerd = api.is_containerd()
        finally:
            api.close()
    whole = _layout(store, images).files() if containerd else docker_files(store, images)
    _load_whole(images, whole, docker, mtime)


class EarlyLoad:
    """Images on their way into a daemon while their build goes on. What fails here is no error: it is met again, and
    said, by :meth:`finish`.
    """

    def __init__(self, store: Store, images: Sequence[StoredImage], docker: DockerCli, *, mtime: int = 0) -> None:
        """Begins. The layers must be in the store; manifests and configs need not be there yet."""
        self._store = store
        self._docker = docker
        self._mtime = mtime
        self._there: set[tuple[str, tuple[str, ...]]] = set()
        self._thread = threading.Thread(target=self._bring_all, args=(tuple(images),), daemon=True)
        self._thread.start()

    def _bring_all(self, images: tuple[StoredImage, ...]) -> None:
        with suppress(Exception):
            check_names(images)
            api = find_api(self._docker.env)
            if api is None:
                return
            with closing(api):
                for image in images:
                    if not _bring(self._store, image, api, self._mtime):
                        return
                    self._there.add((image.descriptor.digest, image.names))

    def wait(self) -> None:
        """Until what was begun is over, well or not."""
        self._thread.join()

    def finish(self, images: Sequence[StoredImage]) -> None:
        """Waits, and loads those of ``images`` that did not arrive. Raises as :func:`load_images` does."""
        self.wait()
        left = [image for image in images if (image.descriptor.digest, image.names) not in self._there]
        if left:
            load_images(self._store, left, self._docker, mtime=self._mtime)


def _bring(store: Store, image: StoredImage, api: DockerApi, mtime: int) -> bool:
    """Sends what the daemon lacks of an image; false when it has nothing of it, or not all of it afterwards."""
    found = [api.image(name) for name in image.names]
    if _is_it(api, image, found):
        return True
    known = _known(store, image, chain(map(diff_ids, found), api.chains()))
    if not known:
        return False
    files = _sparse_files(store, image, known)
    with _room(sum(file.size for file in files)) as archive:
        write_archive(files, archive, mtime=mtime)
        size = archive.tell()
        archive.seek(0)
        refused = api.load(archive, size)
    return not refused and _is_it(api, image, [api.image(name) for name in image.names])


def _room(size: int) -> BinaryIO:
    """Where an archive of about ``size`` bytes waits until its length is known."""
    if size <= _IN_MEMORY:
        return BytesIO()
    import tempfile

    return tempfile.TemporaryFile()


def _is_it(api: DockerApi, image: StoredImage, found: Sequence[Mapping[str, Any] | None]) -> bool:
    """Whether all of an image's names are this very image, with every layer: ``found`` is what the daemon says."""
    ids = {image.manifest.config.digest, image.descriptor.digest}
    wanted = image.config.diff_ids
    return bool(found) and all(
        one and one.get("Id") in ids and diff_ids(one) == wanted and _is_whole(api, one) for one in found
    )


def _is_whole(api: DockerApi, found: Mapping[str, Any]) -> bool:
    """Whether every blob of an image is there. A graph driver has no image without its layers, and says where they
    are; containerd's store says so of each manifest since API v1.47, and nothing before.
    """
    manifests = found.get("Manifests")
    if manifests:
        return all(one.get("Available") for one in manifests)
    return bool((found.get("GraphDriver") or {}).get("Data")) or not api.is_containerd()


def _known(store: Store, image: StoredImage, chains: Iterable[tuple[str, ...]]) -> int:
    """How many of an image's layers are there, from the bottom up, by the layers of images that are.

    Those are asked for no longer than what is left takes to be sent, if it is here to be sent.
    """

    def is_soon_sent(left: Sequence[Descriptor]) -> bool:
        return sum(one.size for one in left) <= _SOON_SENT and all(store.blobs.has(one.digest) for one in left)

    best = 0
    for there in chains:
        best = max(best, _common(there, image.config.diff_ids))
        if best and is_soon_sent([layer.descriptor for layer in image.layers[best:]]):
            break
    return best


def _layout(store: Store, images: Sequence[StoredImage]) -> Layout:
    """A layout whose names containerd's store takes: in full, with registry (containerd, images/annotations.go)."""
    layout = make_layout(store, images)
    layout.entries = tuple(
        replace(entry, annotations=entry.annotations.with_items({_NAME: _whole_name(entry.annotations[REF_NAME])}))
        for entry in layout.entries
    )
    return layout


def _whole_name(name: str) -> str:
    reference = parse_reference(name)
    if reference.registry:
        return name
    library = "" if "/" in reference.repository else "library/"
    return f"{DEFAULT_REGISTRY}/{library}{name}"


def _common(chain: tuple[str, ...], wanted: tuple[str, ...]) -> int:
    """How many layers two images share from the bottom up."""
    count = 0
    for one, other in zip(chain, wanted, strict=False):
        if one != other:
            break
        count += 1
    return count


def _sparse_files(store: Store, image: StoredImage, known: int) -> tuple[ArchiveFile, ...]:
    """An OCI layout with ``manifest.json`` beside it, as docker-save(1) writes it, without the lowest layers."""
    layout = _layout(store, [image])
    for described, data in (
        (image.descriptor, image.manifest.to_bytes()),
        (image.manifest.config, image.config.to_bytes()),
    ):
        if digest_bytes(data) == described.digest:  # else it came from elsewhere, in a form of its own
            path = blob_path(described.digest)
            layout.blobs[path] = small_file(path, data)
    above = {layer.descriptor.digest for layer in image.layers[known:]}
    below = {
        blob_path(layer.descriptor.digest) for layer in image.layers[:known] if layer.descriptor.digest not in above
    }
    row = {
        "Config": blob_path(image.manifest.config.digest),
        "RepoTags": list(image.names),
        "Layers": [blob_path(layer.descriptor.digest) for layer in image.layers],
    }
    kept = tuple(file for file in layout.files() if file.path not in below)
    return (*kept, small_file("manifest.json", canonical_json([row])))


def _load_whole(images: Sequence[StoredImage], files: Sequence[ArchiveFile], docker: DockerCli, mtime: int) -> None:
    import tempfile

    with tempfile.TemporaryFile() as said:
        with spawn(
            docker.argv("load", "--quiet"),
            env=docker.env,
            stdin=PIPE,
            stdout=said,
            stderr=said,
            error=RegistryError,
        ) as process:
            _send(process, files, mtime)
            code = process.wait()
        said.seek(max(0, said.tell() - _TAIL))
        words = said.read().decode("utf-8", "replace").strip().splitlines()
    if code != 0:
        names = ", ".join(name for image in images for name in image.names)
        raise RegistryError(
            f"docker load of {names} failed: {words[-1] if words else f'exit status {code}'}",
            hint="docker info says whether the daemon is well and has space",
            details=tuple(words[:-1]),
        )


def _send(process: Process, files: Sequence[ArchiveFile], mtime: int) -> None:
    """Writes the archive into the program; when that ends early, its exit status and words say why."""
    if process.stdin is None:
        raise InternalError("docker load was started without an input")
    with suppress(BrokenPipeError):
        write_archive(files, process.stdin, mtime=mtime)
    with suppress(BrokenPipeError):
        process.stdin.close()
