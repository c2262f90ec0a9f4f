from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable

import pytest

from lamella.canonical import FrozenMap, digest_bytes
from lamella.errors import HostileInputError, InternalError
from lamella.graph.record import Evidence, LayerResult, Record, Result
from lamella.oci import media
from lamella.oci.manifest import Descriptor
from lamella.store import Store
from lamella.store.record_format import StoredRecord, UnknownFormatError, parse_record, record_to_bytes
from lamella.testing.clock import FixedClock
from tests.unit.store.samples import layer_result, parts_of, put_product, put_record, record_of

D = [digest_bytes(bytes([number])) for number in range(9)]

FULL = Record(
    key=parts_of("full").key,
    name="app:deps",
    project="shop",
    parts=parts_of("full"),
    result=Result(parts_of("full").key, D[0], D[1], D[2], D[3], D[4], (LayerResult(D[5], 10, 2), LayerResult(D[6], 0))),
    seconds="12.345",
    created=1_700_000_000,
    hermetic=False,
    local=True,
    evidence=Evidence(("a line", "\u00fc"), FrozenMap({"crates": 500, "minus": -1})),
    wrote_sources=("src/x", "y"),
    log=D[7],
    machine="m",
    filesets=FrozenMap({D[0]: D[8]}),
)


def test_a_record_survives_its_stored_form_with_every_field() -> None:
    stored = StoredRecord(FULL, (("blob", D[0], 5), ("snapshot", D[2], 7), ("layer", D[5], 0)))
    assert parse_record(record_to_bytes(stored)) == stored
    defaults = Record(FULL.key, "", "", FULL.parts, FULL.result, "0.000", 0)
    same = [f.name for f in dataclasses.fields(Record) if getattr(FULL, f.name) == getattr(defaults, f.name)]
    assert same == ["key", "parts", "result"], "the sample must have every field set, or one may be lost unseen"


def changed(change: Callable[[dict[str, object]], object]) -> bytes:
    document = json.loads(record_to_bytes(StoredRecord(FULL, (("blob", D[0], 5),))))
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("objects"),
        lambda d: d.pop("record"),
        lambda d: d["record"].pop("key"),
        lambda d: d["record"].update(key="sha256:.."),
        lambda d: d["record"].update(created="1"),
        lambda d: d["record"].update(created=-1),
        lambda d: d["record"].update(hermetic=1),
        lambda d: d["record"].update(seconds="soon"),
        lambda d: d["record"]["result"].update(tree="../x"),
        lambda d: d["record"]["result"].update(more=1),
        lambda d: d["record"]["parts"].pop("op"),
        lambda d: d["record"]["evidence"].update(numbers={"a": "b"}),
        lambda d: d["objects"].append(["device", D[0], 1]),
        lambda d: d["objects"].append(["blob", D[0]]),
        lambda d: d["objects"].append(["blob", D[0], True]),
    ],
)
def test_a_malformed_record_is_refused(change: Callable[[dict[str, object]], object]) -> None:
    with pytest.raises(HostileInputError, match=r"malformed|of kind|is not a digest") as caught:
        parse_record(changed(change))
    assert not isinstance(caught.value, UnknownFormatError)


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"[]", b"null", b"\xff", b'{"format":1}', b"[" * 100_000])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(HostileInputError):
        parse_record(data)


@pytest.mark.parametrize(
    "change", [lambda d: d.update(format=2), lambda d: d.update(format="x"), lambda d: d["record"].update(later=1)]
)
def test_a_record_of_a_newer_release_is_told_apart(change: Callable[[dict[str, object]], object]) -> None:
    with pytest.raises(UnknownFormatError):
        parse_record(changed(change))


def test_a_record_is_found_by_its_key_and_by_its_name(store: Store) -> None:
    record = put_record(store, "one")
    assert store.records.find(record.key) == record
    assert store.records.latest("shop", "app") == record
    assert store.records.latest("shop", "other") is None
    assert list(store.records.all()) == [record]
    assert store.records.find(D[0]) is None


def test_what_was_put_or_preferred_last_is_the_latest(store: Store) -> None:
    """By the times of the files: a record of another machine has an age of its own."""
    records = [put_record(store, text, created=created) for text, created in (("b", 200), ("a", 300), ("c", 100))]
    for number, record in enumerate(records):
        os.utime(store.layout.record(record.key), ns=(10**9 * number, 10**9 * number))
    assert store.records.latest("shop", "app") == records[2]
    store.records.prefer("shop", "app", records[0].key)
    assert store.records.latest("shop", "app") == records[0]
    store.records.prefer("shop", "app", D[0])
    assert store.records.latest("shop", "app") == records[0]


