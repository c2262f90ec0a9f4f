from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.store import Snapshot, Store
from lamella.store.verify import Finding
from tests.unit.store.samples import fileset_of, open_store, put_image, put_product, put_record

ROOTFS = digest_bytes(b"resolved key of a root file system")


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def kinds(findings: tuple[Finding, ...]) -> list[str]:
    return sorted({finding.kind for finding in findings})


def full_store(store: Store) -> None:
    put_record(store, "one")
    put_image(store, "shop:1")
    diff_id, digest = digest_bytes(b"tar"), store.blobs.put_bytes(b"gz")
    store.variants.put(diff_id, "gzip", 6, Descriptor(media.LAYER_GZIP, digest, 2))
    put_rootfs(store)


def put_rootfs(store: Store) -> Snapshot:
    """A snapshot whose modes and owners were recorded exactly."""
    with store.snapshots.stage() as staged:
        (staged.path / "bin").mkdir(mode=0o755)
        (staged.path / "bin" / "tool").write_bytes(b"tool")
        (staged.path / "bin" / "tool").chmod(0o755)
        (staged.path / "link").symlink_to("bin/tool")
        me = os.geteuid(), os.getegid()
        fileset = FileSet.of([
            Entry("bin", EntryType.DIRECTORY, 0o755, *me),
            Entry("bin/tool", EntryType.FILE, 0o755, *me, size=4, digest=digest_bytes(b"tool")),
            Entry("link", EntryType.SYMLINK, 0o777, *me, link="bin/tool"),
        ])  # fmt: skip
        return staged.commit(ROOTFS, fileset)


def test_a_sound_store_is_clean(store: Store) -> None:
    full_store(store)
    report = store.verify(deep=True)
    assert report.findings == ()
    assert report.error() is None
    assert report.checked["blob"] == 5
    assert report.checked["snapshot"] == 2
    assert report.read_bytes > 0


@pytest.mark.parametrize("data", [b"shop", b"", b"0ne", b"on", b"ones", bytes(3)])
def test_a_corrupt_blob_is_named_and_put_aside_and_repair_makes_the_store_clean(store: Store, data: bytes) -> None:
    record = put_record(store, "one")
    spoil(store.blobs.path(record.result.tree), data)
    report = store.verify()
    assert kinds(report.findings) == ["blob", "record"]
    assert record.result.tree in {finding.id for finding in report.findings}
    error = report.error()
    assert error is not None
    assert error.exit_code == 3
    assert not store.blobs.has(record.result.tree)
    done = store.repair()
    assert kinds(done.done) == ["record"]
    assert done.records == 0
    assert store.verify().clean
    assert store.records.find(record.key) is None


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_what_is_no_regular_file_is_found_and_repaired(store: Store, tmp_path: Path, kind: str) -> None:
    path = store.blobs.path(digest_bytes(b"x"))
    if kind == "symlink":
        path.symlink_to(tmp_path / "canary")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert kinds(store.verify().findings) == ["blob"]
    store.repair()
    assert store.verify().clean


