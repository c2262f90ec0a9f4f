"""``lamella run`` without a daemon: what goes in, what comes out, and that nothing stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from lamella.store import Store
from tests.integration.images.hello import STATUS, TEXT
from tests.integration.runtime.conftest import HOST, Lamella


def sh(lamella: Lamella, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return lamella.run("run", "tools:dev", *HOST, *options, "--", "/bin/sh", "-c", script)


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(what: str, condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def leftovers(root: Path) -> list[str]:
    """What a run left in the store's place for things in the making, and mounts below it."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [*(name for name in os.listdir(root / "tmp")), *(point for point in mounts if point.startswith(str(root)))]


def test_output_and_exit_status_are_the_programs(images: Store, lamella: Lamella) -> None:
    done = lamella.run("run", "hello:dev")
    assert (done.returncode, done.stdout) == (STATUS, TEXT.decode())
    assert leftovers(images.root) == []


def test_the_program_finds_what_docker_would_give_it(images: Store, lamella: Lamella) -> None:
    done = sh(lamella, "id; pwd; echo $HOME $A $B; stat -c %u:%g .; cat /proc/1/comm", "-e", "B=2")
    user, folder, variables, owner, first = done.stdout.splitlines()
    assert user == "uid=7(shop) gid=8(shop) groups=8(shop),44(video)"
    assert (folder, variables, owner) == ("/made/here", "/home/shop image 2", "7:8")
    assert first == "bwrap"
    assert done.returncode == 0


def test_writes_are_thrown_away(images: Store, lamella: Lamella) -> None:
    assert sh(lamella, "echo x > /tmp/x && ls /tmp").stdout == "x\n"
    assert sh(lamella, "ls /tmp").stdout == ""
    assert leftovers(images.root) == []


def test_a_read_only_root_refuses_writes(images: Store, lamella: Lamella) -> None:
    done = sh(lamella, "touch /tmp/x", "--read-only", "-w", "/")
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


def test_a_folder_of_the_host_is_written_or_not_as_said(images: Store, lamella: Lamella, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert sh(lamella, "echo x > /data/x", "-v", "./mine:/data", "-u", "0").returncode == 0
    assert (tmp_path / "mine" / "x").read_text() == "x\n"
    refused = sh(lamella, "echo y > /data/x", "-v", "./mine:/data:ro", "-u", "0")
    assert "Read-only file system" in refused.stderr
    assert (tmp_path / "mine" / "x").read_text() == "x\n"


def test_a_named_volume_stays_and_belongs_to_whom_the_image_says(images: Store, lamella: Lamella) -> None:
    assert sh(lamella, "stat -c '%u:%g %a' /data; echo kept > /data/x", "-v", "stock:/data").stdout == "7:8 750\n"
    assert sh(lamella, "cat /data/x", "-v", "stock:/data").stdout == "kept\n"
    assert leftovers(images.root) == []


def test_without_a_network_there_is_only_loopback(images: Store, lamella: Lamella) -> None:
    names = sh(lamella, "cat /proc/net/dev | cut -d: -f1 | tail -n +3", "--network", "none").stdout.split()
    assert names == ["lo"]


def test_a_program_that_is_not_there_is_127(images: Store, lamella: Lamella) -> None:
    done = lamella.run("run", "tools:dev", *HOST, "--", "/no/such/program")
    assert done.returncode != 0
    assert "/no/such/program" in done.stderr


def test_an_unknown_user_is_named(images: Store, lamella: Lamella) -> None:
    done = sh(lamella, "id", "-u", "nobody-here")
    assert (done.returncode, "nobody-here" in done.stderr) == (2, True)
    assert leftovers(images.root) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_program_the_way_it_wants(
    images: Store, lamella: Lamella, port: int, number: signal.Signals
) -> None:
    with lamella.start("run", "server:dev", *HOST) as process:
        wait_for("the server answers", lambda: is_listening(port))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            assert answer.read() == b"hello\n"
        time.sleep(0.5)  # the watcher asks every 0.2 s
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (3, "listening\nbye\n")
    assert "healthy after" in err
    assert f"port {port}" in err
    assert not is_listening(port)
    assert leftovers(images.root) == []


def test_nothing_survives_a_killed_run(images: Store, lamella: Lamella, port: int) -> None:
    with lamella.start("run", "server:dev", *HOST) as process:
        wait_for("the server answers", lambda: is_listening(port))
        process.kill()
        process.communicate(timeout=120)
    wait_for("the server is gone", lambda: not is_listening(port))


def test_a_port_in_use_is_named_before_the_start(images: Store, lamella: Lamella, port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = lamella.run("run", "server:dev", *HOST)
    assert (done.returncode, f"port {port}" in done.stderr) == (2, True)


def test_detach_returns_when_the_program_is_healthy(images: Store, lamella: Lamella, port: int) -> None:
    done = lamella.run("run", "server:dev", *HOST, "--detach")
    assert done.returncode == 0, done.stderr
    pid = int(done.stdout)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            assert answer.status == 200
        assert f"kill {pid}" in done.stderr
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for("the server is gone", lambda: not is_listening(port))
    wait_for("nothing is left", lambda: leftovers(images.root) == [])
    [log] = images.logs.glob("run-*.log")
    assert log.read_text() == "listening\nbye\n"


def test_a_detached_program_that_ends_is_an_error_with_its_words(images: Store, lamella: Lamella) -> None:
    done = lamella.run("run", "hello:dev", "--detach")
    assert done.returncode == 1
    assert TEXT.decode().strip() in done.stderr
    wait_for("nothing is left", lambda: leftovers(images.root) == [])


@pytest.mark.skipif(os.geteuid() != 0, reason="limits of a whole container need root")
def test_a_memory_limit_holds_for_all_of_it(images: Store, lamella: Lamella) -> None:
    script = "b = bytearray(200 << 20)"
    done = lamella.run("run", "tools:dev", *HOST, "--memory", "64m", "--", "/usr/bin/python3", "-c", script)
    assert done.returncode != 0
    assert "memory" in done.stderr.lower()
