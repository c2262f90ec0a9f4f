"""The same inputs give the same bytes: two checkout paths, two users, two umasks, two times, two stores."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.integration.components.presence import missing, require_program, require_root
from tests.integration.e2e.conftest import Cli, write_tree

TOML = """
[project]
schema = 1
name = "repro"

[layer.base]
bootstrap = "debian/bookworm"
users = [{ name = "app", uid = 10001, gid = 10001 }]

[layer.setup]
run = [
  ["install", "-d", "-m", "2775", "-o", "app", "-g", "app", "/srv/app"],
  ["cp", "-r", "data", "/srv/app/"],
  ["ln", "-s", "data", "/srv/app/link"],
]
inputs = ["data/**"]

[layer.files]
files = [{ from = "conf", to = "/etc/app" }]
owner = "app"

[image.repro]
layers = ["base", "setup", "files"]
dirs = { "/data" = "app" }
"""

FILES: dict[str, str | bytes] = {
    "lamella.toml": TOML,
    "data/a": "a\n",
    "data/deep/b": "b\n",
    "conf/app.conf": "x = 1\n",
    "conf/run.sh": "#!/bin/sh\n",
}


def digests(report: dict[str, Any]) -> tuple[str, list[str]]:
    """The image's digest and its layers."""
    (image,) = report["images"]
    return image["containerimage.digest"], [layer["diff_id"] for layer in image["layers"]]


def checkout(folder: Path, umask: int) -> Path:
    """The project, written with an umask; one file is executable."""
    before = os.umask(umask)
    try:
        write_tree(folder, FILES)
    finally:
        os.umask(before)
    (folder / "conf" / "run.sh").chmod(0o700 if umask == 0o077 else 0o775)
    return folder


def test_path_umask_and_time_do_not_matter(cli: Cli, tmp_path: Path) -> None:
    """Steps run again in another checkout, under another umask, at another time."""
    first = cli.build(checkout(tmp_path / "one", 0o022))
    time.sleep(1.1)  # the clock's seconds differ
    second_folder = checkout(tmp_path / "deeper" / "two", 0o077)
    for path in second_folder.rglob("*"):
        os.utime(path, (1_100_000_000, 1_100_000_000))
    second = cli.build(second_folder, "--rebuild")
    assert "setup" in {row["name"] for row in second["vertices"] if row["outcome"] == "built"}
    assert digests(first) == digests(second)


def test_two_bootstraps_give_the_same_base(cli: Cli, tmp_path: Path) -> None:
    """The whole image from nothing in a store of its own, while the archive stands still."""
    folder = checkout(tmp_path / "one", 0o022)
    first = digests(cli.build(folder))
    other = Cli(tmp_path / "store")
    assert digests(other.build(folder)) == first
    assert other.run(folder, "cache", "verify").returncode == 0
    shutil.rmtree(tmp_path / "store", ignore_errors=True)


def test_an_ordinary_user_gets_the_same_image_as_root(cli: Cli, tmp_path: Path) -> None:
    """Rootless: subordinate ids on disk, the image's ids in the layers."""
    require_root()
    user, python = ordinary_user(), open_python()
    first = digests(cli.build(checkout(tmp_path / "one", 0o022)))
    with tempfile.TemporaryDirectory(prefix="lamella-user-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o755)
        folder = checkout(home / "project", 0o022)
        for path in (home, *home.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
        env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "LAMELLA_STORE": str(home / "store"),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--", python)
        build = ("-m", "lamella.cli", "build", "--format", "json", "--progress", "quiet")
        done = subprocess.run([*become, *build], cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        second = digests(json.loads(done.stdout))
        gone = ("-m", "lamella.cli", "cache", "gc", "--max-size", "0")
        subprocess.run([*become, *gone], cwd=folder, env=env, capture_output=True, check=False)
    assert second == first


def ordinary_user() -> pwd.struct_passwd:
    """A user with ranges of subordinate ids, made when missing."""
    name = "lamella-test"
    require_program("newuidmap", "uidmap")
    try:
        return pwd.getpwnam(name)
    except KeyError:
        made = subprocess.run(["useradd", "--create-home", name], capture_output=True, text=True, check=False)
        if made.returncode:
            missing(f"no test user can be made here: {made.stderr}")
    return pwd.getpwnam(name)


def open_python() -> str:
    """An interpreter of this version that any user may run."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/{version}"):
        if os.path.exists(candidate) and all(folder.stat().st_mode & 0o001 for folder in Path(candidate).parents):
            return candidate
    return missing(f"no {version} that other users may run")
