"""A no-op answered from the answer before never hides a change: build, no-op twice, change, build."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.e2e.conftest import Cli, write_tree

TOML = """
[project]
schema = 1
name = "noop-NAME"

[args]
word = "hello"

[layer.base]
bootstrap = "debian/bookworm"

[layer.step]
run = [["sh", "-c", "find data -type f | sort | xargs cat > /srv-all && echo $WORD >> /srv-all"]]
inputs = ["data/**"]
env = { WORD = "{args.word}" }

[layer.files]
files = [{ from = "conf", to = "/etc/app" }]

[image.noop]
layers = ["base", "step", "files"]
labels = { word = "{args.word}" }
"""


def same_size_and_time(root: Path) -> None:
    """Other bytes, same size, same modification time."""
    path = root / "conf" / "a"
    status = path.stat()
    path.write_text("2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file": lambda root: (root / "conf" / "a").write_text("22\n"),
    "a file, same size and time": same_size_and_time,
    "a new file": lambda root: (root / "conf" / "b").write_text("1\n"),
    "a file less": lambda root: (root / "conf" / "c").unlink(),
    "a file in a new folder": lambda root: write_tree(root, {"data/deep/er/x": "1\n"}),
    "a mode": lambda root: (root / "conf" / "a").chmod(0o755),
    "a link": lambda root: (root / "conf" / "l").symlink_to("a"),
    "an ignore rule": lambda root: (root / ".dockerignore").write_text("conf/c\n"),
    "a label": lambda root: (root / "lamella.toml").write_text(
        (root / "lamella.toml").read_text().replace("labels = { word", "labels = { other")
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("git", [False, True], ids=["no git", "git"])
def test_a_change_after_a_no_op_is_seen(cli: Cli, tmp_path: Path, name: str, git: bool) -> None:
    """The image after the change is another one; after the way back it is the first again."""
    folder = write_tree(
        tmp_path / "project",
        {
            "lamella.toml": TOML.replace("NAME", f"{os.getpid()}-{abs(hash((name, git)))}"),
            "data/1": "one\n",
            "conf/a": "1\n",
            "conf/c": "1\n",
        },
    )
    if git:
        commit_all(folder)
    first = digest(cli, folder)
    saved = tmp_path / "saved"
    shutil.copytree(folder, saved, symlinks=True)
    for _ in range(2):
        report = cli.build(folder)
        assert report["counts"]["built"] == 0
        time.sleep(0.05)
    CHANGES[name](folder)
    assert digest(cli, folder) != first
    shutil.rmtree(folder)
    shutil.copytree(saved, folder, symlinks=True)
    assert digest(cli, folder) == first


def test_what_is_not_a_file_counts_too(cli: Cli, tmp_path: Path) -> None:
    """Arguments, the epoch, and names that were removed from the store."""
    folder = write_tree(
        tmp_path, {"lamella.toml": TOML.replace("NAME", f"args-{os.getpid()}"), "data/1": "one\n", "conf/a": "1\n"}
    )
    first = digest(cli, folder)
    assert digest(cli, folder) == first
    assert digest(cli, folder, "--build-arg", "word=bye") != first
    assert digest(cli, folder) == first
    assert digest(Cli(cli.store, {"SOURCE_DATE_EPOCH": "1700000000"}), folder) != first
    assert digest(cli, folder) == first
    name = cli.build(folder)["images"][0]["image.name"]
    cli.run(folder, "images", "rm", name)
    assert cli.build(folder)["images"][0]["containerimage.digest"] == first
    assert name in cli.run(folder, "images").stdout


def digest(cli: Cli, folder: Path, *arguments: str) -> str:
    """The manifest's digest of a build."""
    return str(cli.build(folder, *arguments)["images"][0]["containerimage.digest"])


def commit_all(folder: Path) -> None:
    """Makes the folder a git repository with everything committed."""
    name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], [*name, "commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
