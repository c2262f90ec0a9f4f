"""The examples in copies, so that nothing is built inside the repository, and the programs that they need."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.components.presence import find_program, missing, require_program
from tests.integration.components.tools import run_tool

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BUILT = ("target", "node_modules", "dist", "__pycache__", ".venv", ".pytest_cache")
BUN = "bun@1.3.14"


@pytest.fixture
def example_copy(tmp_path: Path) -> Callable[[str], Path]:
    """Copies an example by name, without what a developer may have built in it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns(*BUILT)))

    return copy


@pytest.fixture(scope="session")
def uv() -> str:
    """The uv that our own dependency brings."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else require_program("uv")


@pytest.fixture(scope="session")
def cargo() -> str:
    """A cargo that is new enough for the examples (edition 2024)."""
    program = require_program("cargo")
    found = re.search(r"(\d+)\.(\d+)", run_tool([program, "--version"]))
    version = tuple(map(int, found.groups())) if found else (0, 0)
    return program if version >= (1, 85) else missing(f"cargo 1.85 or newer is needed, {program} is {version}")


@pytest.fixture(scope="session")
def bun_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with bun on PATH: the installed one, else npm brings it into a folder of the test run."""
    path = os.environ.get("PATH", "")
    if find_program("bun"):
        return {"PATH": path}
    npm = require_program("npm")
    folder = tmp_path_factory.mktemp("bun")
    run_tool([npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), BUN])
    return {"PATH": f"{folder / 'node_modules/.bin'}{os.pathsep}{path}"}
