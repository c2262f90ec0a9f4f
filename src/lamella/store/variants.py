"""Variants: the compressed forms of a layer, (diff_id, compressor, level) → descriptor (DESIGN 3b).

One small file each, ``variants/<diff_id>/<compressor>-<level>.json``. They are hints: one whose blob is gone is a miss,
unless a cache repository is noted that has it; then a manifest can name it without its bytes being here.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress

from lamella.canonical import canonical_json
from lamella.commit import disk_errors, replace_file
from lamella.errors import HostileInputError, InternalError
from lamella.oci.manifest import Descriptor
from lamella.store.blobs import Blobs
from lamella.store.context import Context
from lamella.values import dataclass

__all__ = ["VARIANT_FORMAT", "Variant", "Variants"]

VARIANT_FORMAT = 1
"""Major version of the files; another one is a miss."""

_COMPRESSOR = re.compile(r"[a-z0-9][a-z0-9.+_]{0,63}")
_NAME = re.compile(r"([a-z0-9][a-z0-9.+_]{0,63})-(-?\d+)\.json")


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of a layer. ``elsewhere`` is the repository (``registry/path``) that has its blob, if one is known."""

    diff_id: str
    compressor: str
    level: int
    descriptor: Descriptor
    elsewhere: str = ""


class Variants:
    """All variants of one store. Thread-safe."""

    def __init__(self, context: Context, blobs: Blobs) -> None:
        self._context = context
        self._blobs = blobs

    def put(self, diff_id: str, compressor: str, level: int, descriptor: Descriptor) -> None:
        """Notes that ``descriptor``'s blob is the layer of ``diff_id``, made by ``compressor`` at ``level``."""
        if not self._blobs.has(descriptor.digest, descriptor.size):
            raise InternalError(f"a variant of {diff_id} was put before its blob {descriptor.digest}")
        known = next((v for v in self.named(diff_id) if (v.compressor, v.level) == (compressor, level)), None)
        same = known is not None and known.descriptor == descriptor
        self._write(Variant(diff_id, compressor, level, descriptor, known.elsewhere if known and same else ""))

    def note(self, diff_id: str, compressor: str, level: int, descriptor: Descriptor, elsewhere: str) -> None:
        """Notes that the repository ``elsewhere`` has a form of a layer; one whose blob is here already stays."""
        variant = Variant(diff_id, compressor, level, descriptor, elsewhere)
        known = next((v for v in self.named(diff_id) if (v.compressor, v.level) == (compressor, level)), None)
        here = known is not None and self._blobs.has(known.descriptor.digest, known.descriptor.size)
        if known != variant and not (here and known is not None and known.descriptor != descriptor):
            self._write(variant)

    def _write(self, variant: Variant) -> None:
        if not _COMPRESSOR.fullmatch(variant.compressor):
            raise InternalError(f"compressor {variant.compressor!r} is not a plain name")
        self._context.check_writable()
        folder = self._context.layout.variants(variant.diff_id)
        document: dict[str, object] = {"format": VARIANT_FORMAT, "descriptor": variant.descriptor.to_json()}
        if variant.elsewhere:
            document["elsewhere"] = variant.elsewhere
        path = folder / f"{variant.compressor}-{variant.level}.json"
        with self._context.lock.shared():
            with disk_errors("noting a layer's variant", folder):
                folder.mkdir(mode=0o755, exist_ok=True)
            replace_file(path, canonical_json(document), staging=self._context.layout.staging)

    def find(self, diff_id: str, compressor: str, level: int) -> Descriptor | None:
        """The descriptor of one form whose blob is there with the right size."""
        return next((v.descriptor for v in self.of(diff_id) if (v.compressor, v.level) == (compressor, level)), None)

    def of(self, diff_id: str) -> tuple[Variant, ...]:
        """All forms of a layer whose blobs are there, sorted by compressor and level."""
        named = self.named(diff_id)
        return tuple(v for v in named if self._blobs.has(v.descriptor.digest, v.descriptor.size))

    def known(self, diff_id: str) -> tuple[Variant, ...]:
        """All forms of a layer that a manifest may name: whose blobs are here, then those that are known elsewhere."""
        named = self.named(diff_id)
        here = [v for v in named if self._blobs.has(v.descriptor.digest, v.descriptor.size)]
        return (*here, *(v for v in named if v.elsewhere and v not in here))

    def named(self, diff_id: str) -> tuple[Variant, ...]:
        """All forms of a layer that are noted, whether or not their blobs are there. No lease is taken."""
        folder = self._context.layout.variants(diff_id)
        found = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for name in sorted(os.listdir(folder)):
                match = _NAME.fullmatch(name)
                variant = self._read(diff_id, match[1], int(match[2])) if match else None
                if variant is not None:
                    found.append(variant)
        return tuple(found)

    def drop(self, variant: Variant) -> None:
        """Forgets one form of a layer; its blob goes with a later collection."""
        folder = self._context.layout.variants(variant.diff_id)
        trash = self._context.discard(folder / f"{variant.compressor}-{variant.level}.json")
        self._context.empty(trash)

    def diff_ids(self) -> tuple[str, ...]:
        """Every layer that has a variant, sorted."""
        return tuple(f"sha256:{name}" for name in sorted(os.listdir(self._context.layout.folder("variants"))))

    def _read(self, diff_id: str, compressor: str, level: int) -> Variant | None:
        path = self._context.layout.variants(diff_id) / f"{compressor}-{level}.json"
        try:
            document = json.loads(path.read_bytes())
            if document["format"] != VARIANT_FORMAT:
                return None
            elsewhere = str(document.get("elsewhere", ""))
            return Variant(diff_id, compressor, level, Descriptor.from_json(document["descriptor"]), elsewhere)
        except (OSError, ValueError, KeyError, TypeError, HostileInputError):
            return None
