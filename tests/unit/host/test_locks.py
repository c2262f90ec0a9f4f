from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lamella.errors import StoreBusyError
from lamella.host.locks import (
    file_system_type,
    hold,
    holders,
    is_network_type,
    lock_directory,
    try_lock,
)

HOLDER = """
import sys, time
from pathlib import Path
from lamella.host.locks import hold
with hold(Path(sys.argv[1]), shared=len(sys.argv) > 2):
    print("held", flush=True)
    time.sleep(60)
"""


def other_process(path: Path, *more: str) -> subprocess.Popen[str]:
    """Another process that holds the lock and has said so."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path), *more], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_lock_excludes_and_ends_with_its_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path), pytest.raises(StoreBusyError), hold(path, timeout=0):
        pass
    with hold(path, timeout=0):
        pass


def test_shared_locks_share_and_exclude_an_exclusive_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path, shared=True), hold(path, shared=True, timeout=0):
        fd = try_lock(path)
        assert fd is None
    with hold(path, timeout=0):
        pass


def test_the_error_names_what_who_and_how_long(tmp_path: Path) -> None:
    process = other_process(tmp_path / "lock")
    try:
        with pytest.raises(StoreBusyError) as caught, hold(tmp_path / "lock", timeout=0.05, what="state 'shop'"):
            pass
        assert caught.value.message == f"state 'shop' is still in use after 0.05 s by process {process.pid}"
        assert caught.value.exit_code == 4
    finally:
        end(process)


def test_a_dead_holder_frees_the_lock_whoever_has_its_pid_now(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = other_process(path)
    path.write_text(str(os.getpid()))  # a PID in the file means nothing
    end(process)
    with hold(path, timeout=5):
        assert os.getpid() in holders(path)


def test_a_stopped_holder_keeps_its_lock(tmp_path: Path) -> None:
    process = other_process(tmp_path / "lock")
    try:
        process.send_signal(signal.SIGSTOP)
        assert try_lock(tmp_path / "lock") is None
    finally:
        end(process)


def test_waiting_is_told_at_once_and_may_be_given_up(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []

    def give_up(what: str, seconds: float) -> None:
        told.append((what, seconds))
        if len(told) > 1:
            raise KeyboardInterrupt

    with hold(tmp_path / "lock"), pytest.raises(KeyboardInterrupt), hold(tmp_path / "lock", on_wait=give_up, what="it"):
        pass
    assert told[0][0] == "it"
    assert told[0][1] < 0.5 < told[1][1]


def test_a_waiter_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []

    def wait() -> None:
        with hold(path, timeout=10):
            order.append("waiter")

    with hold(path):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        order.append("holder")
    thread.join()
    assert order == ["holder", "waiter"]


def test_a_lock_file_that_its_holder_removes_locks_nobody_out_and_lets_no_two_in(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "lock", [0], [0]
    mutex = threading.Lock()

    def work() -> None:
        for _ in range(60):
            with hold(path, timeout=30):
                with mutex:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0)
                with mutex:
                    inside[0] -= 1
                os.unlink(path)  # the last thing a holder does: whoever comes next makes a new one

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_link_in_place_of_a_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "canary").write_bytes(b"")
    (tmp_path / "lock").symlink_to(tmp_path / "canary")
    with pytest.raises(OSError, match="symbolic links"):
        try_lock(tmp_path / "lock")


def test_without_create_a_missing_file_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        try_lock(tmp_path / "lock", create=False)
    assert os.listdir(tmp_path) == []


def test_a_directory_can_be_locked_itself(tmp_path: Path) -> None:
    first = lock_directory(tmp_path)
    assert first is not None
    assert lock_directory(tmp_path) is None
    os.close(first)
    second = lock_directory(tmp_path)
    assert second is not None
    os.close(second)


def test_file_system_types_are_the_kernels(tmp_path: Path) -> None:
    assert file_system_type(Path("/proc/self")) == "proc"
    assert file_system_type(tmp_path)
    assert file_system_type(tmp_path / "missing") == ""


@pytest.mark.parametrize(("kind", "network"), [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False)])
def test_network_file_systems_are_known_by_their_type(kind: str, network: bool) -> None:
    assert is_network_type(kind) is network
