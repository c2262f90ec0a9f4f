"""Layers whose blobs a cache repository has: named by manifests and records, kept as long as something names them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import InternalError
from lamella.graph.record import LayerResult
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Manifest
from lamella.store import Store
from lamella.store.gc import GcPolicy
from lamella.store.variants import Variant
from tests.unit.store.samples import now_clock, open_store, record_of

PLACE = "registry.example/acme/shop-cache"
LAYER = LayerResult(digest_bytes(b"tar"), 1000, 3)
BLOB = Descriptor(media.LAYER_GZIP, digest_bytes(b"gzip"), 4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store", now_clock()) as opened:
        yield opened


def imported(store: Store) -> str:
    """A record whose layer and file set are elsewhere."""
    store.variants.note(LAYER.diff_id, "gzip", 0, BLOB, PLACE)
    record = record_of("imported", tree=digest_bytes(b"file set"), layers=(LAYER,))
    store.records.put(record, elsewhere=True)
    return record.key


def test_a_note_is_known_and_not_here(store: Store) -> None:
    store.variants.note(LAYER.diff_id, "gzip", 0, BLOB, PLACE)
    assert store.variants.of(LAYER.diff_id) == ()
    assert store.variants.known(LAYER.diff_id) == (Variant(LAYER.diff_id, "gzip", 0, BLOB, PLACE),)


def test_when_the_blob_comes_both_are_true(store: Store) -> None:
    store.variants.note(LAYER.diff_id, "gzip", 0, BLOB, PLACE)
    store.blobs.put_bytes(b"gzip")
    store.variants.put(LAYER.diff_id, "gzip", 0, BLOB)
    (variant,) = store.variants.of(LAYER.diff_id)
    assert (variant.descriptor, variant.elsewhere) == (BLOB, PLACE)


def test_a_note_does_not_displace_a_blob_that_is_here(store: Store) -> None:
    own = Descriptor(media.LAYER_GZIP, store.blobs.put_bytes(b"ours"), 4)
    store.variants.put(LAYER.diff_id, "gzip", 0, own)
    store.variants.note(LAYER.diff_id, "gzip", 0, BLOB, PLACE)
    assert [variant.descriptor for variant in store.variants.known(LAYER.diff_id)] == [own]


def test_a_record_stands_on_notes(store: Store) -> None:
    key = imported(store)
    assert store.records.find(key) is not None
    objects = store.records.objects([key])
    assert objects is not None
    assert store.records.standing([key], objects)
    store.variants.drop(store.variants.known(LAYER.diff_id)[0])
    assert not store.records.standing([key], objects)
    assert store.records.find(key) is None, "without the note nobody knows where the layer is"


def test_a_record_of_this_machine_needs_its_objects(store: Store) -> None:
    with pytest.raises(InternalError):
        store.records.put(record_of("own", tree=digest_bytes(b"file set")))


def test_packages_must_come_with_a_record(store: Store) -> None:
    """What is built on top names them too, and its record would not be whole."""
    with pytest.raises(InternalError):
        store.records.put(record_of("imported", packages=digest_bytes(b"packages")), elsewhere=True)


def test_verify_and_repair_leave_what_is_elsewhere(store: Store) -> None:
    key = imported(store)
    config = store.blobs.put_bytes(b"{}")
    manifest = Manifest(Descriptor(media.IMAGE_CONFIG, config, 2), (BLOB,))
    store.blobs.put_bytes(manifest.to_bytes())
    store.images.tag("shop:dev", manifest.descriptor())
    assert not store.verify().findings
    assert not store.repair().done
    assert store.records.find(key) is not None
    assert store.images.resolve("shop:dev") is not None


def test_an_image_without_note_or_blob_is_still_broken(store: Store) -> None:
    config = store.blobs.put_bytes(b"{}")
    manifest = Manifest(Descriptor(media.IMAGE_CONFIG, config, 2), (BLOB,))
    store.blobs.put_bytes(manifest.to_bytes())
    store.images.tag("shop:dev", manifest.descriptor())
    assert BLOB.digest in store.verify().findings[0].what


def test_notes_go_with_the_last_record_that_names_them(tmp_path: Path) -> None:
    with open_store(tmp_path / "store", now_clock()) as first:
        imported(first)
    with open_store(tmp_path / "store", now_clock()) as second:  # every look takes a lease until the store is closed
        second.gc(GcPolicy(grace=0))
        assert second.variants.known(LAYER.diff_id)
    with open_store(tmp_path / "store", now_clock()) as third:
        third.gc(GcPolicy(keep=-1, latest=False, grace=0))
        assert not third.variants.known(LAYER.diff_id)
