"""Trees that belong to others: what a user without rights, or git with its doubts, makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.components.presence import require_program, require_root

PROGRAM = """
import os, sys
from pathlib import Path
from lamella.clock import SystemClock
from lamella.errors import LamellaError
from lamella.sources.worktree import WorkTree
try:
    with WorkTree(Path(sys.argv[1]), clock=SystemClock(), env={"PATH": os.environ["PATH"]}) as tree:
        print(tree.digest(("**",)))
except LamellaError as error:
    print(error.exit_code, error.message, "|", error.hint)
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """A tree that others may look into; pytest's own folders are closed to them."""
    require_root()
    with tempfile.TemporaryDirectory(prefix="lamella-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "tree/dir").mkdir(parents=True)
        (folder / "tree/dir/file").write_text("x")
        yield folder / "tree"


def as_nobody(root: Path) -> str:
    setpriv = require_program("setpriv", "util-linux")
    argv = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable, "-c", PROGRAM, str(root)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/", env=dict(os.environ)).stdout


def test_an_unreadable_file_is_named(root: Path) -> None:
    (root / "dir/file").chmod(0o600)
    assert as_nobody(root).startswith(f"2 {root}/dir/file cannot be read: permission denied | make it readable")


def test_an_unreadable_directory_is_named(root: Path) -> None:
    (root / "dir").chmod(0o700)
    assert as_nobody(root).startswith("2 dir cannot be read: permission denied")


def test_a_repository_of_somebody_else_is_gits_decision(root: Path) -> None:
    git = require_program("git")
    subprocess.run([git, "init", "-q", str(root)], check=True)
    said = as_nobody(root)
    assert said.startswith("2 git rev-parse failed")
    assert "safe.directory" in said
