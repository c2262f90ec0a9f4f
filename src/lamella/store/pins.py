"""Pins: named sets of objects that no collection takes, for what no image and no record names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lamella.canonical import canonical_json
from lamella.commit import replace_file
from lamella.errors import IntegrityError
from lamella.oci.digest import check_digest
from lamella.store.context import Context
from lamella.store.layout import id_name

__all__ = ["Pins"]


class Pins:
    """All pins of one store. Objects are (kind, id) with kind blob, snapshot or record."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def put(self, name: str, objects: Iterable[tuple[str, str]]) -> None:
        """Pins objects under a name, in place of what that name pinned before."""
        self._context.check_writable()
        rows = sorted((kind, check_digest(identity)) for kind, identity in objects)
        path = self._context.layout.folder("pins") / f"{id_name(name)}.json"
        with self._context.lock.shared():
            replace_file(path, canonical_json({"name": name, "objects": rows}), staging=self._context.layout.staging)

    def remove(self, name: str) -> bool:
        """Removes a pin; false for an unknown name."""
        self._context.check_writable()
        trash = self._context.discard(self._context.layout.folder("pins") / f"{id_name(name)}.json")
        self._context.empty(trash)
        return trash is not None

    def displace_broken(self) -> tuple[str, ...]:
        """Puts pins that cannot be read into quarantine; gives their names on disk."""
        folder = self._context.layout.folder("pins")
        broken = []
        for name in sorted(os.listdir(folder)):
            try:
                _read(folder / name)
            except (OSError, ValueError, KeyError, TypeError):
                if self._context.quarantine(folder / name, "pin") is not None:
                    broken.append(name)
        return tuple(broken)

    def all(self) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
        """Every pin's name and objects; raises IntegrityError for one that cannot be read."""
        folder = self._context.layout.folder("pins")
        for name in sorted(os.listdir(folder)):
            try:
                yield _read(folder / name)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise IntegrityError(
                    f"pin {folder / name} cannot be read: {error}", hint="run `lamella cache repair`"
                ) from error


def _read(path: Path) -> tuple[str, tuple[tuple[str, str], ...]]:
    document = json.loads(path.read_bytes())
    return str(document["name"]), tuple((str(kind), str(one)) for kind, one in document["objects"])
