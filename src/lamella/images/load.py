"""``--load``: images of the store into a Docker daemon, as a Docker archive streamed into ``docker load``.

The whole image goes over; sending only the layers that the daemon lacks comes with the sparse path.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress

from lamella.errors import InternalError, RegistryError
from lamella.images.docker_cli import DockerCli
from lamella.images.outputs.archive import ArchiveFile, write_archive
from lamella.images.outputs.docker import docker_files
from lamella.images.stored import StoredImage
from lamella.process import PIPE, Process, spawn
from lamella.store.store import Store

__all__ = ["load_images"]

_TAIL = 4096


def load_images(store: Store, images: Sequence[StoredImage], docker: DockerCli, *, mtime: int = 0) -> None:
    """Loads images with all their names.

    Raises RegistryError with Docker's words when the daemon refuses, IntegrityError for a blob that is not what its
    image promises, ConfigError when two images have one name.
    """
    files = docker_files(store, images)
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
