"""Images: names for manifests, in ``index.json`` of the OCI layout, where skopeo finds them too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from lamella.commit import replace_file
from lamella.errors import HostileInputError, IntegrityError, InternalError
from lamella.host.locks import hold
from lamella.oci.manifest import Descriptor, Index, parse_index
from lamella.store.blobs import Blobs
from lamella.store.context import LOCK_TIMEOUT, Context
from lamella.values import dataclass, replace

__all__ = ["REF_NAME", "Images", "TaggedImage"]

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation that names a manifest in an image layout (image-spec annotations.md)."""

_Change = Callable[[tuple[Descriptor, ...]], Iterable[Descriptor]]


@dataclass(frozen=True, slots=True)
class TaggedImage:
    """A name and the manifest or index that it points to."""

    name: str
    descriptor: Descriptor


class Images:
    """All names of one store. Thread-safe; a change is one atomic replacement under a lock."""

    def __init__(self, context: Context, blobs: Blobs) -> None:
        self._context = context
        self._blobs = blobs

    @property
    def path(self) -> Path:
        """The ``index.json``."""
        return self._context.layout.oci / "index.json"

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Points ``name`` to a manifest or index that is in the store, away from what it pointed to before."""
        if not name or not name.isprintable():
            raise InternalError(f"image name {name[:80]!r} is empty or not printable")
        if not self._blobs.has(descriptor.digest, descriptor.size):
            raise InternalError(f"image {name} was tagged before its manifest {descriptor.digest} was stored")
        named = replace(descriptor, annotations=descriptor.annotations.with_items({REF_NAME: name}))
        self._change(lambda old: [*(one for one in old if _name(one) != name), named])

    def resolve(self, name: str) -> Descriptor | None:
        """What a name points to, put under the open leases; None for an unknown name."""
        found = next((one.descriptor for one in self.list() if one.name == name), None)
        return found if found is not None and self._blobs.has(found.digest, found.size) else None

    def list(self) -> tuple[TaggedImage, ...]:
        """All names, sorted. Raises IntegrityError when ``index.json`` is not an index."""
        return tuple(TaggedImage(_name(one), one) for one in sorted(self._read(), key=_name) if _name(one))

    def untag(self, name: str) -> bool:
        """Removes a name; what it pointed to goes with a later collection. False for an unknown name."""
        before = len(self._read())
        after = self._change(lambda old: [one for one in old if _name(one) != name])
        return after < before

    def _change(self, change: _Change) -> int:
        self._context.check_writable()
        lock = self._context.layout.lock("images")
        with hold(lock, timeout=LOCK_TIMEOUT, on_wait=self._context.on_wait, what="the list of images"):
            after = tuple(sorted(change(self._read()), key=lambda one: (_name(one), one.digest)))
            with self._context.lock.shared():
                replace_file(self.path, Index(after).to_bytes(), staging=self._context.layout.staging)
            return len(after)

    def _read(self) -> tuple[Descriptor, ...]:
        try:
            return parse_index(self.path.read_bytes()).manifests
        except (OSError, HostileInputError) as error:
            raise IntegrityError(
                f"{os.fspath(self.path)} is not an image index: {error}",
                hint="run `lamella cache repair`; the names in it are lost, what they named is not",
            ) from error


def _name(descriptor: Descriptor) -> str:
    return descriptor.annotations.get(REF_NAME, "")
