"""Opening, reading only, status, lookup."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError, HostileInputError
from lamella.graph.facts import EMPTY_FACTS, BaseFacts, DirectoryFact, Group, Interpreter, User
from lamella.graph.facts_format import facts_to_bytes, parse_facts
from lamella.graph.protocols import Lookup
from lamella.oci.config import Healthcheck, RuntimeConfig
from lamella.store import Store
from lamella.store.layout import FOLDERS, LOCKS
from lamella.store.store import check_file_system
from lamella.testing.clock import FixedClock
from tests.unit.store.samples import DAY, all_files, fileset_of, open_store, put_image, put_record


def test_a_new_store_is_private_and_complete(tmp_path: Path) -> None:
    root = tmp_path / "a" / "store"
    with open_store(root) as store:
        assert store.root == root
        assert all((root / name).is_dir() for name in FOLDERS)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    locks = {f"locks/{name}" for name in ("make", *LOCKS)}
    assert all_files(root) == {"version", "oci/oci-layout", "oci/index.json", *locks}
    assert (root / "version").read_text() == "lamella store 1\n"


@pytest.mark.parametrize("mask", [0o000, 0o027, 0o077])
def test_the_umask_of_a_user_does_not_matter_to_objects(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with open_store(tmp_path / "store") as store:
            record = put_record(store, "one")
            with store.states.hold("s") as state:
                modes = [
                    store.blobs.path(record.result.tree),
                    store.layout.record(record.key),
                    store.layout.snapshot(record.result.tree) / "fs",
                    state,
                ]
                assert [oct(stat.S_IMODE(path.stat().st_mode)) for path in modes] == [
                    "0o444",
                    "0o644",
                    "0o755",
                    "0o755",
                ]
            assert store.records.find(record.key) == record
    finally:
        os.umask(before)


def test_a_half_made_store_is_made_again(tmp_path: Path) -> None:
    root = tmp_path / "store"
    (root / "locks").mkdir(parents=True)
    (root / "oci").mkdir()
    with open_store(root) as store:
        assert put_record(store, "one") in list(store.records.all())


def test_a_newer_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    open_store(tmp_path / "store").close()
    (tmp_path / "store" / "version").unlink()
    (tmp_path / "store" / "version").write_text("lamella store 7\n")
    with pytest.raises(ConfigError, match="version 7") as caught:
        open_store(tmp_path / "store")
    assert "LAMELLA_STORE" in caught.value.hint


@pytest.mark.parametrize("text", ["", "\0\0\0", "lamella store", "lamella store x", "hello 1"])
def test_a_damaged_version_file_is_written_anew(tmp_path: Path, text: str) -> None:
    with open_store(tmp_path / "store") as store:
        record = put_record(store, "one")
    (tmp_path / "store" / "version").chmod(0o644)
    (tmp_path / "store" / "version").write_text(text)
    warnings: list[str] = []
    with open_store(tmp_path / "store", warnings=warnings) as store:
        assert store.records.find(record.key) == record
    assert len(warnings) == 1
    open_store(tmp_path / "store", warnings=warnings).close()
    assert len(warnings) == 1


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_store_that_cannot_be_a_folder_is_a_configuration_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="no directory"):
        open_store(tmp_path / place)


def test_a_store_where_nothing_can_be_made_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        open_store(Path("/proc/self/lamella-store"))


def test_a_network_file_system_is_refused_or_warned_of(tmp_path: Path) -> None:
    warnings: list[str] = []
    check_file_system(tmp_path, "ext4", False, warnings.append)
    with pytest.raises(ConfigError, match="network file system \\(nfs4\\)"):
        check_file_system(tmp_path, "nfs4", False, warnings.append)
    assert warnings == []
    check_file_system(tmp_path, "nfs4", True, warnings.append)
    assert "only one machine" in warnings[0]


def test_opening_loads_neither_sqlite_nor_ctypes() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from lamella.store import Store\n"
        "with tempfile.TemporaryDirectory() as d:\n"
        "    with Store.open(pathlib.Path(d) / 's') as s: s.records.find('sha256:' + 'a' * 64)\n"
        "print([m for m in ('sqlite3', 'ctypes', 'msgspec', 'rich', 'urllib3') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_closing_leaves_no_lease(store: Store) -> None:
    store.blobs.put_bytes(b"x")
    assert len(os.listdir(store.layout.folder("leases"))) == 1
    store.close()
    assert os.listdir(store.layout.folder("leases")) == []


def test_status_counts_by_kind_project_layer_and_age(store: Store, clock: FixedClock) -> None:
    put_record(store, "one", name="app")
    put_record(store, "two", name="base", created=1)
    put_image(store, "shop:1", b"x" * 1000)
    store.blobs.put_bytes(b"loose")
    with store.states.hold("s") as path:
        (path / "f").write_bytes(b"x" * 10_000)
    status = store.status()
    kinds = {row.name: row for row in status.kinds}
    assert (kinds["blobs"].count, kinds["snapshots"].count, kinds["records"].count) == (6, 2, 2)
    assert kinds["states"].count == 1
    assert kinds["states"].size >= 10_000
    assert status.size == sum(row.size for row in status.kinds)
    assert [(row.name, row.count) for row in status.projects] == [("shop", 2)]
    assert {row.name for row in status.layers} == {"shop/app", "shop/base"}
    assert (status.unreferenced.count, status.unreferenced.size) == (1, 5)
    assert [row.count for row in status.ages] == [2, 0, 0, 0]
    clock.advance(20 * DAY)
    assert [row.count for row in store.status().ages] == [0, 0, 2, 0]


def test_the_store_is_a_lookup(store: Store) -> None:
    lookup: Lookup = store.lookup
    record = put_record(store, "one")
    assert lookup.record(record.key) == record
    assert lookup.latest("shop", "app") == record
    assert lookup.fileset(record.result.tree) == fileset_of({"out": b"one"})
    assert lookup.facts(store.blobs.put_bytes(facts_to_bytes(FACTS))) == FACTS


def test_what_a_lookup_cannot_read_is_a_miss(store: Store) -> None:
    lookup = store.lookup
    digest = store.blobs.put_bytes(b"neither a file set nor facts")
    assert lookup.fileset(digest) is None
    assert lookup.facts(digest) is None
    assert lookup.fileset("sha256:" + "0" * 64) is None
    assert lookup.record("sha256:" + "0" * 64) is None


FACTS = BaseFacts(
    platform="linux/amd64",
    directories=FrozenMap({"/tmp": DirectoryFact("/tmp", 0o1777, 0, 0)}),
    symlinks=FrozenMap({"/bin": "usr/bin"}),
    files=FrozenMap({"/etc/passwd": "sha256:" + "a" * 64}),
    users=(User("app", 10, 20, "/home", "/bin/sh", "App"),),
    groups=(Group("app", 20, ("a", "b")),),
    os_release=FrozenMap({"ID": "debian"}),
    libc="glibc",
    libc_version="2.36",
    interpreters=(Interpreter("python", "/usr/bin/python3", "3.11", "cpython-311"),),
    tools=("apt-get", "sh"),
    packages=FrozenMap({"libc6": "2.36-9"}),
    runtime=RuntimeConfig(
        user="app", env=("A=1",), labels=FrozenMap({"l": "1"}), healthcheck=Healthcheck(("CMD", "x"), 1, 2, 3, 4)
    ),
)


def test_facts_survive_their_stored_form_with_every_field() -> None:
    assert parse_facts(facts_to_bytes(FACTS)) == FACTS
    assert parse_facts(facts_to_bytes(EMPTY_FACTS)) == EMPTY_FACTS
    unset = [name for name in BaseFacts.__slots__ if getattr(FACTS, name) == getattr(EMPTY_FACTS, name)]
    assert unset == [], "the sample must have every field set, or one may be lost unseen"


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"format":2}', b'{"format":1,"facts":{},"runtime":{}}', facts_to_bytes(FACTS).replace(b"0", b"x")],
)
def test_malformed_facts_are_refused(data: bytes) -> None:
    with pytest.raises(HostileInputError):
        parse_facts(data)
