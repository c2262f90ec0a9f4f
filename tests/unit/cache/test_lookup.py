"""What one machine pushes, another finds: with how many requests, and which bytes follow when."""

from __future__ import annotations

from dataclasses import replace

from lamella.cache.artifact import IDENTITY, record_tag
from lamella.cache.push import Candidate
from lamella.graph.facts import User
from lamella.oci.manifest import parse_manifest
from lamella.testing.engine import FACTS
from lamella.testing.registry import Fault, MemoryRegistry
from tests.unit.cache.conftest import NewMachine
from tests.unit.cache.machines import NOW, Machine, base_record, placed_record, put_layer, step_record


def manifests(registry: MemoryRegistry) -> list[str]:
    return [
        f"{seen.method} {seen.path.rpartition('/')[2][:5]}" for seen in registry.requests if "/manifests/" in seen.path
    ]


def blobs(registry: MemoryRegistry) -> list[str]:
    return [seen.path.rpartition("/")[2] for seen in registry.requests if "/blobs/" in seen.path]


def test_a_record_is_found_with_one_request(ours: Machine, theirs: Machine, registry: MemoryRegistry) -> None:
    record = placed_record(ours.store)
    report = ours.push(Candidate(record))
    assert (report.pushed, report.present, report.local) == (1, 0, 0)
    registry.requests.clear()
    lookup = theirs.lookup()
    found = lookup.record(record.key)
    assert found == replace(record, filesets=found.filesets if found else record.filesets)
    assert lookup.origin(record.key) == f"{registry.address}/acme/shop-cache"
    assert manifests(registry) == ["GET r1-" + record.key[7:9]]
    assert not blobs(registry), "a layer's bytes came before anything wanted them"
    assert theirs.lookup().record(record.key) == found
    assert theirs.lookup().origin(record.key) == "", "in the next run it is the store's own"
    assert len(manifests(registry)) == 1


def test_a_missing_record_costs_one_request_in_a_run(theirs: Machine, registry: MemoryRegistry) -> None:
    lookup = theirs.lookup()
    key = "sha256:" + "0" * 64
    assert lookup.record(key) is None
    lookup.prefetch((key,), lambda key: True)
    assert lookup.record(key) is None
    assert manifests(registry) == ["GET r1-00"]
    assert not theirs.said


def test_a_base_brings_its_facts_and_packages(ours: Machine, theirs: Machine, registry: MemoryRegistry) -> None:
    record = base_record(ours.store)
    ours.push(Candidate(record))
    registry.requests.clear()
    lookup = theirs.lookup()
    found = lookup.record(record.key)
    assert found is not None
    assert found.result == replace(record.result, snapshot="")
    assert found.log == ""
    assert not found.filesets
    assert lookup.facts(record.result.facts) == FACTS
    assert theirs.store.blobs.read(record.result.packages) == b'{"packages":["a"]}'
    assert not blobs(registry), "small artefacts are in the manifest"


def test_large_facts_follow_when_they_are_read(ours: Machine, theirs: Machine, registry: MemoryRegistry) -> None:
    facts = replace(FACTS, users=tuple(User(f"user{n}", n * 7919 % 65521, n, f"/home/{n:x}") for n in range(4000)))
    record = base_record(ours.store, facts=facts)
    ours.push(Candidate(record))
    registry.requests.clear()
    lookup = theirs.lookup()
    assert lookup.record(record.key) is not None
    assert not blobs(registry)
    assert lookup.facts(record.result.facts) == facts
    assert len(blobs(registry)) == 1
    assert theirs.lookup().facts(record.result.facts) == facts
    assert len(blobs(registry)) == 1


def test_bytes_of_a_layer_come_once_and_only_when_asked_for(
    ours: Machine, theirs: Machine, registry: MemoryRegistry
) -> None:
    record = placed_record(ours.store, data=b"bytes of a layer" * 1000)
    ours.push(Candidate(record))
    diff_id = record.result.layers[0].diff_id
    lookup = theirs.lookup()
    lookup.record(record.key)
    (known,) = theirs.store.variants.known(diff_id)
    assert not theirs.store.variants.of(diff_id), "the blob is not here"
    assert known.elsewhere == f"{registry.address}/acme/shop-cache"
    assert theirs.lookup().layer(diff_id), "a later run finds it by the note alone"
    assert theirs.store.blobs.read(known.descriptor.digest) == ours.store.blobs.read(known.descriptor.digest)
    count = len(registry.requests)
    assert theirs.lookup().layer(diff_id)
    assert len(registry.requests) == count


