"""Overlay mounts for the tests, as root or, in a child, as root of a user namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.integration.components.presence import missing, require_root
from tests.integration.components.tools import ToolError, run_tool

OPTIONS = "index=off,metacopy=off,redirect_dir=off,xino=off"


@contextmanager
def overlay(point: Path, lowers: Sequence[Path], upper: Path | None = None, options: str = OPTIONS) -> Iterator[Path]:
    """An overlay of ``lowers``, topmost first, read-only without ``upper``."""
    require_root()
    point.mkdir(exist_ok=True)
    wanted = f"lowerdir={':'.join(map(str, lowers))},{options}"
    if upper is None and len(lowers) == 1:
        # The kernel wants two lower directories where there is no upper one.
        empty = point.with_name(f"{point.name}-empty")
        empty.mkdir(exist_ok=True)
        wanted = f"lowerdir={lowers[0]}:{empty},{options}"
    if upper is not None:
        upper.mkdir(exist_ok=True)
        work = upper.with_name(f"{upper.name}-work")
        work.mkdir(exist_ok=True)
        wanted += f",upperdir={upper},workdir={work}"
    try:
        run_tool(["mount", "-t", "overlay", "-o", wanted, "overlay", str(point)])
    except ToolError as error:
        missing(f"no overlay mounts here: {error}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)
