"""RELIABILITY rows 3, 8, 9, 12, 18: a power cut, full disks, too few descriptors, stores that may only be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lamella.errors import ConfigError, IntegrityError, ResourceError
from lamella.store import Store
from lamella.store.collection import GcPolicy
from tests.integration.components.presence import require_program, require_root
from tests.integration.components.tools import run_tool
from tests.integration.store.mounts import loop_mounted, new_image, remount, tmpfs
from tests.unit.store.samples import fileset_of, open_store, put_image, put_product, put_record

MIB = 1 << 20


def used(point: Path) -> int:
    status = os.statvfs(point)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def fill(store: Store) -> int:
    """Puts records until no more go in; how many did."""
    for number in range(10_000):
        try:
            put_record(store, f"r{number}", name=f"n{number}")
        except ResourceError:
            return number
    raise AssertionError("the file system is too large to be filled")


def put_blobs(store: Store, count: int) -> None:
    """Blobs of one inode each: a record needs more of them, so some may be left when none goes in any more."""
    for number in range(count):
        store.blobs.put_bytes(b"%d more" % number)


def test_a_full_disk_is_told_with_what_is_needed_and_free_and_nothing_is_left(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "size=4m") as point:
        with open_store(point / "store") as store:
            record = put_record(store, "kept")
            before = used(point)
            for data in (os.urandom(8 * MIB), os.urandom(16 * MIB)):
                with pytest.raises(
                    ResourceError, match=rf"no space left .*\({len(data)} bytes needed, \d+ bytes free\)"
                ):
                    store.blobs.put_bytes(data)
                assert used(point) == before
            with store.snapshots.stage() as staged, pytest.raises(OSError, match="No space"):
                (staged.path / "large").write_bytes(bytes(8 * MIB))
            assert used(point) == before
            store.gc(GcPolicy(grace=0))
            put_record(store, "another")
            assert store.records.find(record.key) == record
        with open_store(point / "store") as store:
            assert store.verify(deep=True).clean


def test_a_disk_that_fills_up_by_many_small_things_leaves_a_store_that_works(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "size=2m") as point:
        with open_store(point / "store") as store:
            assert fill(store) > 10
        with open_store(point / "store") as store:
            assert store.verify().clean
            report = store.gc(GcPolicy(max_size=20_000))
            assert report.freed_bytes > 0
            put_record(store, "after")
            assert store.verify().clean


def test_used_up_inodes_are_told_as_such(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "size=8m,nr_inodes=70") as point, open_store(point / "store") as store:
        fill(store)
        with pytest.raises(ResourceError, match=r"no inodes left .*0 of 70 free"):
            put_blobs(store, 10)
        with pytest.raises(ResourceError, match="no inodes left"):
            store.snapshots.stage()
        with pytest.raises(ResourceError, match=r"lock file .* no space"), store.states.hold("s"):
            pass
        assert list(store.layout.staging.iterdir()) == []
        store._context.leases.close()
        assert store.gc(GcPolicy(keep=0, latest=False, grace=0)).freed_bytes > 0
        put_record(store, "after")


def test_a_store_for_which_there_are_not_enough_inodes_is_not_half_made(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "size=8m,nr_inodes=12") as point:
        with pytest.raises(ResourceError, match="no inodes left"):
            open_store(point / "store")
        remount(point, "nr_inodes=200")
        with open_store(point / "store") as store:
            put_record(store, "one")
            assert store.verify().clean


MANY_THREADS = """
import resource, sys, threading
from pathlib import Path
from lamella.errors import ResourceError
from lamella.store import Store
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
told = []
with Store.open(Path(sys.argv[1])) as store, store.lease("many"):
    def work(number):
        try:
            for turn in range(5):
                with store.blobs.writer() as out, store.states.hold(f"s{number}"):
                    out.write(b"%d %d" % (number, turn))
                    out.commit()
        except ResourceError as error:
            told.append(error.message)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
with Store.open(Path(sys.argv[1])) as store:
    assert store.verify().clean
