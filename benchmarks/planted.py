"""A store in which a project counts as built: records without anything having run. For measuring plans of large trees.

``plant(file, store)`` walks the plan of the project and puts a made-up result for every vertex that is missing, until
nothing is.
"""

from __future__ import annotations

import os
from pathlib import Path

from lamella.api import Session, SessionOptions, open_session
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap, canonical_json, digest_value
from lamella.graph.facts_format import facts_to_bytes
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.graph.keys import rootfs_identity
from lamella.graph.record import Record, Result
from lamella.planning.plan import PlannedVertex
from lamella.testing.engine import FACTS

ROUNDS = 100


def plant(file: Path, store: Path) -> int:
    """The number of records that were put."""
    options = SessionOptions(store=store, environ=FrozenMap(dict(os.environ)))
    planted = 0
    with open_session(file, file.parent, options) as session:
        for _ in range(ROUNDS):
            missing = session.plan(Selection()).of_status("build")
            if not missing:
                return planted
            for vertex in missing:
                _put(session, vertex)
            planted += len(missing)
    raise SystemExit(f"{file}: still something to build after {ROUNDS} rounds")


def _put(session: Session, vertex: PlannedVertex) -> None:
    if vertex.parts is None:
        raise SystemExit(f"{vertex.name} has no key")
    store, key = session.store, vertex.key
    product = FileSet.of([Entry("out", EntryType.FILE, 0o755, size=1, digest=digest_value(key))])
    packages = store.blobs.put_bytes(canonical_json({"packages": vertex.name}))
    result = Result(
        key,
        tree=store.blobs.put_bytes(product.to_bytes()),
        identity=rootfs_identity(key, packages),
        packages=packages,
        facts=store.blobs.put_bytes(facts_to_bytes(FACTS)),
    )
    now = session.clock.now()
    store.records.put(Record(key, vertex.name, session.project.name, vertex.parts, result, "1.000", now))
