"""The index: SQLite beside the files, for what a file name cannot answer (RELIABILITY S4).

It holds nothing that the files do not say: which record is the newest of a vertex name, and which blobs were
checked in this boot. A record's row is not written with its file: when somebody asks, the index is brought up to date
from the records' folders that changed, so a crash between file and row costs nothing and a build that asks nothing
writes no row. One that is damaged, empty or of another version is moved aside and made anew.

``synchronous=FULL`` with a rollback journal rather than WAL: writes are few and small, a store may lie on a read-only
medium, and one file is all there is to move aside.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection

from lamella.errors import HostileInputError
from lamella.graph.record import Record
from lamella.store.blobs import Fingerprint
from lamella.store.context import Context
from lamella.store.index_file import IndexFile, transaction
from lamella.store.record_format import parse_record

__all__ = ["INDEX_FORMAT", "Index"]

INDEX_FORMAT = 1
"""The file's ``user_version``; another one is moved aside and the index made anew."""

_SCHEMA = """
CREATE TABLE record (key TEXT PRIMARY KEY, shard TEXT NOT NULL, inode INTEGER NOT NULL,
                     project TEXT NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX record_name ON record (project, name, created);
CREATE TABLE shard (name TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE checked (digest TEXT PRIMARY KEY, boot TEXT NOT NULL, device INTEGER, inode INTEGER, size INTEGER,
                      mtime_ns INTEGER, ctime_ns INTEGER) WITHOUT ROWID;
"""

_INSERT = "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?)"
_FORGET = "DELETE FROM record WHERE key = ?"
_FORGET_RECORDS = "DELETE FROM record WHERE shard = ?"
_FORGET_SHARD = "DELETE FROM shard WHERE name = ?"
_KNOW_SHARD = "INSERT OR REPLACE INTO shard VALUES (?, ?)"
_Change = tuple[str, tuple[object, ...]]
_SETTLED_SECONDS = 2
_SYNC_SECONDS = 1.0


class Index:
    """The index of one open store. Thread-safe. Raises StoreBusyError when another process keeps it locked."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._boot = _boot_id()
        self._synced = (-1, 0.0)
        self._checked: dict[str, Fingerprint] = {}
        self._file = IndexFile(context, _SCHEMA, INDEX_FORMAT, self._take_over)

    def close(self) -> None:
        """Writes down which blobs were checked, and closes the file."""
        try:
            if self._checked:
                self._file.run(self._write_checked)
        finally:
            self._file.close()

    def latest(self, project: str, name: str, *, look: bool = False) -> tuple[str, ...]:
        """Keys of the newest records of a vertex name, newest first, at most eight.

        Changes of the last second may be missing unless ``look``, which looks at the folders in any case.
        """

        def query(connection: Connection) -> tuple[str, ...]:
            self._sync(connection, force=look)
            rows = connection.execute(
                "SELECT key FROM record WHERE project = ? AND name = ? ORDER BY created DESC, key LIMIT 8",
                (project, name),
            )
            return tuple(row[0] for row in rows)

        return self._file.run(query)

    def keys(self) -> frozenset[str]:
        """Keys of all records that it knows, after a look at the folders."""

        def query(connection: Connection) -> frozenset[str]:
            self._sync(connection, force=True)
            return frozenset(row[0] for row in connection.execute("SELECT key FROM record"))

        return self._file.run(query)

    def known(self, digest: str, fingerprint: Fingerprint) -> bool:
        """Whether this very file was found right in this boot."""

        def query(connection: Connection) -> bool:
            row = connection.execute(
                "SELECT device, inode, size, mtime_ns, ctime_ns FROM checked WHERE digest = ? AND boot = ?",
                (digest, self._boot),
            ).fetchone()
            return row is not None and tuple(row) == fingerprint

        return bool(self._boot) and (self._checked.get(digest) == fingerprint or self._file.run(query))

    def add_checked(self, digest: str, fingerprint: Fingerprint) -> None:
        """Remembers that a file was found right; other processes see it when this one is done."""
        if self._boot:
            self._checked[digest] = fingerprint

    def _write_checked(self, connection: Connection) -> None:
        """What was found right, and nothing of earlier boots."""
        with transaction(connection):
            connection.execute("DELETE FROM checked WHERE boot != ?", (self._boot,))
            rows = [(digest, self._boot, *found) for digest, found in self._checked.copy().items()]
            connection.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def problem(self) -> str:
        """What SQLite finds wrong with the file; empty for nothing. Does not repair."""
        return self._file.problem()

    def rebuild(self) -> int:
        """Makes the index anew from the records' files; returns the number of records."""
        self._file.make_anew()
        return len(self.keys())

    def _sync(self, connection: Connection, *, force: bool) -> None:
        """Takes over what changed, if that was not done a moment ago."""
        now = (self._file.generation, self._context.clock.monotonic())
        if not force and now[0] == self._synced[0] and now[1] - self._synced[1] < _SYNC_SECONDS:
            return
        self._take_over(connection)
        self._synced = now

    def _take_over(self, connection: Connection) -> None:
        """Brings the rows up to date from the records' folders, by their modification times."""
        folder = self._context.layout.folder("records")
        known: dict[str, int] = dict(connection.execute("SELECT name, mtime_ns FROM shard"))
        there = {}
        for shard in os.listdir(folder):
            with suppress(FileNotFoundError):
                there[shard] = os.stat(folder / shard).st_mtime_ns
        changes: list[_Change] = []
        for shard in known.keys() - there.keys():
            changes += [(_FORGET_RECORDS, (shard,)), (_FORGET_SHARD, (shard,))]
        for shard, mtime in there.items():
            if known.get(shard) != mtime:
                changes += self._changes(connection, folder / shard, mtime, known.get(shard))
        if changes:
            with transaction(connection):
                for statement, row in changes:
                    connection.execute(statement, row)

    def _changes(self, connection: Connection, folder: Path, mtime: int, known: int | None) -> list[_Change]:
        """What has to be written so that the rows are what is in a folder; nothing when they are."""
        rows = dict(connection.execute("SELECT key, inode FROM record WHERE shard = ?", (folder.name,)))
        changes: list[_Change] = []
        seen = set()
        with os.scandir(folder) as entries:
            for entry in entries:
                key = f"sha256:{entry.name.removesuffix('.json')}"
                seen.add(key)
                if rows.get(key) == entry.inode():
                    continue
                with suppress(OSError, HostileInputError):
                    record = parse_record(Path(entry.path).read_bytes()).record
                    changes.append((_INSERT, _row(record, entry.inode())))
        changes += [(_FORGET, (key,)) for key in rows.keys() - seen]
        # Two changes within one tick of the clock leave one time, so a young one is looked at again.
        settled = self._context.clock.now() - mtime // 10**9 >= _SETTLED_SECONDS
        if known != (mark := mtime if settled else 0):
            changes.append((_KNOW_SHARD, (folder.name, mark)))
        return changes


def _row(record: Record, inode: int) -> tuple[object, ...]:
    shard = record.key.partition(":")[2][:2]
    return record.key, shard, inode, record.project, record.name, record.created


def _boot_id() -> str:
    """This boot's id, random(4); empty where there is none, and then nothing is remembered across processes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