assert all("descriptor" in text or "open files" in text for text in told), told
print("well")
"""


def test_too_few_descriptors_give_a_clear_error_and_a_whole_store(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANY_THREADS, str(tmp_path / "store")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("well\n", "")


def test_a_store_on_a_read_only_medium_can_be_used_for_reading(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "medium", "size=8m") as point:
        with open_store(point / "store") as store:
            record, manifest = put_record(store, "one"), put_image(store, "shop:1")
            product = put_product(store, {"a": b"1"})
            spoiled = store.blobs.put_bytes(b"spoiled")
            store.blobs.path(spoiled).chmod(0o644)
            store.blobs.path(spoiled).write_bytes(b"sp0iled")
        remount(point, "ro")
        with open_store(point / "store") as store, store.lease("reading") as lease:
            assert store.read_only
            assert lease is None
            assert store.records.find(record.key) == record
            assert store.records.latest("shop", "app") == record
            assert store.lookup.fileset(product.id) == fileset_of({"a": b"1"})
            assert store.images.resolve("shop:1") is not None
            with store.blobs.open(manifest.layers[0].digest) as file:
                assert file.read() == b"layer"
            with pytest.raises(IntegrityError):
                store.blobs.open(spoiled)
            assert [finding.id for finding in store.verify(deep=True).findings] == [spoiled]
            assert store.status().size > 0
            for write in (
                lambda: store.blobs.put_bytes(b"new"),
                store.snapshots.stage,
                lambda: store.images.untag("shop:1"),
                lambda: store.records.put(record),
                store.gc,
                store.repair,
                lambda: store.states.hold("s").__enter__(),
                lambda: store.key_lock("k").__enter__(),
            ):
                with pytest.raises(ConfigError, match="can only be read"):
                    write()


OTHER_USER = """
import os, sys
from pathlib import Path
from lamella.errors import LamellaError
from lamella.store import Store
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    Store.open(Path(sys.argv[1]))
except LamellaError as error:
    print(error.exit_code, error.message, "|", error.hint)
"""


def test_another_users_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    require_root()
    open_store(tmp_path / "store").close()
    done = subprocess.run(
        [sys.executable, "-c", OTHER_USER, str(tmp_path / "store")], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"2 the store {tmp_path / 'store'} cannot be read | set LAMELLA_STORE"), done.stderr


COMMITTER = """
import sys
from pathlib import Path
from lamella.store import Store
from tests.unit.store.samples import put_product, put_record, put_image
with Store.open(Path(sys.argv[1])) as store:
    for number in range(20):
        record = put_record(store, f"r{number}", name=f"n{number}")
        put_image(store, f"i{number}", b"layer %d" % number)
        big = store.blobs.put_bytes((b"%d" % number) * 50_000)
        tree = put_product(store, {f"f{n}": b"%d" % (n * number) * 100 for n in range(20)})
        print(record.key, big, tree.id, f"i{number}", flush=True)
"""


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_after_a_power_cut_everything_that_was_reported_is_whole(tmp_path: Path, kind: str) -> None:
    """RELIABILITY row 3: the image is copied as the disk has it, without a sync, while the file system is in use."""
    require_root()
    image, copy = tmp_path / "disk", tmp_path / "copy"
    new_image(image, kind, 320 * MIB)
    reported = []
    with loop_mounted(image, tmp_path / "mount") as point:
        command = [sys.executable, "-c", COMMITTER, str(point / "store")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                reported.append(line.split())
                if len(reported) == 13:
                    process.send_signal(signal.SIGSTOP)  # or the copy would be of no one moment
                    run_tool(["cp", "--sparse=always", str(image), str(copy)])
                    process.kill()
                    break
    if kind == "ext4":
        subprocess.run([require_program("e2fsck", "e2fsprogs"), "-p", str(copy)], check=False, capture_output=True)
    with loop_mounted(copy, tmp_path / "after") as point, open_store(point / "store") as store:
        for key, big, tree, name in reported:
            check_whole(store, key, big, tree, name)
        assert store.verify(deep=True).findings == ()


def check_whole(store: Store, key: str, big: str, tree: str, name: str) -> None:
    assert store.records.find(key) is not None
    assert store.blobs.read(big)
    assert store.snapshots.find(tree) is not None
    assert store.images.resolve(name) is not None
