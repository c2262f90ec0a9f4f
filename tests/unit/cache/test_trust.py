"""A pull request's build tries to plant what a release build would read (RELIABILITY finding 7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lamella.cache.artifact import Part, record_manifest, record_tag
from lamella.cache.domains import Place, Places, parse_domain, places_of
from lamella.cache.push import Candidate
from lamella.canonical import digest_bytes
from lamella.errors import AuthError
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Manifest
from lamella.oci.reference import parse_reference
from lamella.testing.registry import MemoryRegistry
from lamella.testing.registry_auth import Account
from tests.unit.cache.conftest import NewMachine
from tests.unit.cache.machines import Machine, placed_record, put_layer

ACCOUNTS = (
    Account("release", "r", push=("acme/shop-cache", "acme/shop")),
    Account("pull", "p", push=("acme/shop-cache-pull-request",)),
)


@pytest.fixture(params=["basic", "tokens"])
def registry(request: pytest.FixtureRequest) -> Iterator[MemoryRegistry]:
    """A registry where everybody reads, and each domain's account writes its own place."""
    tokens = request.param == "tokens"
    with MemoryRegistry(accounts=ACCOUNTS, anonymous=Account(), tokens=tokens) as running:
        yield running


def places(machine: Machine, domain: str) -> Places:
    return places_of(parse_reference(f"{machine.registry.address}/acme/shop-cache"), parse_domain(domain))


@pytest.fixture
def attacker(new_machine: NewMachine) -> Machine:
    return new_machine(own=("pull", "p"))


@pytest.fixture
def release(new_machine: NewMachine) -> Machine:
    return new_machine(own=("release", "r"))


def plant(attacker: Machine, place: Place, tag: str, manifest: Manifest, config: bytes) -> None:
    """Puts a manifest there by all means that an account has."""
    import io

    remote = attacker.remote(place)
    remote.push_blob(manifest.config, lambda: io.BytesIO(config))
    remote.push_manifest(manifest.to_bytes(), manifest.media_type, tags=(tag,))


def test_what_a_pull_request_writes_no_release_reads(attacker: Machine, release: Machine) -> None:
    own = places(attacker, "pull-request/17")
    record = placed_record(attacker.store, data=b"evil")
    assert own.writer is not None
    assert attacker.push(Candidate(record), to=own.writer).pushed == 1
    for domain in ("release", "branch", "person/ann", "pull-request/18"):
        assert release.lookup(*places(release, domain).readers).record(record.key) is None
    found = attacker.lookup(*own.readers)
    attacker.store.records.drop(record.key)
    assert found.record(record.key) is not None, "its own runs do read it"


def test_a_pull_request_cannot_write_where_a_release_reads(attacker: Machine, release: Machine) -> None:
    record = placed_record(attacker.store, data=b"evil")
    manifest, config = record_manifest(record, [])
    for place in places(release, "release").readers:
        with pytest.raises(AuthError):
            attacker.push(Candidate(record), to=place)
        with pytest.raises(AuthError):
            plant(attacker, place, record_tag(record.key), manifest, config)
    assert release.lookup(*places(release, "release").readers).record(record.key) is None


def test_a_blob_of_a_pull_request_does_not_change_what_a_release_gets(
    attacker: Machine, release: Machine, registry: MemoryRegistry
) -> None:
    """Registries share blobs between repositories; they are named by what is in them."""
    record = placed_record(release.store, data=b"good")
    writer = places(release, "release").writer
    assert writer is not None
    release.push(Candidate(record), to=writer)
    evil = put_layer(attacker.store, b"evil")
    blob = attacker.store.variants.of(evil.diff_id)[0].descriptor
    with pytest.raises(AuthError):
        attacker.remote(writer).push_blob(blob, lambda: attacker.store.blobs.open(blob.digest))
    lookup = attacker.lookup(*places(attacker, "pull-request").readers)
    found = lookup.record(record.key)
    assert found is not None
    assert found.result == record.result


