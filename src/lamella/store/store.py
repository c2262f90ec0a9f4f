"""One open store: its parts, put together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lamella.clock import SystemClock
from lamella.commit import commit_bytes, disk_errors, replace_file, sweep_temporary_files
from lamella.errors import ConfigError
from lamella.host.locks import OnWait, file_system_type, hold, is_network_type, lock_directory, try_lock
from lamella.oci.manifest import Index as ImageIndex
from lamella.store.context import LOCK_TIMEOUT, Context, Remover, StoreLock, remove_tree
from lamella.store.held import HOLD_TIMEOUT
from lamella.store.layout import FOLDERS, IMAGE_LAYOUT, LOCKS, STORE_FORMAT, Layout, id_name
from lamella.store.leases import Lease, Leases, live_leases
from lamella.store.lookup import StoreLookup
from lamella.store.parts import Parts

if TYPE_CHECKING:
    from lamella.graph.protocols import Clock
    from lamella.store.gc import GcPolicy, GcReport
    from lamella.store.index import Index  # SQLite is loaded when it is first asked something
    from lamella.store.repair import RepairReport
    from lamella.store.status import StoreStatus
    from lamella.store.verify import VerifyReport

__all__ = ["Store"]

_VERSION = "lamella store "


class Store:
    """A store that is open. Safe for threads and for other processes; make one with :meth:`open`.

    ``blobs``, ``snapshots``, ``records``, ``variants``, ``states``, ``caches``, ``images`` and ``pins`` are its
    parts, ``logs`` and ``scan`` directories for others to use, ``lookup`` the records as planning wants them.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._index: Index | None = None
        self._mutex = threading.Lock()
        self._leftovers = False
        self._parts = parts = Parts.of(context, self.index)
        self.layout = context.layout
        self.blobs = parts.blobs
        self.snapshots = parts.snapshots
        self.records = parts.records
        self.variants = parts.variants
        self.states = parts.states
        self.caches = parts.caches
        self.images = parts.images
        self.pins = parts.pins
        self.lookup = StoreLookup(parts.records, parts.blobs)
        self.logs = context.layout.folder("logs")
        self.scan = context.layout.folder("scan")

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        clock: Clock | None = None,
        warn: Callable[[str], None] = lambda text: None,
        on_wait: OnWait | None = None,
        remover: Remover = remove_tree,
        allow_network: bool = False,
    ) -> Store:
        """Opens the store at ``root``, made when missing; one that may not be written is opened for reading.

        ``warn`` takes texts for people, ``on_wait`` what is waited for and for how long; ``remover`` deletes trees.
        Raises ConfigError for another version, for a network file system unless ``allow_network``, and where nothing
        can be made; ResourceError when disk or inodes are used up.
        """
        layout = Layout(root)
        version = _read_version(layout)
        if version is None:
            _make(layout)
        elif version == 0:
            warn(f"the version file of the store {root} was damaged; it was written anew")
            replace_file(layout.version, _version_bytes(), staging=layout.staging)
        elif version != STORE_FORMAT:
            raise ConfigError(
                f"the store {root} has version {version}, this release knows {STORE_FORMAT}",
                hint="use a newer release, or set LAMELLA_STORE to another place",
            )
        check_file_system(root, file_system_type(root), allow_network, warn)
        read_only = not os.access(root, os.W_OK)
        store = cls(
            Context(
                layout,
                StoreLock(layout.lock("store"), enabled=not read_only, on_wait=on_wait),
                Leases(layout.folder("leases"), enabled=not read_only),
                clock or SystemClock(),
                remover,
                warn,
                on_wait,
                read_only,
            )
        )
        if not read_only:
            store.sweep()
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The directory of the store."""
        return self.layout.root

    @property
    def read_only(self) -> bool:
        """Whether this store may only be read: then there are no locks, no leases and no repairs."""
        return self._context.read_only

    def set_remover(self, remover: Remover) -> None:
        """From now on trees are deleted by ``remover``: an engine's, when files belong to its id mapping."""
        self._context.remover = remover

    def lease(self, purpose: str) -> AbstractContextManager[Lease | None]:
        """Holds on to every object that is read or written inside the block (RELIABILITY S7)."""
        return self._context.leases.lease(purpose)

    def key_lock(
        self, key: str, *, timeout: float | None = HOLD_TIMEOUT, on_wait: OnWait | None = None
    ) -> AbstractContextManager[int]:
        """So that of all processes and threads one executes the step of a resolved key; the others look again.

        Raises StoreBusyError when the holder does not finish within ``timeout`` seconds.
        """
        self._context.check_writable()
        return hold(
            self.layout.lock(f"key-{id_name(key)}"),
            timeout=timeout,
            on_wait=on_wait or self._context.on_wait,
            what=f"step {key.partition(':')[2][:12]}",
        )

    def index(self) -> Index:
        """The SQLite index, opened when it is first needed."""
        with self._mutex:
            if self._index is None:
                from lamella.store.index import Index

                self._index = Index(self._context)
            return self._index

    def sweep(self) -> None:
        """Removes leases of dead runs and moves what they left half made into the trash, unless others are busy."""
        live_leases(self.layout.folder("leases"))
        if os.listdir(self.layout.staging):
            fd = try_lock(self.layout.lock("store"))
            if fd is not None:
                try:
                    _sweep_staging(self._context)
                finally:
                    os.close(fd)
        self._leftovers = bool(os.listdir(self.layout.trash))

    def gc(self, policy: GcPolicy | None = None, *, dry_run: bool = False) -> GcReport:
        """Takes away what nothing needs; what a live lease holds stays. Raises StoreBusyError."""
        from lamella.store.gc import GcPolicy, collect

        return collect(self._parts, policy or GcPolicy(), dry_run=dry_run)

    def verify(self, *, deep: bool = False) -> VerifyReport:
        """Reads everything again and puts what is corrupt into quarantine; ``deep``: also the files of snapshots."""
        from lamella.store.verify import verify

        return verify(self._parts, deep=deep)

    def repair(self) -> RepairReport:
        """Makes the index anew and drops what points to nothing; blobs are never touched by it."""
        from lamella.store.repair import repair

        return repair(self._parts)

    def status(self) -> StoreStatus:
        """What is there, by kind, project, layer and age."""
        from lamella.store.status import survey_status

        return survey_status(self._parts)

    def close(self) -> None:
        """Lets go of everything; leftovers of dead runs are deleted now."""
        if self._leftovers:
            self._leftovers = False
            self._context.empty_trash()
        self._context.leases.close()
        with self._mutex:
            index, self._index = self._index, None
        if index is not None:
            index.close()