def test_a_product_comes_as_the_same_files(ours: Machine, theirs: Machine) -> None:
    record = step_record(ours.store, files={"bin/tool": b"#!/bin/sh\n", "share/doc/read me": b"x" * 5000})
    ours.push(Candidate(record, product=True))
    lookup = theirs.lookup()
    assert lookup.record(record.key) is not None
    assert theirs.store.snapshots.find(record.result.tree) is None
    assert lookup.product(record.result.tree)
    snapshot = theirs.store.snapshots.find(record.result.tree)
    assert snapshot is not None
    assert (snapshot.path / "bin/tool").read_bytes() == b"#!/bin/sh\n"
    fileset = lookup.fileset(record.result.tree)
    assert fileset is not None
    assert fileset.digest == record.result.tree


def test_a_product_of_an_earlier_run_is_found_again(ours: Machine, theirs: Machine) -> None:
    """The record is in the store by then, so the repository is asked for its manifest once more."""
    record = step_record(ours.store)
    ours.push(Candidate(record, product=True))
    assert theirs.lookup().record(record.key) is not None
    later = theirs.lookup()
    assert later.record(record.key) is not None
    assert later.product(record.result.tree)


def test_a_product_that_was_not_pushed_is_not_there(ours: Machine, theirs: Machine) -> None:
    record = step_record(ours.store)
    ours.push(Candidate(record))
    lookup = theirs.lookup()
    assert lookup.record(record.key) is not None
    assert not lookup.product(record.result.tree)
    assert not lookup.layer("sha256:" + "1" * 64)


def test_all_missing_records_of_a_level_are_asked_for_at_once(
    ours: Machine, theirs: Machine, registry: MemoryRegistry
) -> None:
    records = [placed_record(ours.store, f"place {n}", f"layer {n}".encode()) for n in range(6)]
    ours.push(*map(Candidate, records))
    registry.requests.clear()
    lookup = theirs.lookup()
    lookup.prefetch(tuple(record.key for record in records), lambda key: True)
    assert len(manifests(registry)) == 6
    assert [lookup.record(record.key) is not None for record in records] == [True] * 6
    assert len(manifests(registry)) == 6


def test_what_is_not_worth_a_request_is_missing_in_this_run(
    ours: Machine, theirs: Machine, registry: MemoryRegistry
) -> None:
    cheap, dear = placed_record(ours.store, "cheap"), placed_record(ours.store, "dear")
    ours.push(Candidate(cheap), Candidate(dear))
    registry.requests.clear()
    lookup = theirs.lookup()
    lookup.prefetch((cheap.key, dear.key), lambda key: key == dear.key)
    assert lookup.record(cheap.key) is None
    assert lookup.record(dear.key) is not None
    assert len(manifests(registry)) == 1
    assert theirs.lookup().record(cheap.key) is not None, "whoever asks for it gets it"


def test_a_cache_that_does_not_answer_is_left_out_and_said_once(theirs: Machine, registry: MemoryRegistry) -> None:
    registry.script(Fault("/manifests/", times=0, status=503))
    lookup = theirs.lookup(*(theirs.place(f"acme/shop-cache{name}") for name in ("", "-branch", "-person")))
    keys = tuple(f"sha256:{n:064x}" for n in range(20))
    lookup.prefetch(keys, lambda key: True)
    assert all(lookup.record(key) is None for key in keys)
    assert len(theirs.said) == 1
    assert "is left out" in theirs.said[0]


def test_a_layer_whose_bytes_are_wrong_is_not_taken(ours: Machine, theirs: Machine, registry: MemoryRegistry) -> None:
    record = placed_record(ours.store)
    ours.push(Candidate(record))
    diff_id = record.result.layers[0].diff_id
    lookup = theirs.lookup()
    lookup.record(record.key)
    (known,) = theirs.store.variants.known(diff_id)
    wrong = bytes(known.descriptor.size)
    registry.script(Fault(f"/blobs/{known.descriptor.digest}", times=0, body=wrong))
    assert not lookup.layer(diff_id)
    assert not theirs.store.blobs.has(known.descriptor.digest)
    assert "could not be had" in theirs.said[0]


def test_a_layer_that_the_registry_lost_makes_the_record_a_miss_next_time(
    ours: Machine, theirs: Machine, registry: MemoryRegistry
) -> None:
    """Records are hints, blobs are facts: the note goes, and without it the record is of no use."""
    record = placed_record(ours.store)
    ours.push(Candidate(record))
    diff_id = record.result.layers[0].diff_id
    lookup = theirs.lookup()
    lookup.record(record.key)
    (known,) = theirs.store.variants.known(diff_id)
    registry.script(Fault(f"/blobs/{known.descriptor.digest}", times=0, status=404))
    assert not lookup.layer(diff_id)
    assert not theirs.store.variants.known(diff_id)
    assert theirs.store.records.find(record.key) is None


