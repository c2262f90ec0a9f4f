"""The same inputs give the same bytes: two checkout paths, two users, two umasks, two times, two stores."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.components.presence import missing, require_root
from tests.integration.e2e.conftest import Cli, write_tree

TOML = """
[project]
schema = 1
name = "repro"

[layer.base]
bootstrap = "debian/bookworm"
users = [{ name = "app", uid = 10001, gid = 10001 }]

[layer.setup]
run = [["sh", "-c", "install -d -m 2775 -o app -g app /srv/app && date > /dev/null && cp -r data /srv/app/ && ln -s data /srv/app/link"]]
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


def digests(report: dict[str, object]) -> tuple[object, list[object]]:
    """The image's digest and its layers."""
    (image,) = report["images"]  # type: ignore[misc]
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


def test_two_bootstraps_give_the_same_base(cli: Cli, shared_store: Path, tmp_path: Path) -> None:
    """The whole image from nothing in a store of its own, while the archive stands still."""
    folder = checkout(tmp_path / "one", 0o022)
    first = digests(cli.build(folder))
    other = Cli(tmp_path / "store")
    assert digests(other.build(folder)) == first
    assert other.run(folder, "cache", "verify").returncode == 0
    shutil.rmtree(tmp_path / "store", ignore_errors=True)


@pytest.fixture
def ordinary_user() -> str:
    """A user with ranges of subordinate ids."""
    require_root()
    name = "lamella-e2e"
    if subprocess.run(["id", name], capture_output=True, check=False).returncode:
        made = subprocess.run(["useradd", "--create-home", name], capture_output=True, check=False)
        if made.returncode:
            missing(f"cannot make a user: {made.stderr.decode()}")
    if f"{name}:" not in Path("/etc/subuid").read_text():
        subprocess.run(
            ["usermod", "--add-subuids", "700000-765535", "--add-subgids", "700000-765535", name], check=True
        )
    return name
