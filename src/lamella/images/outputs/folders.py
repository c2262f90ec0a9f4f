"""Directories that appear whole: made beside their place under a random name, renamed at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamella.commit import disk_errors
from lamella.host.rooted import Rooted

__all__ = ["is_free", "staged_folder"]


def is_free(path: Path) -> bool:
    """Whether nothing is at ``path``, or an empty directory that a rename may replace."""
    return not os.path.lexists(path) or (path.is_dir() and not path.is_symlink() and not any(path.iterdir()))


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """An empty directory beside ``target``; what still has this name at the end is removed, by handles."""
    with disk_errors(f"writing {target}", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.parent / f".{target.name}.{os.urandom(6).hex()}"
        staged.mkdir(mode=0o755)
    try:
        yield staged
    finally:
        if os.path.lexists(staged):
            with Rooted(target.parent) as rooted:
                rooted.remove_tree(staged.name)