def test_a_record_put_again_replaces_the_old_one(store: Store) -> None:
    first = put_record(store, "one", created=100)
    second = dataclasses.replace(first, created=200, seconds="9.000")
    store.records.put(second)
    assert store.records.find(first.key) == second
    assert store.records.latest("shop", "app") == second
    assert len(list(store.records.all())) == 1


@pytest.mark.parametrize("part", ["tree", "packages", "facts", "snapshot"])
def test_a_record_may_not_name_what_is_not_there(store: Store, part: str) -> None:
    with pytest.raises(InternalError, match="not in the store"):
        store.records.put(record_of("one", **{part: D[0]}))  # type: ignore[arg-type]
    assert list(store.records.all()) == []


@pytest.mark.parametrize("loss", ["tree blob", "wrong size", "tree snapshot", "facts", "also", "layer", "snapshot"])
def test_a_record_whose_objects_are_gone_is_a_miss_and_is_dropped(store: Store, loss: str) -> None:
    product = put_product(store, {"out": b"x"})
    root = put_product(store, {"etc": b"root"})
    facts, also = store.blobs.put_bytes(b"facts"), store.blobs.put_bytes(b"manifest of a base")
    layer = layer_result(store, b"layer tar")
    snapshot = root.id if loss == "snapshot" else ""
    record = record_of("one", tree=product.id, facts=facts, snapshot=snapshot, layers=(layer,))
    store.records.put(record, also=[also])
    assert store.records.find(record.key) == record
    match loss:
        case "tree snapshot":
            store.snapshots.remove(product.id)
        case "snapshot":
            store.snapshots.remove(root.id)
        case "wrong size":
            store.blobs.path(product.id).chmod(0o644)
            store.blobs.path(product.id).write_bytes(b"short")
        case _:
            lost = {"tree blob": product.id, "facts": facts, "also": also, "layer": layer.diff_id}[loss]
            store.blobs.path(lost).unlink()
    assert store.records.find(record.key) is None
    assert list(store.records.all()) == []
    assert store.records.latest("shop", "app") is None


def test_a_layer_is_there_in_any_of_its_forms(store: Store) -> None:
    layer = layer_result(store, b"layer tar")
    small = store.blobs.put_bytes(b"compressed")
    store.variants.put(layer.diff_id, "zstd", 3, Descriptor(media.LAYER_ZSTD, small, 10))
    record = record_of("one", layers=(layer,))
    store.records.put(record)
    store.blobs.path(layer.diff_id).unlink()
    assert store.records.find(record.key) == record
    store.blobs.path(small).unlink()
    assert store.records.find(record.key) is None


def test_a_layer_that_its_snapshot_gives_again_is_not_needed(store: Store) -> None:
    root, layer = put_product(store, {"etc": b"root"}), layer_result(store, b"layer tar")
    record = record_of("one", snapshot=root.id, layers=(layer,))
    store.records.put(record)
    store.blobs.path(layer.diff_id).unlink()
    assert store.records.find(record.key) == record


def test_a_malformed_record_is_a_miss_is_told_and_kept_aside(store: Store, warnings: list[str]) -> None:
    record = put_record(store, "one")
    store.layout.record(record.key).write_bytes(b"\0" * 50)
    assert store.records.find(record.key) is None
    assert "quarantine" in warnings[0]
    assert os.listdir(store.layout.folder("quarantine"))[0].startswith("record-")


def test_a_record_of_a_newer_release_is_a_miss_and_stays(store: Store, warnings: list[str]) -> None:
    record = put_record(store, "one")
    path = store.layout.record(record.key)
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":9'))
    assert store.records.find(record.key) is None
    assert path.exists()
    assert warnings == []


def test_a_record_under_the_name_of_another_key_is_a_miss(store: Store) -> None:
    one, other = put_record(store, "one"), put_record(store, "other")
    shutil.copyfile(store.layout.record(one.key), store.layout.record(other.key))
    assert store.records.find(other.key) is None
    assert store.records.find(one.key) == one


def test_a_no_op_writes_to_no_record_and_an_hour_later_notes_the_use(store: Store, clock: FixedClock) -> None:
    record = put_record(store, "one")
    path = store.layout.record(record.key)
    before = path.stat().st_mtime_ns
    store.records.find(record.key)
    assert path.stat().st_mtime_ns == before
    clock.advance(7200)
    store.records.find(record.key)
    assert path.stat().st_mtime == clock.now()
