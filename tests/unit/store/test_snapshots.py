from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import HostileInputError, IntegrityError, SandboxError
from lamella.graph.fileset import EMPTY_FILESET
from lamella.store import Store
from tests.unit.store.samples import fileset_of, open_store, put_product

FILES = {"a": b"1", "b": b"22"}
KEY = digest_bytes(b"a resolved key")


def test_a_committed_snapshot_is_found_with_its_files(store: Store) -> None:
    made = put_product(store, FILES)
    found = store.snapshots.find(made.id)
    assert found == made
    assert found.fileset() == fileset_of(FILES)
    assert (found.path / "b").read_bytes() == b"22"
    assert (found.size, found.entries) == (3, 2)
    assert [one.id for one in store.snapshots.all()] == [made.id]
    assert os.listdir(store.layout.staging) == []


def test_until_its_commit_a_snapshot_does_not_exist(store: Store) -> None:
    with store.snapshots.stage() as staged:
        (staged.path / "a").write_bytes(b"1")
        assert store.snapshots.find(KEY) is None
    assert os.listdir(store.layout.staging) == []
    assert os.listdir(store.layout.trash) == []


def test_of_two_commits_of_one_id_the_first_stays(store: Store) -> None:
    for text in (b"first", b"second"):
        with store.snapshots.stage() as staged:
            (staged.path / "a").write_bytes(text)
            snapshot = staged.commit(KEY, fileset_of({"a": text}))
        assert (snapshot.path / "a").read_bytes() == b"first"
    assert os.listdir(store.layout.staging) == []


def test_what_lies_beside_the_tree_is_not_committed(store: Store) -> None:
    with store.snapshots.stage() as staged:
        (staged.folder / "work" / "work").mkdir(parents=True, mode=0o000)
        snapshot = staged.commit(KEY, EMPTY_FILESET)
    assert sorted(os.listdir(snapshot.folder)) == ["fs", "manifest", "meta"]


def test_a_removed_snapshot_is_gone_with_its_bytes(store: Store) -> None:
    made = put_product(store, FILES)
    assert store.snapshots.remove(made.id)
    assert store.snapshots.find(made.id) is None
    assert not store.snapshots.remove(made.id)
    assert os.listdir(store.layout.trash) == []


@pytest.mark.parametrize(
    "damage", ["no meta", "no fs", "no manifest", "short manifest", "garbage", "newer", "other id"]
)
def test_one_that_is_not_whole_does_not_exist_and_is_made_anew(store: Store, damage: str) -> None:
    made = put_product(store, FILES)
    folder = made.folder
    for name in ("meta", "manifest"):
        (folder / name).chmod(0o644)
    match damage:
        case "no meta" | "no manifest":
            (folder / damage.removeprefix("no ")).unlink()
        case "no fs":
            shutil.rmtree(folder / "fs")
        case "short manifest":
            (folder / "manifest").write_bytes(b"{")
        case "garbage":
            (folder / "meta").write_bytes(b"\0\0")
        case "newer":
            (folder / "meta").write_text((folder / "meta").read_text().replace('"format":1', '"format":2'))
        case "other id":
            (folder / "meta").write_text((folder / "meta").read_text().replace(made.id[-8:], "00000000", 2))
    assert store.snapshots.find(made.id) is None
    assert put_product(store, FILES).id == made.id
    assert os.listdir(store.layout.folder("quarantine"))[0].startswith("snapshot-")


def test_a_manifest_with_other_bytes_is_an_integrity_error(store: Store) -> None:
    made = put_product(store, FILES)
    manifest = made.folder / "manifest"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes().replace(b'"a"', b'"c"'))
    with pytest.raises(IntegrityError):
        made.fileset()


def test_an_id_is_a_digest_and_nothing_else(store: Store) -> None:
    with pytest.raises(HostileInputError):
        store.snapshots.find("../../etc")


def test_the_remover_that_was_set_deletes_trees(store: Store) -> None:
    deleted: list[Path] = []

    def remover(path: Path) -> None:
        deleted.append(path)
        shutil.rmtree(path)

    store.set_remover(remover)
    made = put_product(store, FILES)
    store.snapshots.remove(made.id)
    assert [path.parent for path in deleted] == [store.layout.trash] * len(deleted)
    assert len(deleted) == 1


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), SandboxError("no id mapping")])
def test_what_a_remover_cannot_delete_is_told_and_stays_in_the_trash(
    store: Store, warnings: list[str], error: Exception
) -> None:
    def remover(path: Path) -> None:
        raise error

    store.set_remover(remover)
    made = put_product(store, FILES)
    assert store.snapshots.remove(made.id)
    assert store.snapshots.find(made.id) is None
    assert "could not be deleted" in warnings[0]
    assert len(os.listdir(store.layout.trash)) == 1


def test_stages_of_dead_runs_are_removed_and_live_ones_stay(store: Store, tmp_path: Path) -> None:
    (store.layout.staging / "0123456789ab" / "fs").mkdir(parents=True)
    (store.layout.staging / "0123456789ab" / "fs" / "half").write_bytes(b"x")
    with store.snapshots.stage() as staged:
        (staged.path / "a").write_bytes(b"1")
        with open_store(tmp_path / "store") as other:
            assert other.root == store.root
        assert os.listdir(store.layout.staging) == [staged.folder.name]
        assert os.listdir(store.layout.trash) == []
        assert staged.commit(KEY, fileset_of({"a": b"1"})).entries == 1


def test_a_read_only_folder_in_a_tree_can_be_deleted(store: Store) -> None:
    with store.snapshots.stage() as staged:
        (staged.path / "d").mkdir()
        (staged.path / "d" / "f").write_bytes(b"")
        (staged.path / "d").chmod(0o555)
        staged.commit(KEY, EMPTY_FILESET)
    assert store.snapshots.remove(KEY)
    assert os.listdir(store.layout.trash) == []