CHANGES = ["content", "same size", "added", "added folder", "removed", "mode", "link", "type", "owner"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_snapshot_is_found_by_a_deep_verification_with_its_path(store: Store, change: str) -> None:
    """RELIABILITY row 21."""
    if change == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a file away, and only root sees owners as they are")
    tree = put_rootfs(store).path
    path, what = "bin/tool", change
    match change:
        case "content":
            (tree / path).write_bytes(b"longer content")
        case "same size":
            (tree / path).write_bytes(b"t00l")
            what = "content"
        case "added":
            path = "new"
            (tree / path).write_bytes(b"")
        case "added folder":
            path, what = "new", "added"
            (tree / path).mkdir()
        case "removed":
            (tree / path).unlink()
        case "mode":
            (tree / path).chmod(0o4755)
        case "link":
            path = "link"
            (tree / path).unlink()
            (tree / path).symlink_to("/etc/passwd")
        case "type":
            (tree / path).unlink()
            (tree / path).mkdir()
        case "owner":
            os.chown(tree / path, 1234, 1234)
    assert store.verify().clean, "only a deep verification reads the files of snapshots"
    findings = store.verify(deep=True).findings
    assert findings[0].id == ROOTFS
    assert f"{path} ({what})" in findings[0].what
    assert store.snapshots.find(ROOTFS) is None
    assert store.verify(deep=True).clean


def test_of_a_product_only_what_was_recorded_counts(store: Store) -> None:
    product = put_product(store, {"tool": b"x"})
    (product.path / "tool").chmod(0o600)
    assert store.verify(deep=True).clean
    (product.path / "tool").chmod(0o755)
    assert "tool (mode)" in store.verify(deep=True).findings[0].what


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes need root")
def test_whiteouts_and_opaque_folders_are_known(store: Store) -> None:
    with store.snapshots.stage() as staged:
        for name in ("gone", "harmless"):
            os.mknod(staged.path / name, stat.S_IFCHR | 0o000, os.makedev(0, 0))
        (staged.path / "new").mkdir()
        fileset = FileSet.of([Entry("gone", EntryType.WHITEOUT, 0), Entry("new", EntryType.OPAQUE, 0o755)])
        snapshot = staged.commit(ROOTFS, fileset)
    assert store.verify(deep=True).clean
    (snapshot.path / "gone").unlink()
    assert "gone (removed)" in store.verify(deep=True).findings[0].what


def test_many_changes_are_counted(store: Store) -> None:
    product = put_product(store, {f"f{number}": b"x" for number in range(30)})
    for path in product.path.iterdir():
        path.write_bytes(b"changed")
    assert "and 10 more" in store.verify(deep=True).findings[0].what


def test_a_half_snapshot_is_found(store: Store) -> None:
    (store.layout.snapshot(ROOTFS) / "fs").mkdir(parents=True)
    (store.layout.folder("snapshots") / "stranger").mkdir()
    assert [finding.id for finding in store.verify().findings] == [ROOTFS, "stranger"]
    store.repair()
    assert store.verify().clean


def test_dangling_names_are_found_and_dropped(store: Store) -> None:
    full_store(store)
    for digest, _ in list(store.blobs.all()):
        store.blobs.path(digest).unlink()
    assert kinds(store.verify().findings) == ["image", "record", "variant"]
    done = store.repair()
    assert kinds(done.done) == ["image", "record", "variant"]
    assert store.verify().clean
    assert store.images.list() == ()


@pytest.mark.parametrize("data", [b"", b"\0\0", b"{}", b'{"schemaVersion":2,"manifests":[{}]}'])
def test_a_damaged_list_of_images_is_put_aside(store: Store, data: bytes) -> None:
    put_image(store, "shop:1")
    (store.layout.oci / "index.json").write_bytes(data)
    (store.layout.oci / "oci-layout").unlink()
    assert kinds(store.verify().findings) == ["image", "layout"]
    store.repair()
    assert store.verify().clean
    assert store.images.list() == ()
    put_image(store, "shop:1")
    assert [image.name for image in store.images.list()] == ["shop:1"]


def test_repairing_a_sound_store_changes_nothing(store: Store) -> None:
    full_store(store)
    before = [store.images.list(), list(store.records.all()), list(store.blobs.all())]
    assert store.repair().done == ()
    assert [store.images.list(), list(store.records.all()), list(store.blobs.all())] == before


def test_what_vanishes_during_a_verification_is_no_finding(store: Store, tmp_path: Path) -> None:
    digest = store.blobs.put_bytes(b"x")
    with open_store(tmp_path / "store") as other:
        entries = other.blobs.entries()
        store.blobs.path(digest).unlink()
        assert list(entries) == []
    assert store.blobs.check(digest) == ""


def test_a_verification_of_the_index_names_rows_without_records(store: Store) -> None:
    record = put_record(store, "one")
    store.index()._file._connection.execute("UPDATE record SET key = ?, shard = 'zz'", (digest_bytes(b"other"),))
    assert kinds(store.verify().findings) == ["index"]
    store.repair()
    assert store.verify().clean
    assert store.records.latest("shop", "app") == record


def test_a_product_that_is_gone_from_disk_but_not_from_its_record(store: Store) -> None:
    product = put_product(store, {"a": b"1"})
    assert fileset_of({"a": b"1"}).digest == product.id
    (product.path / "a").unlink()
    assert "a (removed)" in store.verify(deep=True).findings[0].what
