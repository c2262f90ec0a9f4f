"""Small file systems to fill, to make read-only and to cut the power of. All need root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.components.presence import missing, require_program, require_root
from tests.integration.components.tools import ToolError, run_tool


@contextmanager
def tmpfs(point: Path, options: str) -> Iterator[Path]:
    """A file system in memory with ``size`` or ``nr_inodes``."""
    require_root()
    point.mkdir()
    try:
        run_tool(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)])
    except ToolError as error:
        missing(f"a tmpfs cannot be mounted: {error}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


def remount(point: Path, options: str) -> None:
    run_tool(["mount", "-o", f"remount,{options}", str(point)])


def new_image(path: Path, kind: str, size: int) -> None:
    """A file with an empty file system in it."""
    maker = require_program(f"mkfs.{kind}", {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}[kind])
    path.touch()
    with path.open("r+b") as file:
        file.truncate(size)
    run_tool([maker, *(["-q", "-F"] if kind == "ext4" else ["-q"]), str(path)])


@contextmanager
def loop_mounted(image: Path, point: Path) -> Iterator[Path]:
    """The file system of an image, mounted."""
    require_root()
    point.mkdir()
    try:
        run_tool(["mount", "-o", "loop", str(image), str(point)])
    except ToolError as error:
        missing(f"no loop mount here: {error}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)
