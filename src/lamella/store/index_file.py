"""The index's SQLite file: opened, made anew when it is damaged, done without when it cannot be written.

Nothing in it is needed to find the truth again, so no trouble with it ends a build: a damaged file is moved aside
and made anew, one on a full, failing or read-only disk is replaced by one in memory until the store is closed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from lamella.commit import TEMPORARY_PREFIX, commit_bytes
from lamella.errors import ResourceError, StoreBusyError
from lamella.host.locks import hold
from lamella.store.context import LOCK_TIMEOUT, Context, random_name

__all__ = ["IndexFile", "transaction"]

T = TypeVar("T")

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_UNUSABLE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_BUSY_SECONDS = 30.0


class IndexFile:
    """One open index. ``schema`` makes its tables, ``version`` is its ``user_version``, ``fill`` writes the first rows
    of a new one. Thread-safe.

    ``generation`` grows whenever another file takes the place of the one that was open. Raises StoreBusyError when
    another process keeps it locked.
    """

    def __init__(self, context: Context, schema: str, version: int, fill: Callable[[sqlite3.Connection], None]) -> None:
        self._context = context
        self._fill = fill
        self._script = f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {version}; COMMIT;"
        self._version = version
        self._path = context.layout.index
        self._mutex = threading.RLock()
        self._inode = 0
        self.generation = 0
        self._connection = self._open()

    def close(self) -> None:
        """Closes the file."""
        with self._mutex:
            self._connection.close()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs statements; when the file cannot be used as it is, they run once more on one that can."""
        with self._mutex, _busy_explained(self._path):
            if self._is_moved():
                self._replace(self._open)
            try:
                return work(self._connection)
            except sqlite3.DatabaseError as error:
                if _code(error) in _DAMAGED and not self._is_moved():
                    self._move_aside(told=True)
                    self._replace(self._open)
                elif _code(error) in _DAMAGED or _extended_code(error) == sqlite3.SQLITE_READONLY_DBMOVED:
                    self._replace(self._open)
                elif _code(error) in _UNUSABLE:
                    self._replace(partial(self._in_memory, error))
                else:
                    raise
            return work(self._connection)

    def problem(self) -> str:
        """What SQLite finds wrong with the file; empty for nothing. Does not repair."""
        with self._mutex, _busy_explained(self._path):
            try:
                row = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
            except sqlite3.DatabaseError as error:
                if _code(error) in _DAMAGED:
                    return str(error)
                raise
            return "" if row[0] == "ok" else str(row[0])

    def make_anew(self) -> None:
        """Moves the file aside and makes an empty one."""
        with self._mutex, _busy_explained(self._path):
            self._move_aside()
            self._replace(self._open)

    # -- opening ---------------------------------------------------------------------------------------------------

    def _replace(self, opening: Callable[[], sqlite3.Connection]) -> None:
        self._connection.close()
        self.generation += 1
        self._connection = opening()

    def _open(self) -> sqlite3.Connection:
        """A connection to a sound file of our version, or to memory."""
        if self._context.read_only:
            return self._in_memory(None)
        try:
            with _busy_explained(self._path):
                connection = self._try_open() or self._make()
                self._inode = os.stat(self._path).st_ino
                return connection
        except (sqlite3.DatabaseError, OSError, ResourceError) as error:
            if isinstance(error, sqlite3.DatabaseError) and _code(error) not in _UNUSABLE:
                raise
            return self._in_memory(error)

    def _try_open(self) -> sqlite3.Connection | None:
        """A connection to a sound index of our version; None when there is none."""
        try:
            if not self._path.is_file() or not self._path.stat().st_size:
                return None
            connection = _connect(self._path)
            try:
                if connection.execute("PRAGMA user_version").fetchone()[0] == self._version:
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

    def _make(self) -> sqlite3.Connection:
        with self._lock():
            sound = self._try_open()  # somebody else may have been first
            if sound is not None:
                return sound
            if os.path.lexists(self._path):
                self._move_aside(told=True)
            commit_bytes(self._path, self._new_file(), staging=self._context.layout.staging, mode=0o644)
            return _connect(self._path)

    def _new_file(self) -> bytes:
        """The bytes of a new index: made without any sync, for the commit that follows does it once."""
        draft = self._context.layout.staging / f"{TEMPORARY_PREFIX}{random_name()}"
        try:
            with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA journal_mode = MEMORY")
                connection.executescript(self._script)
                self._fill(connection)
            return draft.read_bytes()
        finally:
            draft.unlink(missing_ok=True)

    def _in_memory(self, error: Exception | None) -> sqlite3.Connection:
        if error is not None:
            self._context.warn(f"the store's index {self._path} cannot be used, going on without: {error}")
        self._inode = 0
        connection = _connect(":memory:")
        connection.executescript(self._script)
        return connection

    def _move_aside(self, *, told: bool = False) -> None:
        target = self._context.layout.folder("quarantine") / f"index-{random_name()}"
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{self._path}{suffix}", f"{target}{suffix}")
        if told:
            self._context.warn("the store's index was damaged or of another version; it was made anew")

    def _is_moved(self) -> bool:
        """Whether another process moved the file aside that this connection still has open."""
        if not self._inode:
            return False
        try:
            return os.stat(self._path).st_ino != self._inode
        except FileNotFoundError:
            return True

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with hold(self._context.layout.lock("index"), timeout=LOCK_TIMEOUT, what="the store's index"):
            yield


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Statements that count together or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
    except BaseException:
        connection.close()
        raise
    return connection


def _extended_code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; 0 for errors that Python's module found itself."""
    return int(getattr(error, "sqlite_errorcode", 0))


def _code(error: sqlite3.Error) -> int:
    """The primary result code: the low byte of the extended one (sqlite.org/rescode.html)."""
    return _extended_code(error) & 0xFF


@contextmanager
def _busy_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if _code(error) not in _BUSY:
            raise
        raise StoreBusyError(
            f"the store's index {path} was locked for more than {_BUSY_SECONDS:g} s",
            hint="wait for the other run to end",
        ) from error
