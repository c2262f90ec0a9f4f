"""Mutable build state that travels: exact times and links, only when it is worth it, never what was tampered with."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.cache.domains import Place
from lamella.cache.small import compress_small
from lamella.cache.states import STATE_TIMES_TYPE, push_state, restore_seconds, restore_state, state_tag
from lamella.canonical import digest_bytes
from lamella.oci.manifest import Descriptor, parse_manifest
from lamella.store.store import Store
from lamella.testing.registry import MemoryRegistry
from tests.unit.cache.conftest import NewMachine
from tests.unit.cache.machines import Machine

STATE = digest_bytes(b"target of shop on a root file system")
TIMES = {"debug/deps/liba.rlib": 1_600_000_000_123_456_789, "debug/a": 1_600_000_000_123_456_789, "debug": 17 * 10**9}
ROOT = 1_650_000_000_999_999_999


def fill(store: Store, text: bytes = b"compiled") -> None:
    with store.states.hold(STATE) as folder:
        (folder / "debug/deps").mkdir(parents=True, exist_ok=True)
        (folder / "debug/deps/liba.rlib").write_bytes(text * 100)
        (folder / "debug/a").unlink(missing_ok=True)
        os.link(folder / "debug/deps/liba.rlib", folder / "debug/a")
        (folder / "debug/latest").unlink(missing_ok=True)
        (folder / "debug/latest").symlink_to("a")
        for path, when in TIMES.items():
            os.utime(folder / path, ns=(when, when))
        os.utime(folder, ns=(ROOT, ROOT))


@pytest.fixture
def place(ours: Machine) -> Place:
    return ours.place("acme/shop-cache-branch", "17.")


def push(machine: Machine, place: Place, seconds: float = 90.0) -> int | None:
    return push_state(machine.store, place, machine.remote(place), STATE, "app:deps", seconds, 1_700_000_000)


def restore(machine: Machine, *places: Place) -> str:
    return restore_state(machine.store, machine.readers(*places), STATE, "app:deps", machine.said.append)


def look(machine: Machine) -> Path:
    with machine.store.states.hold(STATE) as folder:
        return folder


def test_a_state_comes_back_with_its_times_and_links(ours: Machine, theirs: Machine, place: Place) -> None:
    fill(ours.store)
    assert push(ours, place)
    assert restore(theirs, place) == str(place)
    folder = look(theirs)
    assert (folder / "debug/a").read_bytes() == b"compiled" * 100
    assert {path: os.lstat(folder / path).st_mtime_ns for path in TIMES} == TIMES
    assert os.lstat(folder).st_mtime_ns == ROOT, "what is staged next has to be newer than the last step's end"
    assert os.path.samefile(folder / "debug/a", folder / "debug/deps/liba.rlib")
    assert os.readlink(folder / "debug/latest") == "a"


def test_a_state_that_is_here_is_not_asked_for(ours: Machine, place: Place, registry: MemoryRegistry) -> None:
    fill(ours.store)
    push(ours, place)
    registry.requests.clear()
    assert restore(ours, place) == ""
    assert not registry.requests


def test_a_state_that_costs_more_than_it_saves_stays_there(
    ours: Machine, theirs: Machine, place: Place, registry: MemoryRegistry
) -> None:
    fill(ours.store)
    push(ours, place, seconds=0.000001)
    registry.requests.clear()
    assert restore(theirs, place) == ""
    assert not any("/blobs/" in seen.path for seen in registry.requests)
    assert theirs.store.states.is_empty(STATE)


def test_the_prediction_counts_bytes_of_network_and_disk() -> None:
    assert restore_seconds(822_000_000, 3_000_000_000) == pytest.approx(35.55)
    assert restore_seconds(0, 0) == 0


def test_the_latest_state_counts_and_the_longest_time(ours: Machine, theirs: Machine, place: Place) -> None:
    """A step that began with a warm state says little about what the state saves."""
    fill(ours.store, b"cold")
    push(ours, place, seconds=90)
    fill(ours.store, b"warm")
    push(ours, place, seconds=0.1)
    document = ours.remote(place).manifest(state_tag(STATE, place.prefix))
    assert document is not None
    assert json.loads(parse_manifest(document.data).config.data)["seconds"] == "90.000"
    assert restore(theirs, place)
    assert (look(theirs) / "debug/a").read_bytes() == b"warm" * 100


def test_an_empty_state_is_not_pushed(ours: Machine, place: Place, registry: MemoryRegistry) -> None:
    assert push(ours, place) is None
    assert not any(seen.method == "PUT" for seen in registry.requests)


def test_a_state_of_another_place_is_not_read(ours: Machine, theirs: Machine, place: Place) -> None:
    fill(ours.store)
    push(ours, place)
    assert restore(theirs, ours.place("acme/shop-cache"), ours.place("acme/shop-cache-branch")) == ""
    assert theirs.store.states.is_empty(STATE)


@pytest.mark.parametrize(
    "times",
    [
        b"no list",
        b'{"root": 1, "files": [["../../escaped", 1]]}',
        b'{"root": 1, "files": [["/etc/hostname", 1]]}',
        b'{"root": 1, "files": [["debug/latest/x", 1]]}',
        b'{"root": 1, "files": [["absent", 1]]}',
        b'{"root": 1e400, "files": []}',
        b'{"root": "x", "files": []}',
    ],
)
def test_times_that_are_none_leave_the_state_empty(ours: Machine, theirs: Machine, place: Place, times: bytes) -> None:
    fill(ours.store)
    push(ours, place)
    tampered(ours, place, STATE_TIMES_TYPE, compress_small(times))
    assert restore(theirs, place) == ""
    assert theirs.store.states.is_empty(STATE)
    assert "could not be had" in theirs.said[0]


def tampered(machine: Machine, place: Place, media_type: str, data: bytes) -> None:
    """Puts another blob in place of one of a state's."""
    import io

    remote, tag = machine.remote(place), state_tag(STATE, place.prefix)
    document = remote.manifest(tag)
    assert document is not None
    manifest = parse_manifest(document.data)
    blob = Descriptor(media_type, digest_bytes(data), len(data))
    remote.push_blob(blob, lambda: io.BytesIO(data))
    layers = tuple(blob if layer.media_type == media_type else layer for layer in manifest.layers)
    remote.push_manifest(replace(manifest, layers=layers).to_bytes(), manifest.media_type, tags=(tag,))


def test_a_state_under_another_ones_tag_is_refused(ours: Machine, theirs: Machine, place: Place) -> None:
    fill(ours.store)
    push(ours, place)
    remote = ours.remote(place)
    document = remote.manifest(state_tag(STATE, place.prefix))
    assert document is not None
    other = digest_bytes(b"another state")
    remote.push_manifest(document.data, document.descriptor.media_type, tags=(state_tag(other, place.prefix),))
    assert restore_state(theirs.store, theirs.readers(place), other, "app:deps", theirs.said.append) == ""
    assert theirs.store.states.is_empty(other)


def test_wrong_bytes_leave_the_state_empty(
    ours: Machine, theirs: Machine, place: Place, registry: MemoryRegistry, new_machine: NewMachine
) -> None:
    from lamella.testing.registry import Fault

    fill(ours.store)
    push(ours, place)
    registry.script(Fault("/blobs/", times=0, body=b"x" * 50))
    assert restore(theirs, place) == ""
    assert theirs.store.states.is_empty(STATE)
    assert "could not be had" in theirs.said[0]