def test_a_pull_request_reads_what_a_release_wrote(attacker: Machine, release: Machine) -> None:
    record = placed_record(release.store)
    writer = places(release, "release").writer
    assert writer is not None
    release.push(Candidate(record), to=writer)
    lookup = attacker.lookup(*places(attacker, "pull-request/17").readers)
    found = lookup.record(record.key)
    assert found is not None
    assert lookup.origin(record.key) == str(writer)
    assert lookup.layer(record.result.layers[0].diff_id)


def test_a_release_record_counts_where_a_pull_request_has_one_too(attacker: Machine, release: Machine) -> None:
    good = placed_record(release.store, data=b"good")
    evil = placed_record(attacker.store, data=b"evil")
    assert good.key == evil.key
    theirs, ours = places(attacker, "pull-request/17").writer, places(release, "release").writer
    assert theirs is not None
    assert ours is not None
    attacker.push(Candidate(evil), to=theirs)
    release.push(Candidate(good), to=ours)
    attacker.store.records.drop(evil.key)
    lookup = attacker.lookup(*places(attacker, "pull-request/17").readers)
    found = lookup.record(good.key)
    assert found is not None
    assert found.result.layers == good.result.layers


def test_anonymous_runs_read_and_do_not_write(new_machine: NewMachine, release: Machine) -> None:
    record = placed_record(release.store)
    writer = places(release, "release").writer
    assert writer is not None
    release.push(Candidate(record), to=writer)
    nobody = new_machine()
    assert nobody.lookup(*places(nobody, "pull-request").readers).record(record.key) is not None
    mine = placed_record(nobody.store, "mine")
    own = places(nobody, "pull-request").writer
    assert own is not None
    with pytest.raises(AuthError):
        nobody.push(Candidate(mine), to=own)


def test_a_registry_that_lets_nobody_read_is_said_once(new_machine: NewMachine) -> None:
    with MemoryRegistry(user="somebody", password="s") as closed:
        nobody = new_machine(closed)
        lookup = nobody.lookup(*places(nobody, "person/ann").readers)
        assert lookup.record("sha256:" + "0" * 64) is None
        assert lookup.record("sha256:" + "1" * 64) is None
        assert len(nobody.said) == 1
        assert "is left out" in nobody.said[0]
        assert len([seen for seen in closed.requests if "/manifests/" in seen.path]) <= 3, "each place once"


def test_a_record_under_another_ones_tag_is_refused_even_by_its_own_domain(release: Machine) -> None:
    """Whoever may write must still not turn the result of one step into that of another."""
    wrong, key = placed_record(release.store, "evil", b"evil"), placed_record(release.store, "good", b"good").key
    writer = places(release, "release").writer
    assert writer is not None
    manifest, config = record_manifest(wrong, [])
    plant(release, writer, record_tag(key), manifest, config)
    renamed = json.loads(config)
    renamed["record"]["key"] = renamed["record"]["result"]["key"] = key
    data = json.dumps(renamed).encode()
    release.store.records.drop(key)
    assert release.lookup(writer).record(key) is None
    assert "refused" in release.said[-1]
    config_descriptor = Descriptor(manifest.config.media_type, digest_bytes(data), len(data), data=data)
    plant(release, writer, record_tag(key), replace(manifest, config=config_descriptor), data)
    assert release.lookup(writer).record(key) is None
    assert "refused" in release.said[-1]


def test_a_layer_that_is_not_its_diff_id_is_found_when_it_is_used(release: Machine) -> None:
    """A record may lie about which blob a layer is; the bytes tell when they are unpacked or read."""
    from lamella.errors import IntegrityError
    from lamella.images.outputs.archive import layer_file
    from lamella.images.stored import StoredLayer

    record = placed_record(release.store, "good", b"good")
    evil = put_layer(release.store, b"evil!")
    blob = release.store.variants.of(evil.diff_id)[0].descriptor
    diff_id = record.result.layers[0].diff_id
    writer = places(release, "release").writer
    assert writer is not None
    manifest, config = record_manifest(record, [Part(diff_id, blob)])
    release.remote(writer).push_blob(blob, lambda: release.store.blobs.open(blob.digest))
    plant(release, writer, record_tag(record.key), manifest, config)
    assert media.is_layer(blob.media_type)
    with pytest.raises(IntegrityError, match="promises layer"):
        layer_file(release.store, "layer.tar", StoredLayer(blob, diff_id))
