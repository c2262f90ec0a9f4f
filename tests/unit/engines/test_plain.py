"""Bases without a sandbox: what is kept, what is said of it, and that nobody takes it for a tree."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.engines.local.packages import packages_of, read_rpm
from lamella.engines.local.values import BootstrapSpec, Chain, LayerBlob
from lamella.engines.plain.chain import MergedChain, element_of, find_element
from lamella.engines.plain.fallback import FallbackRunner
from lamella.engines.plain.runner import PlainRunner
from lamella.errors import IntegrityError, SandboxError
from lamella.graph.facts import DirectoryFact
from lamella.graph.op import BootstrapOp
from lamella.graph.record import LayerResult
from lamella.host.rooted import Rooted
from lamella.layers.contents import kept_root
from lamella.layers.decompress import open_decompressed
from lamella.layers.policy import MERGED_POLICY, UnpackMode
from lamella.layers.unpack import unpack_layer
from lamella.oci import media
from lamella.oci.config import RuntimeConfig
from lamella.oci.manifest import Descriptor
from lamella.store.collection import GcPolicy
from lamella.store.snapshots import contents_id
from lamella.store.store import Store
from tests.unit.layers.archives import Piece, tar_bytes, tar_dir, tar_file, tar_symlink
from tests.unit.layers.test_facts import rpm_header
from tests.unit.layers.trees import make_tree
from tests.unit.store.samples import put_record

LOWER = [
    tar_dir("./", 0o700),
    tar_dir("etc"),
    tar_file("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
    tar_file("etc/old", b"old"),
    tar_dir("home", 0o755, 7, 8),
    tar_file("home/x", b"1", 0o600),
    tar_file("var/lib/dpkg/status", b"Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"),
    tar_symlink("etc", "conf"),
]
UPPER = [tar_file("etc/.wh.old"), tar_dir("home", 0o2770, 9, 10), tar_file("etc/new", b"new"), tar_dir("./", 0o755)]
REFUSAL = SandboxError("no user namespaces", hint="ask for some")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def blob(store: Store, pieces: list[Piece]) -> LayerBlob:
    """A layer as a blob of the store, with its variant noted."""
    data = tar_bytes(pieces)
    digest = store.blobs.put_bytes(data)
    store.variants.put(digest, "none", 0, Descriptor(media.LAYER_TAR, digest, len(data)))
    return LayerBlob(digest, len(data), media.LAYER_TAR, digest)


def kept(store: Store) -> Chain:
    """The two layers as a chain."""
    made = PlainRunner(store, REFUSAL).unpack_layers((blob(store, LOWER), blob(store, UPPER)))
    assert not any(one.is_tree for one in made)
    return Chain(tuple(one.diff_id for one in made))


def test_a_kept_layer_is_no_tree_of_its_diff_id(store: Store) -> None:
    chain = kept(store)
    for identity in chain.snapshots:
        assert store.snapshots.find(identity) is None, "an overlay would mount it"
        found = store.snapshots.find(contents_id(identity))
        assert found is not None
        assert not found.is_tree
    assert store.verify(deep=True).clean
    assert [snapshot.is_tree for snapshot in store.snapshots.all()] == [False, False]
    again = PlainRunner(store, REFUSAL).unpack_layers((blob(store, LOWER),))
    assert again[0].fileset == find_element(store, chain.snapshots[0]).fileset()


def test_facts_and_packages_come_from_what_the_layers_say(store: Store) -> None:
    runner, chain = PlainRunner(store, REFUSAL), kept(store)
    facts = runner.facts(chain, "linux/amd64", RuntimeConfig(user="u"))
    assert facts.directories["/home"] == DirectoryFact("/home", 0o2770, 9, 10)
    assert facts.directories["/"] == DirectoryFact("/", 0o755, 0, 0), "the topmost layer's, as a mount shows it"
    assert set(facts.files) == {"/etc/passwd", "/etc/new", "/home/x", "/var/lib/dpkg/status"}
    assert (facts.symlinks["/conf"], facts.runtime.user) == ("etc", "u")
    assert [user.name for user in facts.users] == ["root"]
    assert json.loads(runner.packages(chain)) == {"format": 1, "packages": {"dpkg:a:all": "1"}}


def test_a_chain_gives_the_bytes_of_its_files(store: Store) -> None:
    chain = kept(store)
    whole = MergedChain(element_of(find_element(store, identity)) for identity in chain.snapshots)
    files = {entry.path: b"".join(whole.content(entry)) for entry in whole.fileset if entry.digest}
    assert files["home/x"] == b"1"
    assert files["etc/new"] == b"new"
    assert "etc/old" not in files
    with pytest.raises(IntegrityError, match="not in the store any more"):
        find_element(store, f"sha256:{'0' * 64}")


def test_changed_bytes_are_found_by_a_deep_look(store: Store) -> None:
    chain = kept(store)
    found = find_element(store, chain.snapshots[0])
    entry = next(entry for entry in found.fileset() if entry.path == "home/x")
    place = found.path / entry.digest[7:9] / entry.digest[7:]
    place.chmod(0o644)
    place.write_bytes(b"2")
    report = store.verify(deep=True)
    assert [(one.kind, one.id) for one in report.findings] == [("snapshot", found.id)]
    assert "home/x (content)" in report.findings[0].what


def test_a_collection_keeps_the_bytes_that_a_record_names(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as first:
        chain = kept(first)
        record = put_record(first, "base")
        layers = tuple(LayerResult(one, 1, 1) for one in chain.snapshots[:1])
        first.records.put(replace(record, result=replace(record.result, layers=layers)))
    with Store.open(tmp_path / "store") as store:  # without what the first one holds
        store.gc(GcPolicy(grace=0))
        left = {snapshot.id for snapshot in store.snapshots.all() if not snapshot.is_tree}
        assert left == {contents_id(chain.snapshots[0])}


def test_a_bootstrap_is_refused_with_the_ways_out(store: Store) -> None:
    op = BootstrapOp("debian", "bookworm", "amd64")
    with pytest.raises(SandboxError, match="no user namespaces") as caught:
        PlainRunner(store, REFUSAL).bootstrap(BootstrapSpec("k", "base:root", op, "linux/amd64"), lambda *_: None)
    assert caught.value.exit_code == 8
    assert "cache repository" in caught.value.hint
    assert 'from = "debian:bookworm"' in caught.value.hint


class Sandboxed(PlainRunner):
    """A runner of whom it is known that it was asked."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, SandboxError("asked the sandbox"))

    def unpack_layers(self, layers: tuple[LayerBlob, ...]) -> tuple[()]:
        raise self._refused()


