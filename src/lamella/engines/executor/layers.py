"""Writes layer blobs into the store: one pass over the files gives diff_id, blob and variant."""

from __future__ import annotations

from lamella.graph.fileset import FileSet
from lamella.graph.record import LayerResult
from lamella.layers.compress import CompressingWriter, default_level
from lamella.layers.content import Content
from lamella.layers.tar import write_layer
from lamella.store.store import Store
from lamella.values import dataclass

__all__ = ["LayerWriter"]


@dataclass(frozen=True, slots=True)
class LayerWriter:
    """Writes layers into a store; ``mtime`` is every member's time."""

    store: Store
    mtime: int = 0

    def write(
        self, fileset: FileSet, content: Content, links: tuple[tuple[str, ...], ...] = (), compressor: str = "gzip"
    ) -> tuple[LayerResult, int]:
        """The layer of a file set, and the bytes of its blob; the blob and its variant are in the store.

        It is compressed by ``compressor`` at its default level.
        """
        with self.store.blobs.writer() as out:
            with CompressingWriter(out, compressor) as compressing:
                layer = write_layer(fileset, content, compressing, mtime=self.mtime, links=links)
            made = compressing.result
            out.commit(made.descriptor.digest, made.descriptor.size)
        self.store.variants.put(made.diff_id, compressor, default_level(compressor), made.descriptor)
        return layer, made.descriptor.size
