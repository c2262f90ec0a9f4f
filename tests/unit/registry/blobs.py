"""Blobs to push."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import BinaryIO

from lamella.canonical import digest_bytes
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Manifest
from lamella.registry.remote import RemoteRepository


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that are the same in each run."""
    return random.Random(seed).randbytes(size)


def blob(data: bytes, media_type: str = media.LAYER_TAR) -> tuple[Descriptor, Callable[[], BinaryIO]]:
    """What ``push_blob`` takes."""
    return Descriptor(media_type, digest_bytes(data), len(data)), lambda: io.BytesIO(data)


def push_artifact(
    repository: RemoteRepository, *tags: str, kind: str = "application/x.test", subject: Descriptor | None = None
) -> Descriptor:
    """Pushes a manifest of one small blob."""
    config, open_ = blob(b"{}", "application/vnd.oci.empty.v1+json")
    repository.push_blob(config, open_)
    manifest = Manifest(config, (config,), artifact_type=kind, subject=subject)
    return repository.push_manifest(manifest.to_bytes(), manifest.media_type, tags=tags, subject=subject)