def refuse() -> None:
    raise REFUSAL


def test_the_sandbox_is_done_without_only_where_that_is_allowed_and_it_is_missing(store: Store) -> None:
    layer = blob(store, UPPER)
    missing, there = (FallbackRunner(store, Sandboxed(store), start) for start in (refuse, lambda: None))
    with pytest.raises(SandboxError, match="asked the sandbox"):
        missing.unpack_layers((layer,))
    missing.allow()
    assert missing.unpack_layers((layer,))[0].diff_id == layer.diff_id
    there.allow()
    with pytest.raises(SandboxError, match="asked the sandbox"):
        there.unpack_layers((layer,))


def test_a_layer_is_written_from_a_tree_that_may_be_read(store: Store) -> None:
    layer = blob(store, [tar_file("a", b"x")])
    with store.snapshots.stage() as staged:
        with store.blobs.open(layer.digest) as raw:
            stream = open_decompressed(raw, layer.media_type)
            done = unpack_layer(stream, staged.path, mode=UnpackMode.MERGED, policy=MERGED_POLICY)
        staged.commit(layer.diff_id, done.fileset)
    made = PlainRunner(store, REFUSAL).export_layer(layer.diff_id, Chain(), "gzip")
    assert made.entries == 1
    assert store.variants.of(made.diff_id)


def test_what_rpm_would_say(tmp_path: Path) -> None:
    """Epoch 0 is written, public keys have no architecture, of two versions the later row counts; as rpm prints it."""
    root = make_tree(tmp_path / "root", {"usr/bin/rpm": b"", "usr/lib/sysimage/rpm/lock": b""})
    (root / "usr/bin/rpm").chmod(0o755)
    common = {1001: (6, b"2.34\0"), 1002: (6, b"9.el9\0")}
    database = sqlite3.connect(root / "usr/lib/sysimage/rpm/rpmdb.sqlite")
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    for number, header in (
        (2, {1000: (6, b"key\0"), 1001: (6, b"b\0"), 1002: (6, b"2\0")}),
        (1, {1000: (6, b"key\0"), 1001: (6, b"a\0"), 1002: (6, b"1\0")}),
        (3, {1000: (6, b"glibc\0"), 1022: (6, b"x86_64\0"), 1003: (4, (2).to_bytes(4, "big")), **common}),
    ):
        database.execute("INSERT INTO Packages (hnum, blob) VALUES (?, ?)", (number, rpm_header(header)))
    database.commit()
    database.close()
    with Rooted(root) as rooted:
        assert read_rpm(rooted) == {"key:(none)": "0:b-2", "glibc:x86_64": "2:2.34-9.el9"}
        said = json.loads(packages_of(rooted, lambda: read_rpm(rooted)))
        assert said["packages"]["rpm:glibc:x86_64"] == "2:2.34-9.el9"
        os.rename(root / "usr/lib/sysimage/rpm/rpmdb.sqlite", root / "usr/lib/sysimage/rpm/Packages")
        with pytest.raises(SandboxError, match="only its own rpm reads"):
            read_rpm(rooted)
        (root / "usr/bin/rpm").unlink()
        assert read_rpm(rooted) == {}, "a root without rpm can be asked by nobody"


def test_the_root_of_an_empty_layer_is_an_ordinary_directory(store: Store) -> None:
    (layer,) = PlainRunner(store, REFUSAL).unpack_layers((blob(store, []),))
    root = kept_root(find_element(store, layer.diff_id).path)
    assert (root.mode, root.uid, root.gid) == (0o755, 0, 0)
