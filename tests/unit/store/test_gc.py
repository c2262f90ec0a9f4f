from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import IntegrityError, StoreBusyError
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Index
from lamella.store import Store
from lamella.store.collection import GcPolicy
from lamella.store.leases import live_objects
from lamella.testing.clock import FixedClock
from tests.unit.store.samples import DAY, layer_result, open_store, put_image, put_product, put_record, record_of

NOW_AND_ALL = GcPolicy(keep=0, latest=False, grace=0)
"""Takes everything that nothing holds."""


def aged(store: Store) -> None:
    """Lets go of what this store object itself holds on to."""
    store._context.leases.close()


def test_what_nothing_needs_goes_and_the_rest_stays(store: Store, clock: FixedClock) -> None:
    record, manifest = put_record(store, "kept"), put_image(store, "shop:1")
    loose, loose_tree = store.blobs.put_bytes(b"loose" * 100), put_product(store, {"x": b"loose"})
    aged(store)
    clock.advance(2 * DAY)
    report = store.gc()
    assert {removal.id for removal in report.removed} == {loose, loose_tree.id}
    assert report.freed_bytes >= 500
    assert not store.blobs.has(loose)
    assert store.snapshots.find(loose_tree.id) is None
    assert store.records.find(record.key) == record
    assert store.blobs.read(manifest.layers[0].digest) == b"layer"
    assert store.verify().clean
    assert os.listdir(store.layout.trash) == []


def test_a_dry_run_takes_nothing(store: Store) -> None:
    digest = store.blobs.put_bytes(b"loose")
    aged(store)
    report = store.gc(NOW_AND_ALL, dry_run=True)
    assert [removal.id for removal in report.removed] == [digest]
    assert report.dry_run
    assert store.blobs.has(digest)


def test_the_grace_protects_what_nobody_refers_to_yet(store: Store, clock: FixedClock) -> None:
    store.blobs.put_bytes(b"young")
    aged(store)
    clock.advance(DAY - 100)
    assert store.gc().removed == ()
    clock.advance(200)
    assert len(store.gc().removed) == 1


def test_everything_of_an_image_family_stays(store: Store) -> None:
    one, two = put_image(store, "one"), put_image(store, "two", b"other layer")
    index = Index((one.descriptor(), two.descriptor()))
    digest = store.blobs.put_bytes(index.to_bytes())
    store.images.tag("both", Descriptor(media.IMAGE_INDEX, digest, len(index.to_bytes())))
    store.images.untag("one")
    store.images.untag("two")
    aged(store)
    assert store.gc(NOW_AND_ALL).removed == ()
    store.images.untag("both")
    aged(store)
    assert len(store.gc(NOW_AND_ALL).removed) == 7
    assert list(store.blobs.all()) == []


def test_a_record_keeps_all_forms_of_its_layers_its_output_and_its_base(store: Store) -> None:
    layer = layer_result(store, b"tar")
    small, log, base = (store.blobs.put_bytes(data) for data in (b"zst", b"output", b"base manifest"))
    store.variants.put(layer.diff_id, "zstd", 3, Descriptor(media.LAYER_ZSTD, small, 3))
    record = record_of("one", layers=(layer,))
    object.__setattr__(record, "log", log)
    store.records.put(record, also=[base])
    aged(store)
    assert store.gc(GcPolicy(grace=0)).removed == ()
    aged(store)
    store.gc(NOW_AND_ALL)
    assert list(store.blobs.all()) == []
    assert store.variants.diff_ids() == ()


def test_pinned_objects_stay(store: Store) -> None:
    digest = store.blobs.put_bytes(b"pinned")
    record = put_record(store, "pinned record")
    store.pins.put("mine", [("blob", digest), ("record", record.key)])
    aged(store)
    store.gc(NOW_AND_ALL)
    assert store.blobs.has(digest)
    assert store.records.find(record.key) == record


def test_what_was_read_or_written_under_a_lease_stays(store: Store, tmp_path: Path) -> None:
    old, tree, record = store.blobs.put_bytes(b"old"), put_product(store, {"a": b"1"}), put_record(store, "r")
    aged(store)
    with open_store(tmp_path / "store") as builder, builder.lease("build shop"):
        assert builder.blobs.has(old)
        assert builder.snapshots.find(tree.id) is not None
        assert builder.records.find(record.key) == record
        new = builder.blobs.put_bytes(b"new")
        store.gc(NOW_AND_ALL)
        assert builder.blobs.read(old) == b"old"
        assert builder.blobs.read(new) == b"new"
        assert (tree.path / "a").read_bytes() == b"1"
        assert builder.records.find(record.key) == record
    store.gc(NOW_AND_ALL)
    assert list(store.blobs.all()) == []
    assert list(store.snapshots.all()) == []
    assert list(store.records.all()) == []