def test_a_record_is_as_old_as_it_says_but_never_from_the_future(ours: Machine, theirs: Machine) -> None:
    """Freshness counts from ``created``: one in the future would never get old."""
    old, future = base_record(ours.store, "old"), base_record(ours.store, "new")
    future = replace(future, created=theirs.clock.now() + 10**9, hermetic=False)
    ours.push(Candidate(old), Candidate(future))
    lookup = theirs.lookup()
    found_old, found_future = lookup.record(old.key), lookup.record(future.key)
    assert found_old is not None
    assert found_old.created == NOW
    assert found_future is not None
    assert found_future.created == theirs.clock.now()
    assert not found_future.hermetic


def test_nothing_is_pushed_twice(ours: Machine, registry: MemoryRegistry) -> None:
    records = [placed_record(ours.store), base_record(ours.store), step_record(ours.store)]
    assert ours.push(*map(Candidate, records)).pushed == 3
    registry.requests.clear()
    report = ours.push(*map(Candidate, records))
    assert (report.pushed, report.present, report.bytes) == (0, 3, 0)
    assert [seen.method for seen in registry.requests] == ["HEAD"] * 3


def test_what_was_made_again_with_another_result_replaces_what_is_there(ours: Machine, theirs: Machine) -> None:
    """A base that was built anew under its old key: else its freshness would never move."""
    record = base_record(ours.store, hermetic=False)
    ours.push(Candidate(record))
    newer = base_record(ours.store, data=b"newer packages", hermetic=False)
    newer = replace(newer, created=NOW + 1000)
    assert ours.push(Candidate(newer)).present == 1
    assert ours.push(Candidate(newer, made=True)).pushed == 1
    found = theirs.lookup().record(record.key)
    assert found is not None
    assert found.created == NOW + 1000
    assert found.result.layers == newer.result.layers
    assert ours.push(Candidate(record, made=True)).present == 1, "an older result does not replace a newer one"


def test_local_results_stay_and_results_without_bytes_are_named(ours: Machine, registry: MemoryRegistry) -> None:
    own = step_record(ours.store, "host tools", local=True)
    gone = placed_record(ours.store, "gone")
    ours.store.blobs.path(ours.store.variants.of(gone.result.layers[0].diff_id)[0].descriptor.digest).unlink()
    report = ours.push(Candidate(own, product=True), Candidate(gone))
    assert (report.local, report.pushed, report.incomplete) == (1, 0, ("gone",))
    assert not any(seen.method == "PUT" for seen in registry.requests)


def test_a_record_that_a_more_trusted_place_has_is_not_pushed_again(ours: Machine) -> None:
    release, branch = ours.place("acme/shop-cache"), ours.place("acme/shop-cache-branch")
    record = placed_record(ours.store)
    ours.push(Candidate(record), to=release)
    report = ours.push(Candidate(record), to=branch, readers=(release, branch))
    assert (report.pushed, report.present) == (0, 1)


def test_manifests_name_layers_as_images_do_and_other_tools_can_read_them(
    ours: Machine, registry: MemoryRegistry
) -> None:
    record = placed_record(ours.store)
    ours.push(Candidate(record))
    document = ours.remote(ours.place("acme/shop-cache")).manifest(record_tag(record.key))
    assert document is not None
    manifest = parse_manifest(document.data)
    assert manifest.artifact_type == manifest.config.media_type == "application/vnd.lamella.record.v1+json"
    assert manifest.annotations["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z", "retention tells its age"
    assert manifest.annotations["org.opencontainers.image.title"] == "place"
    (layer,) = manifest.layers
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert layer.annotations[IDENTITY] == record.result.layers[0].diff_id


def test_a_layer_is_mounted_from_where_it_is_known_to_be(ours: Machine, registry: MemoryRegistry) -> None:
    record = placed_record(ours.store, data=b"large layer")
    first, second = ours.place("acme/first-cache"), ours.place("acme/second-cache")
    ours.push(Candidate(record), to=first)
    registry.requests.clear()
    ours.push(Candidate(record), to=second)
    blob = ours.store.variants.of(record.result.layers[0].diff_id)[0].descriptor.digest
    mounts = [seen.path for seen in registry.requests if "mount=" in seen.path]
    assert any(f"mount={blob}" in path and "from=acme/first-cache" in path for path in mounts)


def test_a_read_only_store_asks_nobody(new_machine: NewMachine, ours: Machine, registry: MemoryRegistry) -> None:
    record = placed_record(ours.store)
    ours.push(Candidate(record))
    reader = new_machine()
    reader.store._context.read_only = True
    registry.requests.clear()
    assert reader.lookup().record(record.key) is None
    assert not registry.requests


def test_a_layer_already_here_stays_as_it_is(ours: Machine, theirs: Machine) -> None:
    record = placed_record(ours.store, data=b"same layer")
    ours.push(Candidate(record))
    mine = put_layer(theirs.store, b"same layer")
    before = theirs.store.variants.of(mine.diff_id)
    theirs.lookup().record(record.key)
    assert [v.descriptor for v in theirs.store.variants.of(mine.diff_id)] == [before[0].descriptor] * 2
