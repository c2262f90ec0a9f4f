"""``kill -9`` in the middle of a build: the next build is right and the store is clean."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.e2e.conftest import Cli, write_tree

TOML = """
[project]
schema = 1
name = "kill-NAME"

[layer.base]
bootstrap = "debian/bookworm"

[layer.slow]
run = [["sh", "-c", "for i in 1 2 3 4 5 6; do echo line $i; head -c 2000000 /dev/zero > /srv/$i; sleep 0.3; done"]]
inputs = ["data"]

[layer.files]
files = [{ from = "data", to = "/srv/data" }]

[image.kill]
layers = ["base", "slow", "files"]
entrypoint = ["sh", "-c", "ls /srv | tr '\\n' ' '; cat /srv/data"]
"""


def running_in(store: Path) -> list[str]:
    """Command lines of processes that still know the store."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                roots = os.readlink(process / "root")
            except OSError:
                continue
            if str(store) in line or str(store) in roots:
                found.append(line)
    return found


@pytest.mark.parametrize("delay", [0.4, 1.0, 1.6, 2.2])
def test_a_killed_build_leaves_a_store_that_builds_right(cli: Cli, tmp_path: Path, delay: float) -> None:
    """At several moments: nobody and no mount is left, the image is right, ``cache verify`` finds nothing."""
    name = f"{os.getpid()}-{int(delay * 10)}"
    folder = write_tree(tmp_path, {"lamella.toml": TOML.replace("NAME", name), "data": f"{delay}\n"})
    process = subprocess.Popen(
        [sys.executable, "-m", "lamella.cli", "build"], cwd=folder, start_new_session=True,
        env={**os.environ, "LAMELLA_STORE": str(cli.store)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while any(name in line for line in running_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert str(cli.store / "tmp") not in Path("/proc/self/mountinfo").read_text()
    report = cli.build(folder)
    assert report["images"]
    assert cli.run(folder, "run", "kill", "--no-build").stdout.split() == [*"123456", "data", f"{delay}"]
    verified = cli.run(folder, "cache", "verify")
    assert verified.returncode == 0, verified.stdout


def test_an_interrupt_ends_a_build_with_130(cli: Cli, tmp_path: Path) -> None:
    """SIGINT: the step dies, the exit code says so, within seconds (RELIABILITY row 6)."""
    folder = write_tree(tmp_path, {"lamella.toml": TOML.replace("NAME", f"int-{os.getpid()}"), "data": "x\n"})
    process = subprocess.Popen(
        [sys.executable, "-m", "lamella.cli", "build", "--progress", "plain"], cwd=folder, start_new_session=True,
        env={**os.environ, "LAMELLA_STORE": str(cli.store)}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "line 1" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    start = time.monotonic()
    code = process.wait(timeout=120)
    process.stderr.close()
    assert code == 130
    assert time.monotonic() - start < 60, "the step itself would go on for minutes"
    assert cli.run(folder, "cache", "verify").returncode == 0
