"""The store as the ``Lookup`` that planning and engines are handed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from lamella.errors import HostileInputError, IntegrityError
from lamella.store.blobs import Blobs
from lamella.store.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamella.graph.facts import BaseFacts
    from lamella.graph.fileset import FileSet
    from lamella.graph.record import Record

__all__ = ["StoreLookup"]


class StoreLookup:
    """``graph.protocols.Lookup`` over one store. What is missing or broken is a miss, never an error."""

    def __init__(self, records: Records, blobs: Blobs) -> None:
        self._records = records
        self._blobs = blobs
        self._filesets = lru_cache(maxsize=512)(self._load_fileset)
        self._facts = lru_cache(maxsize=128)(self._load_facts)

    def prefetch(self, keys: tuple[str, ...], worth: Callable[[str], bool]) -> None:
        """Nothing: what is here is found at once."""

    def record(self, key: str) -> Record | None:
        """The record of a resolved key whose objects are all there."""
        return self._records.find(key)

    def latest(self, project: str, name: str) -> Record | None:
        """The newest record of a vertex name in a project."""
        return self._records.latest(project, name)

    def fileset(self, digest: str) -> FileSet | None:
        """A stored file set."""
        try:
            return self._filesets(digest)
        except (IntegrityError, HostileInputError):
            return None

    def facts(self, digest: str) -> BaseFacts | None:
        """Stored base facts."""
        try:
            return self._facts(digest)
        except (IntegrityError, HostileInputError):
            return None

    def _load_fileset(self, digest: str) -> FileSet:
        from lamella.graph.fileset import parse_fileset

        return parse_fileset(self._blobs.read(digest))

    def _load_facts(self, digest: str) -> BaseFacts:
        from lamella.graph.facts_format import parse_facts

        return parse_facts(self._blobs.read(digest))
