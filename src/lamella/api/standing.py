"""The answer of an earlier run, given again while nothing that it depends on has changed.

Planning is a pure function of the project file, the lock, the tree and the records. So when a run found that there is
nothing to do, its answer is kept beside the scan of the tree together with everything it came from, and the next run
compares instead of planning again: the bytes of both files, the state of the tree, the command's arguments, this
program's own files, that every object and name is still there, and every record the very same (a step that ran again
may have made other bytes under its old key, and what stands on it has another key then). What differs, or cannot be
told (a clock, the commit, the host's tools), means that nothing is kept and everything is planned as always. Losing
the files costs time only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella import __version__
from lamella.canonical import EMPTY_MAP, digest_bytes, digest_value
from lamella.commit import replace_file
from lamella.values import dataclass

if TYPE_CHECKING:
    from lamella.sources.worktree import WorkTree
    from lamella.store.store import Store

__all__ = ["Standing", "program_stamp", "question"]

_FORMAT = 3


def question(kind: str, arguments: Mapping[str, Any]) -> str:
    """What is asked, as a digest: the command's name and its arguments, which are values with a canonical form."""
    return digest_value([kind, arguments])


@dataclass(frozen=True, slots=True)
class Standing:
    """One question, asked of one project: ``asked`` is what :func:`question` makes of it.

    ``project`` and ``lock`` are the bytes of both files, ``host`` is this machine's platform.
    """

    store: Store
    root: Path
    asked: str
    project: bytes
    lock: bytes
    host: str

    @property
    def _name(self) -> str:
        """One answer is kept for each project and way of asking."""
        return digest_value([str(self.root), self.asked]).partition(":")[2]

    @property
    def _path(self) -> Path:
        return self.store.scan / f"{self._name}.answer"

    def _question(self) -> str:
        files = [digest_bytes(self.project), digest_bytes(self.lock)]
        return digest_value([_FORMAT, program_stamp(), str(self.root), self.asked, files, self.host])

    def find(self, now: int, open_tree: Callable[[tuple[str, ...], tuple[str, ...]], WorkTree]) -> Any | None:
        """The answer, None when there is none or when it may not hold any more.

        ``now`` is in seconds since the epoch; ``open_tree`` gives the project's tree from the globs that it ignores
        and those that are declared.
        """
        try:
            data = self._path.read_bytes()
            kept = json.loads(data)
            if kept["question"] != self._question() or now >= kept["until"]:
                return None
            tree = open_tree(tuple(kept["ignore"]), tuple(kept["declared"]))
            if tree.recall(self._name) != digest_bytes(data):
                return None
            return kept["answer"] if self._is_there(kept) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _is_there(self, kept: Mapping[str, Any]) -> bool:
        store = self.store
        if not store.records.standing(kept["records"], [(kind, one, size) for kind, one, size in kept["objects"]]):
            return False
        if self._stamps(kept["records"]) != kept["records"]:
            return False
        if not all(store.blobs.has(digest, size) for digest, size in kept["blobs"]):
            return False
        named = {name: store.images.resolve(name) for name in kept["names"]}
        return all(found is not None and found.digest == kept["names"][name] for name, found in named.items())

    def _stamps(self, keys: Iterable[str]) -> dict[str, str]:
        """Digests of records' files by key; OSError when one is not there."""
        return {key: digest_bytes(self.store.layout.record(key).read_bytes()) for key in keys}

    def keep(
        self,
        answer: Any,
        *,
        until: int,
        tree: WorkTree,
        globs: tuple[tuple[str, ...], tuple[str, ...]],
        records: Iterable[str],
        blobs: Iterable[tuple[str, int]] = (),
        names: Mapping[str, str] = EMPTY_MAP,
    ) -> None:
        """Keeps an answer that holds ``until`` that second.

        ``globs`` are the ignored and the declared ones of ``tree``; ``records`` keys, ``blobs`` digests with sizes and
        ``names`` image names with their manifests, all of which have to stay as they are.
        """
        keys = sorted(set(records))
        try:
            stamps = self._stamps(keys)
        except FileNotFoundError:
            return
        objects = self.store.records.objects(keys)
        if objects is None or self.store.read_only:
            return
        data = json.dumps(
            {
                "question": self._question(),
                "until": until,
                "ignore": globs[0],
                "declared": globs[1],
                "records": stamps,
                "objects": objects,
                "blobs": sorted(set(blobs)),
                "names": dict(names),
                "answer": answer,
            }
        ).encode()
        if tree.note(self._name, digest_bytes(data)):
            replace_file(self._path, data, what="keeping an answer")


def program_stamp() -> str:
    """What tells this program from another release or another state of its sources."""
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found: list[tuple[str, int, int]] = []
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    stat = entry.stat()
                    found.append((entry.path, stat.st_size, stat.st_mtime_ns))
                elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                    pending.append(entry.path)
    return digest_bytes(repr((__version__, sorted(found))).encode("utf-8", "surrogateescape"))
