"""Images, variants and pins: names for objects."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import IntegrityError, InternalError
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.oci.platform import Platform
from lamella.store import Store
from lamella.store.images import REF_NAME
from tests.unit.store.samples import open_store, put_image


def test_a_name_leads_to_its_manifest_and_moves(store: Store) -> None:
    first, second = put_image(store, "shop:dev"), put_image(store, "other", b"2")
    found = store.images.resolve("shop:dev")
    assert found is not None
    assert found.digest == first.descriptor().digest
    store.images.tag("shop:dev", second.descriptor())
    moved = store.images.resolve("shop:dev")
    assert moved is not None
    assert moved.digest == second.descriptor().digest
    assert [image.name for image in store.images.list()] == ["other", "shop:dev"]
    assert store.images.resolve("unknown") is None


def test_the_index_is_that_of_an_image_layout(store: Store) -> None:
    manifest = put_image(store, "a")
    store.images.tag("b", manifest.descriptor(Platform("linux", "arm64")))
    document = json.loads((store.layout.oci / "index.json").read_bytes())
    assert document["schemaVersion"] == 2
    assert [one["annotations"][REF_NAME] for one in document["manifests"]] == ["a", "b"]
    assert document["manifests"][1]["platform"] == {"os": "linux", "architecture": "arm64"}
    assert (store.layout.oci / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'


def test_annotations_of_a_descriptor_stay(store: Store) -> None:
    digest = store.blobs.put_bytes(b"{}")
    store.images.tag("a", Descriptor(media.IMAGE_MANIFEST, digest, 2, FrozenMap({"mine": "1"})))
    found = store.images.resolve("a")
    assert found is not None
    assert found.annotations["mine"] == "1"


def test_untagging_forgets_the_name_only(store: Store) -> None:
    manifest = put_image(store, "a")
    store.images.tag("b", manifest.descriptor())
    assert store.images.untag("a")
    assert not store.images.untag("a")
    assert [image.name for image in store.images.list()] == ["b"]
    assert store.blobs.has(manifest.config.digest)


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00"])
def test_a_name_is_printable_text(store: Store, name: str) -> None:
    with pytest.raises(InternalError):
        store.images.tag(name, put_image(store, "a").descriptor())


def test_a_name_needs_a_manifest(store: Store) -> None:
    with pytest.raises(InternalError, match="before its manifest"):
        store.images.tag("a", Descriptor(media.IMAGE_MANIFEST, digest_bytes(b""), 0))


def test_parallel_tags_lose_none(store: Store, tmp_path: Path) -> None:
    manifest = put_image(store, "first")

    def tag(worker: int) -> None:
        with open_store(tmp_path / "store") as own:
            for number in range(8):
                own.images.tag(f"w{worker}-{number}", manifest.descriptor())

    threads = [threading.Thread(target=tag, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.images.list()) == 33


def test_a_damaged_list_is_an_integrity_error_that_names_the_repair(store: Store) -> None:
    put_image(store, "a")
    (store.layout.oci / "index.json").write_bytes(b"\0\0")
    with pytest.raises(IntegrityError) as caught:
        store.images.list()
    assert "cache repair" in caught.value.hint


def test_variants_are_found_by_what_made_them(store: Store) -> None:
    diff_id = digest_bytes(b"tar")
    gzip, zstd = store.blobs.put_bytes(b"gz"), store.blobs.put_bytes(b"zst")
    store.variants.put(diff_id, "gzip", 6, Descriptor(media.LAYER_GZIP, gzip, 2))
    store.variants.put(diff_id, "zstd", -1, Descriptor(media.LAYER_ZSTD, zstd, 3))
    assert store.variants.find(diff_id, "gzip", 6) == Descriptor(media.LAYER_GZIP, gzip, 2)
    assert store.variants.find(diff_id, "gzip", 9) is None
    assert [(one.compressor, one.level) for one in store.variants.of(diff_id)] == [("gzip", 6), ("zstd", -1)]
    assert store.variants.of(digest_bytes(b"other")) == ()


@pytest.mark.parametrize("loss", ["blob", "file", "format"])
def test_a_variant_that_leads_nowhere_is_a_miss(store: Store, loss: str) -> None:
    diff_id, digest = digest_bytes(b"tar"), store.blobs.put_bytes(b"gz")
    store.variants.put(diff_id, "gzip", 6, Descriptor(media.LAYER_GZIP, digest, 2))
    path = store.layout.variants(diff_id) / "gzip-6.json"
    match loss:
        case "blob":
            store.blobs.path(digest).unlink()
        case "file":
            path.write_bytes(b"{")
        case "format":
            path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2'))
    assert store.variants.find(diff_id, "gzip", 6) is None


@pytest.mark.parametrize("compressor", ["../x", "", "a/b", "GZIP", "a-1"])
def test_a_compressor_is_a_plain_name(store: Store, compressor: str) -> None:
    digest = store.blobs.put_bytes(b"gz")
    with pytest.raises(InternalError):
        store.variants.put(digest_bytes(b"tar"), compressor, 1, Descriptor(media.LAYER_GZIP, digest, 2))


def test_pins_are_replaced_and_removed_and_damage_is_told(store: Store) -> None:
    digest = digest_bytes(b"x")
    store.pins.put("../mine", [("blob", digest)])
    store.pins.put("../mine", [("blob", digest), ("snapshot", digest)])
    assert list(store.pins.all()) == [("../mine", (("blob", digest), ("snapshot", digest)))]
    (store.layout.folder("pins") / "broken.json").write_bytes(b"{")
    with pytest.raises(IntegrityError, match="cannot be read"):
        list(store.pins.all())
    assert [finding.kind for finding in store.repair().done] == ["pin"]
    assert len(list(store.pins.all())) == 1
    assert store.pins.remove("../mine")
    assert not store.pins.remove("../mine")
