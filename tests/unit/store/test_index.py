"""RELIABILITY row 7: the index may be lost in any way; the files say it all."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from lamella.errors import StoreBusyError
from lamella.store import Store, index_file
from lamella.testing.clock import FixedClock
from tests.unit.store.samples import open_store, put_record


def damaged(path: Path, damage: str) -> None:
    """The index after an accident."""
    match damage:
        case "random bytes":
            path.write_bytes(os.urandom(path.stat().st_size))
        case "zero bytes":
            path.write_bytes(bytes(path.stat().st_size))
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[: 4096 + 100])
        case "older version" | "newer version":
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA user_version = " + ("0" if damage.startswith("older") else "99"))
            connection.close()
        case "half random":
            data = path.read_bytes()
            path.write_bytes(data[:100] + os.urandom(len(data) - 100))


@pytest.mark.parametrize(
    "damage", ["random bytes", "zero bytes", "empty", "cut", "older version", "newer version", "half random"]
)
def test_a_damaged_index_is_moved_aside_and_made_anew_with_a_warning(tmp_path: Path, damage: str) -> None:
    root = tmp_path / "store"
    with open_store(root) as store:
        records = [put_record(store, f"r{number}", name=f"n{number}") for number in range(5)]
        assert store.records.latest("shop", "n0") == records[0]
    damaged(root / "index.sqlite", damage)
    warnings: list[str] = []
    with open_store(root, warnings=warnings) as store:
        assert [store.records.latest("shop", record.name) for record in records] == records
        assert [store.records.find(record.key) for record in records] == records
        assert store.verify().clean
    assert len(warnings) == 1
    assert "index" in warnings[0]
    assert any(name.startswith("index-") for name in os.listdir(root / "quarantine"))


def test_an_index_that_is_gone_is_made_without_a_word(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        record = put_record(store, "one")
        assert store.records.latest("shop", "app") == record
    (tmp_path / "store" / "index.sqlite").unlink()
    warnings: list[str] = []
    with open_store(tmp_path / "store", warnings=warnings) as store:
        assert store.records.latest("shop", "app") == record
    assert warnings == []


def test_records_without_a_row_and_rows_without_a_record_are_found(store: Store, clock: FixedClock) -> None:
    """What a crash between file and row leaves, and what somebody deletes by hand."""
    kept, lost = put_record(store, "kept", name="kept"), put_record(store, "lost", name="lost")
    assert store.records.latest("shop", "kept") == kept
    store.index()._file._connection.execute("DELETE FROM record WHERE key = ?", (kept.key,))
    store.layout.record(lost.key).unlink()
    clock.advance(5)
    store.index()._file._connection.execute("DELETE FROM shard")
    assert store.records.latest("shop", "kept") == kept
    assert store.records.latest("shop", "lost") is None
    assert store.index().keys() == {kept.key}


def test_a_store_that_is_asked_nothing_has_no_index(store: Store) -> None:
    """A record is a file; rows are taken over when somebody asks for what file names do not say."""
    record = put_record(store, "one")
    assert store.records.find(record.key) == record
    assert not store.layout.index.exists()
    assert store.records.latest("shop", "app") == record


def test_what_was_just_put_or_dropped_is_known_at_once(store: Store) -> None:
    """Also when somebody asked a moment ago, on a clock that stands still."""
    assert store.records.latest("shop", "app") is None
    older = put_record(store, "one", created=1)
    assert store.records.latest("shop", "app") == older
    newer = put_record(store, "two", created=2)
    assert store.records.latest("shop", "app") == newer
    store.records.drop(newer.key)
    assert store.records.latest("shop", "app") == older


def test_what_another_process_puts_is_found(tmp_path: Path, clock: FixedClock) -> None:
    with open_store(tmp_path / "store", clock) as one, open_store(tmp_path / "store", clock) as two:
        assert two.records.latest("shop", "app") is None
        record = put_record(one, "one")
        clock.advance(5)
        assert two.records.latest("shop", "app") == record


def test_rebuilding_gives_the_same_answers(store: Store) -> None:
    records = [put_record(store, f"r{number}", name=f"n{number % 3}", created=number) for number in range(9)]
    answers = [store.records.latest("shop", f"n{number}") for number in range(3)]
    assert store.index().rebuild() == len(records)
    assert [store.records.latest("shop", f"n{number}") for number in range(3)] == answers == records[6:]


def test_a_locked_index_is_busy_and_no_reason_not_to_read_a_blob(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_file, "_BUSY_SECONDS", 0.1)
    digest = store.blobs.put_bytes(b"data")
    store.index()
    holder = sqlite3.connect(store.layout.index, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    clock.advance(60)
    try:
        with store.blobs.open(digest) as file:
            assert file.read() == b"data"
        with pytest.raises(StoreBusyError) as caught:
            store.records.latest("shop", "app")
        assert caught.value.exit_code == 4
    finally:
        holder.close()