def test_work_outside_a_lease_is_held_until_the_store_is_closed(tmp_path: Path, store: Store) -> None:
    with open_store(tmp_path / "store") as other:
        digest = other.blobs.put_bytes(b"data")
        store.gc(NOW_AND_ALL)
        assert other.blobs.read(digest) == b"data"
    store.gc(NOW_AND_ALL)
    assert not store.blobs.has(digest)


def test_a_stage_survives_a_collection(store: Store) -> None:
    with store.snapshots.stage() as staged, store.blobs.writer() as out:
        (staged.path / "a").write_bytes(b"1")
        out.write(b"x" * 200_000)
        store.gc(NOW_AND_ALL)
        assert (staged.path / "a").read_bytes() == b"1"
        digest, _ = out.commit()
        assert store.blobs.has(digest)


HOLDER = """
import sys, time
from pathlib import Path
from lamella.store import Store
with Store.open(Path(sys.argv[1])) as store, store.lease("build"):
    store.blobs.put_bytes(sys.argv[2].encode())
    print("ready", flush=True)
    sys.stdin.readline()
    print(store.blobs.read(sys.argv[3]) == sys.argv[2].encode(), flush=True)
"""


def holder(root: Path, text: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(root), text, digest_bytes(text.encode())]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_stopped_holder_keeps_its_objects_and_a_killed_one_does_not(store: Store, clock: FixedClock) -> None:
    """RELIABILITY row 15: kernel locks decide, no clock."""
    stopped, killed = holder(store.root, "stopped"), holder(store.root, "killed")
    stopped.send_signal(signal.SIGSTOP)
    killed.kill()
    killed.communicate()
    for jump in (10 * DAY, -20 * DAY, 400 * DAY):
        clock.advance(jump)
        store.gc(NOW_AND_ALL)
    assert not store.blobs.has(digest_bytes(b"killed"))
    stopped.send_signal(signal.SIGCONT)
    assert stopped.communicate("go on\n")[0] == "True\n"
    assert live_objects(store.layout.folder("leases")) <= {("blob", digest_bytes(b"killed"))}
    assert len(os.listdir(store.layout.folder("leases"))) <= 1


def test_held_states_are_spared_and_named(store: Store, clock: FixedClock) -> None:
    with store.states.hold("busy"), store.caches.hold("idle"):
        pass
    clock.advance(40 * DAY)
    with store.states.hold("busy", timeout=1) as path:
        os.utime(path.parent / "about", (0, 0))
        report = store.gc()
        assert [removal.kind for removal in report.busy] == ["state"]
        assert [removal.kind for removal in report.removed] == ["cache"]
        assert path.exists()


def test_a_size_limit_counts_states(store: Store, clock: FixedClock) -> None:
    with store.states.hold("large") as path:
        (path / "file").write_bytes(b"x" * 1_000_000)
    clock.advance(7200)
    record = put_record(store, "small")
    store.records.find(record.key)
    aged(store)
    report = store.gc(GcPolicy(max_size=500_000))
    assert [removal.kind for removal in report.removed] == ["state"]
    assert report.kept_bytes < 500_000
    assert store.records.find(record.key) == record


def test_old_quarantine_logs_scans_and_idle_lock_files_go(store: Store, clock: FixedClock) -> None:
    for folder in ("quarantine", "logs", "scan"):
        (store.layout.folder(folder) / "old").write_bytes(b"x")
    with store.key_lock("sha256:old"):
        pass
    with store.key_lock("sha256:busy"):
        clock.advance(60 * DAY)
        store.gc()
        locks = [name for name in os.listdir(store.layout.folder("locks")) if name.startswith("key-")]
        assert len(locks) == 1
        with pytest.raises(StoreBusyError), store.key_lock("sha256:busy", timeout=0):
            pass
    assert os.listdir(store.layout.folder("quarantine")) == []
    assert os.listdir(store.layout.folder("scan")) == []
    assert os.listdir(store.logs) == []


def test_a_dead_runs_lease_goes_when_the_store_is_opened(store: Store) -> None:
    process = holder(store.root, "killed")
    process.kill()
    process.communicate()
    open_store(store.root).close()
    assert os.listdir(store.layout.folder("leases")) == []


def test_a_corrupt_list_of_images_takes_no_image_away(store: Store) -> None:
    put_image(store, "shop:1")
    (store.layout.oci / "index.json").write_bytes(b"")
    aged(store)
    with pytest.raises(IntegrityError, match="is not an image index"):
        store.gc(NOW_AND_ALL)
    assert len(list(store.blobs.all())) == 3