def _read_version(layout: Layout) -> int | None:
    """The version of a store; None when there is none, 0 when the file says nothing."""
    try:
        text = layout.version.read_bytes()
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise ConfigError(f"the store {layout.root} is no directory", hint="set LAMELLA_STORE to one") from error
    except PermissionError as error:
        raise ConfigError(
            f"the store {layout.root} cannot be read", hint="set LAMELLA_STORE to a place that you own"
        ) from error
    number = text.decode("ascii", "replace").removeprefix(_VERSION).strip()
    return int(number) if text.startswith(_VERSION.encode()) and number.isdigit() else 0


def _version_bytes() -> bytes:
    return f"{_VERSION}{STORE_FORMAT}\n".encode()


def _make(layout: Layout) -> None:
    """Makes an empty store; the version file comes last, so a half made one is made again."""
    try:
        with disk_errors("making the store", layout.root), suppress(FileExistsError):
            layout.root.mkdir(mode=0o700, parents=True)
    except FileNotFoundError as error:  # what procfs and its like say
        raise ConfigError(
            f"the store {layout.root} cannot be made: its folder takes no files",
            hint="set LAMELLA_STORE to another place",
        ) from error
    with disk_errors("making the store", layout.root):
        layout.folder("locks").mkdir(mode=0o755, exist_ok=True)
    with hold(layout.lock("make"), timeout=LOCK_TIMEOUT, what="making the store"):
        if _read_version(layout) is not None:
            return
        with disk_errors("making the store", layout.root):
            for name in FOLDERS:
                layout.folder(name).mkdir(mode=0o755, parents=True, exist_ok=True)
            for name in LOCKS:
                layout.lock(name).touch(mode=0o600)
        commit_bytes(layout.oci / "oci-layout", IMAGE_LAYOUT, staging=layout.staging, mode=0o644)
        commit_bytes(layout.oci / "index.json", ImageIndex(()).to_bytes(), staging=layout.staging, mode=0o644)
        commit_bytes(layout.version, _version_bytes(), staging=layout.staging, mode=0o644)


def check_file_system(root: Path, kind: str, allowed: bool, warn: Callable[[str], None]) -> None:
    """Locks and SQLite mean little on a network file system (bupstash issue 157, SQLite's FAQ).

    Raises ConfigError for one, or only warns when it is ``allowed``.
    """
    if not is_network_type(kind):
        return
    text = f"the store {root} is on a network file system ({kind}), where locks may not hold"
    if not allowed:
        raise ConfigError(text, hint="set LAMELLA_STORE to a local disk")
    warn(f"{text}; only one machine may use it")


def _sweep_staging(context: Context) -> None:
    """Under the exclusive store lock nobody is between making something and locking it."""
    staging = context.layout.staging
    sweep_temporary_files(staging)
    for name in os.listdir(staging):
        with suppress(FileNotFoundError, NotADirectoryError):
            lock = lock_directory(staging / name)
            if lock is not None:
                context.discard(staging / name)
                os.close(lock)
