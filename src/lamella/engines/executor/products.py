"""Products as something to read: their file set and where their bytes are, whatever vertex made them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamella.engines.work import Work
from lamella.errors import ConfigError, IntegrityError, InternalError
from lamella.graph.fileset import Entry, FileSet
from lamella.graph.op import InlineOp, SourceOp
from lamella.graph.record import Result
from lamella.host.probes import made_in_this_boot
from lamella.layers.content import Content, bytes_content, directory_content
from lamella.planning.walk import inline_fileset
from lamella.store.store import Store

__all__ = ["Products"]


class Products:
    """Opens products. ``roots`` maps a build context's name to its directory; empty is the project's."""

    def __init__(self, store: Store, roots: dict[str, Path]) -> None:
        self._store = store
        self._roots = roots

    @contextmanager
    def open(self, work: Work, vertex: str, result: Result) -> Iterator[tuple[FileSet, Content]]:
        """A product's file set and content. Raises IntegrityError when its snapshot is gone."""
        op = work.request.definition[vertex].op
        if isinstance(op, InlineOp):
            yield inline_fileset(op), bytes_content({file.path: file.data for file in op.files})
        elif isinstance(op, SourceOp):
            with self._source(work, op, result) as opened:
                yield opened
        else:
            snapshot = self._store.snapshots.find(result.tree)
            if snapshot is None:
                raise IntegrityError(
                    f"the product of {work.request.definition[vertex].info.name} is not in the store any more",
                    hint="run: lamella cache repair, then build again",
                )
            hashed_at = made_in_this_boot(snapshot.folder / "manifest")
            with directory_content(snapshot.path, hashed_at=hashed_at) as content:
                yield snapshot.fileset(), content

    @contextmanager
    def _source(self, work: Work, op: SourceOp, result: Result) -> Iterator[tuple[FileSet, Content]]:
        fileset = work.resolver.source_fileset(op)
        if not work.resolver.check_source(fileset, op, result.tree):
            raise ConfigError(
                f"files of {work.vertex.info.name} changed while they were built", hint="run the build again"
            )
        with directory_content(self.source_root(op)) as content:

            def original(entry: Entry) -> object:
                return content(_at(entry, op.strip))

            yield fileset, original if op.strip else content  # type: ignore[misc]

    def source_root(self, op: SourceOp) -> Path:
        """The directory of a source's build context."""
        root = self._roots.get(op.context)
        if root is None:
            raise InternalError(f"no build context {op.context!r}")
        return root


def _at(entry: Entry, prefix: str) -> Entry:
    """The entry at the place where its file lies in the project."""
    return Entry(f"{prefix}/{entry.path}", entry.type, entry.mode, size=entry.size, digest=entry.digest)
