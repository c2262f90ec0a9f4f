"""RELIABILITY rows 14 and 19: builds, collections, listings and verifications in one store at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lamella.store import Store
from tests.unit.store.samples import open_store, put_image

SECONDS = 6
BUILDERS = 8

BUILDER = """
import random, sys, time
from pathlib import Path
from lamella.store import Store
from tests.unit.store.samples import parts_of, put_record, put_image
root, seed, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
rng, end, turns, hits = random.Random(seed), time.monotonic() + seconds, 0, 0
while time.monotonic() < end:
    with Store.open(root) as store, store.lease("build"):
        used = []
        for _ in range(5):
            text = str(rng.randrange(60))
            key = parts_of(text).key
            record = store.records.find(key)
            hits += record is not None
            if record is None:
                with store.key_lock(key, timeout=60):
                    record = store.records.find(key) or put_record(store, text, name=text)
            used.append((text, record))
        with store.states.hold(str(rng.randrange(3)), timeout=60) as state:
            (state / str(seed)).write_text("x")
        put_image(store, f"image-{seed}", b"%d" % rng.randrange(5))
        time.sleep(rng.random() / 50)
        for text, record in used:  # whatever was found or made under the lease must still be there
            assert store.records.find(record.key) is not None, "record gone"
            assert store.lookup.fileset(record.result.tree) is not None, "file set gone"
            snapshot = store.snapshots.find(record.result.tree)
            assert (snapshot.path / "out").read_text() == text, "snapshot gone"
        image = store.images.resolve(f"image-{seed}")
        assert store.blobs.read(image.digest)
    turns += 1
print(turns, hits)
"""

COLLECTOR = """
import sys, time
from pathlib import Path
from lamella.store import Store
from lamella.store.collection import GcPolicy
end, removed = time.monotonic() + float(sys.argv[3]), 0
with Store.open(Path(sys.argv[1])) as store:
    while time.monotonic() < end:
        removed += len(store.gc(GcPolicy(keep=0, latest=False, grace=0)).removed)
print(removed)
"""

WATCHER = """
import sys, time
from pathlib import Path
from lamella.store import Store
end = time.monotonic() + float(sys.argv[3])
with Store.open(Path(sys.argv[1])) as store:
    while time.monotonic() < end:
        assert store.status().size > 0
        assert [f for f in store.verify(deep=True).findings if f.kind in ("blob", "snapshot", "layout", "pin")] == []
        [store.records.latest("shop", str(n)) for n in range(60)]
print("well")
"""


def start(code: str, root: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(root), str(seed), str(SECONDS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (0, "")
    return out


def test_collections_during_builds_take_nothing_that_a_build_uses(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with open_store(root) as store:
        put_image(store, "kept")
    builders = [start(BUILDER, root, seed) for seed in range(BUILDERS)]
    others = [start(COLLECTOR, root, 0), start(WATCHER, root, 0)]
    turns = [tuple(map(int, finish(process).split())) for process in builders]
    removed = int(finish(others[0]))
    assert finish(others[1]) == "well\n"
    assert all(turn > 0 for turn, _ in turns)
    assert sum(hits for _, hits in turns) > 0
    assert removed > 0
    with Store.open(root) as store:
        assert store.verify(deep=True).findings == ()
        assert store.images.resolve("kept") is not None
        assert list(store.layout.folder("leases").glob("*.lease")) == store_leases(store)


def store_leases(store: Store) -> list[Path]:
    """Of all leases only the one of the store that is just open is left."""
    return [path for path in store.layout.folder("leases").iterdir() if path.stat().st_size]
