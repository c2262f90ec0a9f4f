"""One daemon for all test processes, alive exactly as long as one of them uses it.

    STATE/users     every user holds a shared lock on it while it uses the daemon
    STATE/starting  held exclusively by the user that looks whether a keeper runs, and starts one
    STATE/info      what users need to know; there only while the daemon answers
    STATE/error     why the start failed
    STATE/daemon/   everything the daemon writes

The keeper is a process of its own that ends the daemon as soon as it gets ``users`` exclusively. Kernel locks end
with their process, so a test run that is killed leaves nothing behind.
Started as ``python -m tests.integration.components.keeper NAME STATE``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.integration.components.daemons import remove
from tests.integration.components.processes import READY_SECONDS, DaemonError
from tests.integration.components.starters import STARTERS

ROOT = Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def shared_daemon(name: str, state: Path) -> Iterator[dict[str, str]]:
    """Use the daemon ``name`` whose state is below ``state``, started by the first user; yields its info.

    Raises:
        DaemonError: It could not be started; the message is its log's tail.
    """
    state.mkdir(parents=True, exist_ok=True)
    with (state / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (state / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not (state / "info").exists():
                _start_keeper(name, state)
            info = _wait_for_info(state)
        yield info


def _start_keeper(name: str, state: Path) -> None:
    """In a session of its own (setsid(1)), so that it outlives the test process that happens to be first."""
    (state / "error").unlink(missing_ok=True)
    subprocess.run(
        ["setsid", "--fork", sys.executable, "-m", "tests.integration.components.keeper", name, str(state)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        check=True,
    )


def _wait_for_info(state: Path) -> dict[str, str]:
    deadline = time.monotonic() + READY_SECONDS + 5
    while time.monotonic() < deadline:
        if (state / "error").exists():
            raise DaemonError((state / "error").read_text(encoding="utf-8"))
        with contextlib.suppress(FileNotFoundError):
            info: dict[str, str] = json.loads((state / "info").read_text(encoding="utf-8"))
            return info
        time.sleep(0.02)
    raise DaemonError("the daemon's keeper did not report in time")


def _write(path: Path, text: str) -> None:
    """Write a small file so that a reader sees all of it or nothing."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def keep(name: str, state: Path) -> int:
    """Run the daemon until nobody uses it; 1 when it could not be started."""
    folder = state / "daemon"
    folder.mkdir(exist_ok=True)
    try:
        running = STARTERS[name](folder)
    except (DaemonError, subprocess.CalledProcessError, OSError) as error:
        _write(state / "error", f"{name}: {error}")
        remove(folder)
        return 1
    _write(state / "info", json.dumps(dict(running.info)))
    with (state / "users").open("r") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        (state / "info").unlink()
        running.stop()
        remove(folder)
    return 0


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], Path(sys.argv[2])))
