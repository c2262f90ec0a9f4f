"""The same layer as root and as an ordinary user in a user namespace; rows 28 and DESIGN 7b.5."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamella.layers.snapshot import scan_upper
from tests.integration.components.presence import find_program, missing, require_program, require_root

ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534
CAPABILITY = "0100000200040000000000000000000000000000"


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that an ordinary user may enter, which those of pytest are not."""
    place = Path(tempfile.mkdtemp(prefix="lamella-rootless-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def run(command: list[str], folder: Path, mode: str) -> dict[str, Any]:
    program = [python_for(command), "-m", "tests.integration.layers.rootless_program", str(folder), mode]
    done = subprocess.run(
        [*command, *program], capture_output=True, text=True, check=False, cwd=ROOT, env=environment(), timeout=120
    )
    if done.returncode:
        if "mount:" in done.stderr:
            missing(f"no overlay in a user namespace here: {done.stderr.strip()[-300:]}")
        raise AssertionError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def environment() -> dict[str, str]:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


def python_for(command: list[str]) -> str:
    """An interpreter that the user of ``command`` may start: this one may lie in somebody's home."""
    said = ""
    for path in (sys.executable, "/usr/bin/python3"):
        trial = [*command, path, "-c", "import sys; assert sys.version_info >= (3, 11)"]
        done = subprocess.run(trial, capture_output=True, text=True, check=False, env=environment())
        if done.returncode == 0:
            return path
        said = done.stderr.strip()[-300:]
    return missing(f"no user namespace, or no Python that can be started in it: {said}")


def as_ordinary_user(folder: Path) -> list[str]:
    unshare = require_program("unshare", "util-linux")
    if os.geteuid() != 0:
        return [unshare, "-Urm"]
    os.chown(folder, NOBODY, NOBODY)
    setpriv = require_program("setpriv", "util-linux")
    return [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", unshare, "-Urm"]


def test_a_rootless_step_gives_the_layer_that_a_step_of_root_gives(home: Path) -> None:
    require_root()
    if find_program("setcap") is None:
        missing("setcap is not installed (Debian package libcap2-bin)")
    for name in ("theirs", "ours"):
        (home / name).mkdir()
    theirs = run([require_program("unshare", "util-linux"), "-m"], home / "theirs", "root")
    ours = run(as_ordinary_user(home / "ours"), home / "ours", "rootless")
    assert ours["same"]
    assert theirs["same"]
    assert ours["diff_id"] == theirs["diff_id"]
    assert ours["changes"] == [
        ["dir", "DIRECTORY"],
        ["dir/a", "WHITEOUT"],
        ["dir/new", "FILE"],
        ["link", "WHITEOUT"],
        ["server", "FILE"],
        ["whole", "OPAQUE"],
        ["whole/y", "FILE"],
    ]
    assert ours["opaque"]
    assert ours["capability"] == CAPABILITY
    assert ours["warnings"] == ["device node null was left out"]


def test_a_capability_with_a_namespace_root_is_rewritten_when_it_is_read_from_outside(home: Path) -> None:
    """What a rootless step stored names the user that ran it; an image must not."""
    require_root()
    if find_program("setcap") is None:
        missing("setcap is not installed (Debian package libcap2-bin)")
    folder = home / "ours"
    folder.mkdir()
    run(as_ordinary_user(folder), folder, "rootless")
    stored = os.getxattr(folder / "upper/server", "security.capability")
    assert (len(stored), stored[3]) == (24, 3)
    entry = scan_upper(folder / "upper", [folder / "lower"]).get("server")
    assert entry is not None
    assert dict(entry.xattrs) == {"security.capability": CAPABILITY}
