from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lamella.errors import InternalError, StoreBusyError
from lamella.store import Store


def test_a_state_keeps_what_was_put_into_it(store: Store) -> None:
    with store.states.hold("cargo target", label="app") as path:
        assert os.listdir(path) == []
        (path / "file").write_bytes(b"x")
    with store.states.hold("cargo target") as again:
        assert again == path
        assert os.listdir(again) == ["file"]
    with store.states.hold("another") as other:
        assert os.listdir(other) == []


def test_a_state_has_one_holder(store: Store) -> None:
    told: list[str] = []
    with store.states.hold("s", label="app:deps"):
        with pytest.raises(StoreBusyError, match="state 'app:deps'"):  # noqa: SIM117
            with store.states.hold("s", label="app:deps", timeout=0.02, on_wait=lambda what, _: told.append(what)):
                pass
        with store.states.hold("other", timeout=0):
            pass
    assert told == ["state 'app:deps'"]


@pytest.mark.parametrize("identity", ["../../../etc", "/etc/passwd", "", "a" * 5000, "\0", "\ud800", ".."])
def test_no_id_leaves_its_folder(store: Store, identity: str) -> None:
    for hold, folder in ((store.states.hold, "states"), (store.caches.hold, "caches")):
        with hold(identity) as path:
            assert path.parent.parent == store.layout.folder(folder)
            assert len(path.parent.name) == 64


def test_the_lock_survives_a_holder_that_deletes_everything(store: Store) -> None:
    with store.caches.hold("c", "locked") as path:
        shutil.rmtree(path)
        with pytest.raises(StoreBusyError), store.caches.hold("c", "locked", timeout=0):
            pass
    with store.caches.hold("c", "locked", timeout=0) as again:
        assert os.listdir(again) == []


def test_shared_caches_are_shared_and_keep_locked_ones_out(store: Store) -> None:
    with store.caches.hold("c") as one, store.caches.hold("c", timeout=0) as two:
        assert one == two
        with pytest.raises(StoreBusyError), store.caches.hold("c", "locked", timeout=0):
            pass


def test_private_caches_are_ones_own_while_held_and_are_used_again(store: Store) -> None:
    with store.caches.hold("c", "private") as one, store.caches.hold("c", "private") as two:
        assert one != two
        (two / "second").write_bytes(b"")
    with store.caches.hold("c", "private") as again:
        assert again == one
    with store.caches.hold("c") as shared, store.caches.hold("c", "private") as own:
        assert (shared, own) == (one, two)


def test_an_unknown_way_of_sharing_is_a_defect(store: Store) -> None:
    with pytest.raises(InternalError), store.caches.hold("c", "public"):
        pass


def test_locked_caches_serialise_threads(store: Store) -> None:
    def work() -> None:
        for _ in range(20):
            with store.caches.hold("c", "locked", timeout=30) as path:
                counter = path / "counter"
                number = int(counter.read_text()) if counter.exists() else 0
                counter.write_text(str(number + 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.caches.hold("c", "locked") as path:
        assert (path / "counter").read_text() == "80"


def test_a_held_state_is_not_removed(store: Store) -> None:
    with store.states.hold("s") as path:
        assert not store.states.remove("s")
        assert path.exists()
    assert store.states.remove("s")
    assert not path.exists()
    assert not store.states.remove("s")


WORKER = """
import os, sys
from pathlib import Path
from lamella.store import Store
from tests.unit.store.samples import put_record, parts_of
root, log = Path(sys.argv[1]), sys.argv[2]
with Store.open(root) as store, store.lease("build"):
    key = parts_of("step").key
    if store.records.find(key) is None:
        with store.key_lock(key):
            if store.records.find(key) is None:
                with open(log, "a") as file:
                    file.write("executed\\n")
                put_record(store, "step")
    record = store.records.find(key)
    print(record.result.tree)
"""


def test_of_sixteen_processes_with_one_key_one_executes_and_all_get_its_result(tmp_path: Path) -> None:
    """RELIABILITY row 13. The store itself is new, so making it is raced for too."""
    root, log = tmp_path / "store", tmp_path / "log"
    command = [sys.executable, "-c", WORKER, str(root), str(log)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(16)]
    results = {worker.communicate()[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0] * 16
    assert log.read_text() == "executed\n"
    assert len(results) == 1
