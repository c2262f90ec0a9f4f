"""Layers of snapshots: one pass over the files, into the form that is wanted."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from lamella.engines.local.exports import export, export_job, keep_export
from lamella.errors import IntegrityError
from lamella.layers.decompress import open_decompressed
from lamella.layers.snapshot import scan_tree
from lamella.store.snapshots import Snapshot
from lamella.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened, opened.lease("test"):
        yield opened


@pytest.fixture
def snapshot(store: Store) -> Snapshot:
    """Some files, two of them one file, as a step leaves them."""
    with store.snapshots.stage() as staged:
        (staged.path / "lib").mkdir()
        for number in range(40):
            (staged.path / "lib" / f"module_{number}").write_bytes(os.urandom(60_000) + bytes(40_000))
        os.link(staged.path / "lib" / "module_0", staged.path / "same")
        fileset = scan_tree(staged.path)
        return staged.commit(fileset.digest, fileset)


@pytest.mark.parametrize("compressor", ["gzip", "zstd", "none"])
def test_a_snapshot_becomes_a_blob_in_the_wanted_form(store: Store, snapshot: Snapshot, compressor: str) -> None:
    with store.snapshots.stage() as staged:
        layer = keep_export(store, export(export_job(snapshot, staged, compressor)), compressor)
    (variant,) = store.variants.of(layer.diff_id)
    assert variant.compressor == compressor
    with store.blobs.open(variant.descriptor.digest) as blob:
        stream = open_decompressed(blob, variant.descriptor.media_type)
        data = b"".join(iter(lambda: stream.read(1 << 16), b""))
    raw = store.blobs.read(variant.descriptor.digest)
    plain = {"gzip": gzip.decompress, "zstd": zstandard.ZstdDecompressor().decompressobj().decompress}
    assert plain.get(compressor, bytes)(raw) == data
    assert len(data) == layer.size
    names = [member.name for member in _members(data)]
    assert (len(names), names[-1]) == (layer.entries, "same")
    assert [member.linkname for member in _members(data) if member.islnk()] == ["lib/module_0"]
    assert list(store.layout.staging.iterdir()) == []


def test_a_snapshot_that_somebody_changed_is_no_layer_and_leaves_nothing(store: Store, snapshot: Snapshot) -> None:
    target = snapshot.path / "lib" / "module_39"
    target.write_bytes(b"x" + target.read_bytes()[1:])
    with store.snapshots.stage() as staged:
        with pytest.raises(IntegrityError, match="module_39"):
            export(export_job(snapshot, staged, "gzip"))
        assert sorted(path.name for path in staged.folder.iterdir()) == ["fs"]
    assert list(store.blobs.all()) == []


def _members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        return archive.getmembers()
