"""RELIABILITY rows 1, 2, 8 (no space) and 11: killed or failing at every single call that changes the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lamella.store import Store
from tests.integration.components.presence import require_program
from tests.integration.store.injection import Strace
from tests.integration.store.program import main
from tests.unit.store.samples import memory_folder, open_store, put_record, record_of

NEWEST = record_of("newest").key
NEW = record_of("new").key
ACTIONS = ["build", "retag", "collect", "repair"]
FAILING = ("write", "pwrite64", "fsync", "fdatasync", "syncfs", "ftruncate", "link", "linkat", "rename", "mkdir")


@pytest.fixture(scope="module")
def strace() -> Strace:
    return Strace(require_program("strace"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small store; in memory where possible, since about a hundred copies of it are made."""
    folder = (
        Path(memory_folder() or tmp_path_factory.mktemp("prepared")) / f"lamella-{tmp_path_factory.getbasetemp().name}"
    )
    folder.mkdir(exist_ok=True)
    assert main(str(folder / "store"), "prepare") == 0
    yield folder / "store"
    shutil.rmtree(folder)


def check_survivors(store: Store) -> None:
    """What was there before is there, and nothing is half there."""
    assert store.records.find(NEWEST) is not None
    assert store.images.resolve("kept:1") is not None
    report = store.verify(deep=True)
    assert report.findings == ()


def check_nothing_left_over(root: Path) -> None:
    """Opening and closing a store after a crash removes what was half made."""
    open_store(root).close()
    for name in ("tmp", "trash"):
        assert list((root / name).iterdir()) == [], name


def check_old_or_new(store: Store, action: str) -> None:
    """The thing that was being done is done or not, never in between."""
    with store.states.hold("state", timeout=0) as path:
        files = [(file.name, file.read_text()) for file in path.iterdir()]
        assert files == [("file", "state")] or (files == [] and action == "collect")
    if action == "build":
        record = store.records.find(NEW)
        if record is not None:
            snapshot = store.snapshots.find(record.result.tree)
            assert snapshot is not None
            assert (snapshot.path / "out").read_bytes() == b"new"
    if action == "retag":
        moved = store.images.resolve("moved:1")
        assert moved is None or store.blobs.read(moved.digest)


def after(root: Path, action: str) -> None:
    """A store after an accident: whole, tidy, and the next plain run succeeds."""
    check_nothing_left_over(root)
    if action != "repair":  # which begins with a corrupt blob: there the next run tells
        with open_store(root) as store:
            check_old_or_new(store, action)
            check_survivors(store)
    assert main(str(root), action) == 0
    with open_store(root) as store:
        check_survivors(store)
    if action == "build":
        with open_store(root) as store:
            assert store.records.find(NEW) is not None


def accidents(
    strace: Strace, prepared: Path, folder: Path, action: str, calls: tuple[str, ...] = ()
) -> list[tuple[str, int]]:
    """Every (call, n) of an action."""
    shutil.copytree(prepared, folder / "counted", symlinks=True)
    counts = strace.calls(folder / "counted", action, folder / "log")
    assert sum(counts.values()) > 20
    return [
        (call, number + 1) for call, count in counts.items() for number in range(count) if not calls or call in calls
    ]


@pytest.fixture
def folder(prepared: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    path = prepared.parent / f"runs-{abs(hash(request.node.name))}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_every_call_the_store_is_old_or_new_and_whole(
    strace: Strace, prepared: Path, folder: Path, action: str
) -> None:
    def kill(accident: tuple[str, int]) -> str:
        call, number = accident
        root = folder / f"{call}-{number}"
        shutil.copytree(prepared, root, symlinks=True)
        done = strace.inject(root, action, call, f"signal=KILL:when={number}")
        try:
            assert done.returncode != 0, "nothing was killed"
            after(root, action)
        except Exception as error:  # noqa: BLE001 - all accidents of a sweep are told at once
            return f"{call} {number}: {error!r} {done.stderr}"
        shutil.rmtree(root)
        return ""

    found = accidents(strace, prepared, folder, action)
    with ThreadPoolExecutor(2) as pool:
        failures = [text for text in pool.map(kill, found) if text]
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize(
    ("action", "error"), [("build", "EIO"), ("build", "ENOSPC"), ("collect", "EIO"), ("retag", "ENOSPC")]
)
def test_an_error_of_any_call_is_a_resource_error_and_nothing_is_committed(
    strace: Strace, prepared: Path, folder: Path, action: str, error: str
) -> None:
    codes: set[int] = set()

    def fail(accident: tuple[str, int]) -> str:
        call, number = accident
        root = folder / f"{call}-{number}"
        shutil.copytree(prepared, root, symlinks=True)
        done = strace.inject(root, action, call, f"error={error}:when={number}")
        codes.add(done.returncode)
        try:
            assert done.returncode in (0, 5), "exit code"
            assert "Traceback" not in done.stderr
            after(root, action)
        except Exception as problem:  # noqa: BLE001 - all accidents of a sweep are told at once
            return f"{call} {number}: {done.returncode} {problem!r} {done.stderr[-1500:]}"
        shutil.rmtree(root)
        return ""

    found = accidents(strace, prepared, folder, action, FAILING)
    with ThreadPoolExecutor(2) as pool:
        failures = [text for text in pool.map(fail, found) if text]
    assert not failures, "\n".join(failures)
    assert 5 in codes


def test_after_a_failed_fsync_the_bytes_are_written_again_from_their_source(
    strace: Strace, prepared: Path, folder: Path
) -> None:
    """RELIABILITY row 11, S3: the second run makes a new file; no inode of the failed one comes back."""
    root = folder / "store"
    shutil.copytree(prepared, root, symlinks=True)
    done = strace.inject(root, "build", "fsync", "error=EIO:when=1")
    assert done.returncode == 5
    assert "input/output error" in done.stderr
    with open_store(root) as store:
        before = {digest for digest, _ in store.blobs.all()}
        put_record(store, "new", name="new")
        assert {digest for digest, _ in store.blobs.all()} > before
