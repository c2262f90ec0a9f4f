"""``Records.objects`` and ``Records.standing``: what records need, and whether all of it is there, unread."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lamella.graph.record import LayerResult, Record
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.store import Snapshot, Store
from lamella.store.leases import live_objects
from lamella.testing.clock import FixedClock
from tests.unit.store.samples import layer_result, open_store, put_product, record_of


@dataclass
class Scene:
    """Two records: a placed product with a layer of its own, and a step's root file system."""

    store: Store
    placed: Record
    product: Snapshot
    layer: LayerResult
    step: Record
    root: Snapshot
    also: str

    @property
    def keys(self) -> tuple[str, str]:
        return self.placed.key, self.step.key

    def objects(self) -> tuple[tuple[str, str, int], ...]:
        found = self.store.records.objects(self.keys)
        assert found is not None
        return found


@pytest.fixture
def scene(store: Store) -> Scene:
    product, root = put_product(store, {"out": b"product"}), put_product(store, {"etc": b"root"})
    layer, facts, also = layer_result(store, b"layer"), store.blobs.put_bytes(b"facts"), store.blobs.put_bytes(b"also")
    placed = record_of("placed", tree=product.id, facts=facts, layers=(layer,))
    step = record_of(
        "step",
        facts=facts,
        snapshot=root.id,
        packages=store.blobs.put_bytes(b"set"),
        layers=(layer_result(store, b"x"),),
    )
    store.records.put(placed)
    store.records.put(step, also=[also])
    return Scene(store, placed, product, layer, step, root, also)


def test_objects_are_all_that_records_need_each_once(scene: Scene) -> None:
    store = scene.store

    def blob(digest: str) -> tuple[str, str, int]:
        return ("blob", digest, store.blobs.size(digest) or 0)

    expected = {
        blob(scene.product.id),
        blob(scene.placed.result.facts),
        ("snapshot", scene.product.id, scene.product.manifest_size),
        ("layer", scene.layer.diff_id, 0),
        blob(scene.step.result.packages),
        blob(scene.also),
        ("snapshot", scene.root.id, scene.root.manifest_size),
    }
    assert set(scene.objects()) == expected, "the layer of a snapshot is written from it again"
    assert len(scene.objects()) == len(expected)
    assert store.records.objects([]) == ()


@pytest.mark.parametrize("lost", ["record", "malformed", "newer"])
def test_of_a_record_that_cannot_be_read_nobody_knows_the_objects(scene: Scene, lost: str) -> None:
    path = scene.store.layout.record(scene.step.key)
    data = path.read_bytes()
    path.unlink()
    if lost != "record":
        path.write_bytes(b"{}" if lost == "malformed" else data.replace(b'"format":1', b'"format":9'))
    assert scene.store.records.objects(scene.keys) is None
    assert scene.store.records.objects([scene.placed.key]) is not None


def unlink_blob(digest: Callable[[Scene], str]) -> Callable[[Scene], object]:
    return lambda scene: scene.store.blobs.path(digest(scene)).unlink()


def shorten(digest: Callable[[Scene], str]) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        path = scene.store.blobs.path(digest(scene))
        path.chmod(0o644)
        os.truncate(path, 1)

    return change


def compress(scene: Scene) -> str:
    """The layer in a second form; returns its digest."""
    small = scene.store.blobs.put_bytes(b"compressed")
    scene.store.variants.put(scene.layer.diff_id, "zstd", 3, Descriptor(media.LAYER_ZSTD, small, 10))
    return small


def both_forms(scene: Scene) -> None:
    scene.store.blobs.path(compress(scene)).unlink()
    scene.store.blobs.path(scene.layer.diff_id).unlink()


def one_form(scene: Scene) -> None:
    compress(scene)
    scene.store.blobs.path(scene.layer.diff_id).unlink()


def other_manifest(scene: Scene) -> None:
    path = scene.root.path.parent / "manifest"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"\n")


LOSSES: dict[str, Callable[[Scene], object]] = {
    "first record": lambda scene: scene.store.layout.record(scene.placed.key).unlink(),
    "last record": lambda scene: scene.store.layout.record(scene.step.key).unlink(),
    "dropped record": lambda scene: scene.store.records.drop(scene.step.key),
    "tree": unlink_blob(lambda scene: scene.product.id),
    "tree, shorter": shorten(lambda scene: scene.product.id),
    "facts": unlink_blob(lambda scene: scene.placed.result.facts),
    "facts, shorter": shorten(lambda scene: scene.placed.result.facts),
    "packages": unlink_blob(lambda scene: scene.step.result.packages),
    "also": unlink_blob(lambda scene: scene.also),
    "product's snapshot": lambda scene: scene.store.snapshots.remove(scene.product.id),
    "root's snapshot": lambda scene: scene.store.snapshots.remove(scene.root.id),
    "snapshot's manifest of another size": other_manifest,
    "layer": unlink_blob(lambda scene: scene.layer.diff_id),
    "layer in all forms": both_forms,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_not_there_does_not_stand(scene: Scene, loss: str) -> None:
    objects = scene.objects()
    assert scene.store.records.standing(scene.keys, objects)
    LOSSES[loss](scene)
    assert not scene.store.records.standing(scene.keys, objects)


HARMLESS: dict[str, Callable[[Scene], object]] = {
    "nothing": lambda scene: None,
    "another form": compress,
    "one form of two": one_form,
    "layer that a snapshot gives again": unlink_blob(lambda scene: scene.step.result.layers[0].diff_id),
}


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_there_stands(scene: Scene, change: str) -> None:
    objects = scene.objects()
    HARMLESS[change](scene)
    assert scene.store.records.standing(scene.keys, objects)


def test_what_stands_is_under_the_lease_and_counts_as_used(scene: Scene, clock: FixedClock) -> None:
    objects, root = scene.objects(), scene.store.root
    paths = [scene.store.layout.record(key) for key in scene.keys]
    scene.store.close()
    clock.advance(7200)
    before = [path.stat().st_mtime for path in paths]
    with open_store(root, clock) as store, store.lease("test"):
        assert store.records.standing(scene.keys, objects)
        held = live_objects(store.layout.folder("leases"))
    assert held >= {("record", key) for key in scene.keys}
    assert held >= {(kind, identity) for kind, identity, _ in objects if kind != "layer"}
    assert all(path.stat().st_mtime > time for path, time in zip(paths, before, strict=True))
    assert held >= {("blob", scene.layer.diff_id)}, "a layer is held in the form that was found"


def test_records_that_do_not_stand_do_not_count_as_used(scene: Scene, clock: FixedClock) -> None:
    objects, path = scene.objects(), scene.store.layout.record(scene.placed.key)
    before = path.stat().st_mtime
    clock.advance(7200)
    scene.store.layout.record(scene.step.key).unlink()
    assert not scene.store.records.standing(scene.keys, objects)
    assert path.stat().st_mtime == before
