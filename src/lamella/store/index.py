"""The index: SQLite beside the files, for what a file name cannot answer (RELIABILITY S4).

It holds nothing that the files do not say: which record is the newest of a vertex name, and which blobs were
checked in this boot. It is brought up to date from the records' folders whenever those changed, so a crash between
file and row costs nothing, and one that is damaged, empty or of another version is moved aside and made anew.

``synchronous=FULL`` with a rollback journal rather than WAL: there is one small write per executed step, a store
may lie on a read-only medium, and one file is all there is to move aside.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from lamella.errors import HostileInputError, ResourceError, StoreBusyError
from lamella.graph.record import Record
from lamella.host.locks import hold
from lamella.store.blobs import Fingerprint
from lamella.store.context import LOCK_TIMEOUT, Context, random_name
from lamella.store.record_format import parse_record

__all__ = ["INDEX_FORMAT", "Index"]

T = TypeVar("T")

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

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_BUSY_SECONDS = 30.0
_SETTLED_SECONDS = 2
_SYNC_SECONDS = 1.0


class Index:
    """The index of one open store; made or repaired on opening. Thread-safe.

    Raises StoreBusyError when another process keeps it locked, ResourceError when the disk is full or failing.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._mutex = threading.RLock()
        self._boot = _boot_id()
        self._synced = float("-inf")
        with self._explained():
            self._connection = self._open()
            self._note_inode()

    def close(self) -> None:
        """Closes the file."""
        with self._mutex:
            self._connection.close()

    # -- records ---------------------------------------------------------------------------------------------------

    def latest(self, project: str, name: str) -> tuple[str, ...]:
        """Keys of the newest records of a vertex name, newest first, at most three."""

        def query() -> tuple[str, ...]:
            self._sync(force=False)
            rows = self._connection.execute(
                "SELECT key FROM record WHERE project = ? AND name = ? ORDER BY created DESC, key LIMIT 3",
                (project, name),
            )
            return tuple(row[0] for row in rows)

        return self._run(query)

    def add(self, record: Record, inode: int) -> None:
        """Notes a record whose file has just been committed."""
        row = _row(record, inode)
        self._run(lambda: self._write("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?)", [row]))

    def remove(self, keys: Iterable[str]) -> None:
        """Forgets records."""
        rows = [(key,) for key in keys]
        self._run(lambda: self._write("DELETE FROM record WHERE key = ?", rows))

    def keys(self) -> frozenset[str]:
        """Keys of all records that it knows, after a look at the folders."""

        def query() -> frozenset[str]:
            self._sync(force=True)
            return frozenset(row[0] for row in self._connection.execute("SELECT key FROM record"))

        return self._run(query)

    # -- checked blobs ---------------------------------------------------------------------------------------------

    def known(self, digest: str, fingerprint: Fingerprint) -> bool:
        """Whether this very file was found right in this boot."""

        def query() -> bool:
            row = self._connection.execute(
                "SELECT device, inode, size, mtime_ns, ctime_ns FROM checked WHERE digest = ? AND boot = ?",
                (digest, self._boot),
            ).fetchone()
            return row is not None and tuple(row) == fingerprint

        return bool(self._boot) and self._run(query)

    def add_checked(self, digest: str, fingerprint: Fingerprint) -> None:
        """Remembers that a file was found right; what earlier boots knew is forgotten."""

        def write() -> None:
            with self._transaction() as connection:
                connection.execute("DELETE FROM checked WHERE boot != ?", (self._boot,))
                connection.execute(
                    "INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?, ?, ?, ?)", (digest, self._boot, *fingerprint)
                )

        if self._boot:
            self._run(write)

    # -- health ----------------------------------------------------------------------------------------------------

    def problem(self) -> str:
        """What SQLite finds wrong with the file; empty for nothing. Does not repair."""
        with self._mutex, self._explained():
            try:
                row = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
            except sqlite3.DatabaseError as error:
                if _code(error) in _DAMAGED:
                    return str(error)
                raise
            return "" if row[0] == "ok" else str(row[0])

    def rebuild(self) -> int:
        """Makes the index anew from the records' files; returns the number of records."""
        with self._mutex, self._explained():
            with self._lock():
                self._move_aside()
            self._reopen()
            self._sync(force=True)
            return int(self._connection.execute("SELECT count(*) FROM record").fetchone()[0])

    # -- opening ---------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        path = self._context.layout.index
        if self._context.read_only:
            connection = _connect(":memory:")
            _create(connection)
            return connection
        sound = self._try_open(path)
        if sound is not None:
            return sound
        with self._lock():
            sound = self._try_open(path)  # somebody else may have been first
            if sound is not None:
                return sound
            if os.path.lexists(path):
                self._move_aside()
                self._context.warn("the store's index was damaged or of another version; it was made anew")
            connection = _connect(path)
            _create(connection)
            return connection

    def _try_open(self, path: Path) -> sqlite3.Connection | None:
        """A connection to a sound index of our format; None when there is none."""
        try:
            if not path.is_file() or not path.stat().st_size:
                return None
            connection = _connect(path)
            try:
                if connection.execute("PRAGMA user_version").fetchone()[0] == INDEX_FORMAT:
                    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        except sqlite3.DatabaseError as error:
            if _code(error) not in _DAMAGED:
                raise
        return None

    def _move_aside(self) -> None:
        path = self._context.layout.index
        target = self._context.layout.folder("quarantine") / f"index-{random_name()}"
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{target}{suffix}")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with hold(self._context.layout.lock("index"), timeout=LOCK_TIMEOUT, what="the store's index"):
            yield

    # -- staying up to date ----------------------------------------------------------------------------------------

    def _sync(self, *, force: bool) -> None:
        """Takes over what changed in the records' folders, by their modification times."""
        now = self._context.clock.monotonic()
        if not force and now - self._synced < _SYNC_SECONDS:
            return
        folder = self._context.layout.folder("records")
        known = dict(self._connection.execute("SELECT name, mtime_ns FROM shard"))
        changed = {}
        for shard in os.listdir(folder):
            with suppress(FileNotFoundError):
                mtime = os.stat(folder / shard).st_mtime_ns
                if known.get(shard) != mtime:
                    changed[shard] = mtime
        gone = known.keys() - set(os.listdir(folder))
        if changed or gone:
            with self._transaction() as connection:
                for shard in gone:
                    connection.execute("DELETE FROM record WHERE shard = ?", (shard,))
                    connection.execute("DELETE FROM shard WHERE name = ?", (shard,))
                for shard, mtime in changed.items():
                    self._sync_shard(connection, folder / shard, mtime)
        self._synced = now

    def _sync_shard(self, connection: sqlite3.Connection, folder: Path, mtime: int) -> None:
        rows = dict(connection.execute("SELECT key, inode FROM record WHERE shard = ?", (folder.name,)))
        seen = set()
        with os.scandir(folder) as entries:
            for entry in entries:
                key = f"sha256:{entry.name.removesuffix('.json')}"
                seen.add(key)
                if rows.get(key) == entry.inode():
                    continue
                with suppress(OSError, HostileInputError):
                    record = parse_record(Path(entry.path).read_bytes()).record
                    connection.execute(
                        "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?)", _row(record, entry.inode())
                    )
        connection.executemany("DELETE FROM record WHERE key = ?", [(key,) for key in rows.keys() - seen])
        # Two changes within one tick of the clock leave one time, so a young one is looked at again.
        settled = self._context.clock.now() - mtime // 10**9 >= _SETTLED_SECONDS
        connection.execute("INSERT OR REPLACE INTO shard VALUES (?, ?)", (folder.name, mtime if settled else 0))

    # -- running statements ----------------------------------------------------------------------------------------

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self._transaction() as connection:
            connection.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _run(self, work: Callable[[], T]) -> T:
        """Runs statements; when the file turns out to be damaged or moved they run once more on a sound one."""
        with self._mutex, self._explained():
            if self._is_moved():
                self._reopen()
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if _code(error) not in _DAMAGED and _extended_code(error) != sqlite3.SQLITE_READONLY_DBMOVED:
                    raise
            if not self._is_moved():
                self._context.warn("the store's index was damaged; it was made anew")
                with self._lock():
                    self._move_aside()
            self._reopen()
            return work()

    def _is_moved(self) -> bool:
        """Whether another process moved the file aside that this connection still has open."""
        if self._context.read_only:
            return False
        try:
            return os.stat(self._context.layout.index).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _reopen(self) -> None:
        self._connection.close()
        self._synced = float("-inf")
        self._connection = self._open()
        self._note_inode()

    def _note_inode(self) -> None:
        self._inode = 0 if self._context.read_only else os.stat(self._context.layout.index).st_ino

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise _explain(error, self._context.layout.index) from error


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    """The tables and, with them in one transaction, the version that says that they are all there."""
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {INDEX_FORMAT}; COMMIT;")


def _row(record: Record, inode: int) -> tuple[object, ...]:
    shard = record.key.partition(":")[2][:2]
    return record.key, shard, inode, record.project, record.name, record.created


def _extended_code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; 0 for errors that Python's module found itself."""
    return int(getattr(error, "sqlite_errorcode", 0))


def _code(error: sqlite3.Error) -> int:
    """The primary result code: the low byte of the extended one (sqlite.org/rescode.html)."""
    return _extended_code(error) & 0xFF


def _explain(error: sqlite3.OperationalError, path: Path) -> Exception:
    code = _code(error)
    if code in _BUSY:
        return StoreBusyError(
            f"the store's index {path} was locked for more than {_BUSY_SECONDS:g} s",
            hint="wait for the other run to end",
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM):
        return ResourceError(f"the store's index {path} cannot be used: {error}", hint="is the disk full or failing?")
    return error


def _boot_id() -> str:
    """This boot's id, random(4); empty where there is none, and then nothing is remembered across processes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
