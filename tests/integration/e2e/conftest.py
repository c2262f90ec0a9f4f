"""The command line as people use it, with a store that all tests of a run share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lamella.host.locks import hold
from tests.integration.components.presence import require_program

BASE = """
[project]
schema = 1
name = "base"

[layer.base]
bootstrap = "debian/bookworm"

[image.base]
layers = ["base"]
"""


@dataclass
class Cli:
    """Runs ``lamella`` in a folder with a store. ``env`` is laid over this process's environment."""

    store: Path
    env: dict[str, str] = field(default_factory=dict)

    def argv(self, *arguments: str) -> list[str]:
        """The program of one command."""
        return [sys.executable, "-m", "lamella.cli", *arguments]

    def run(self, folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        env = {**os.environ, "LAMELLA_STORE": str(self.store), **self.env}
        done = subprocess.run(
            self.argv(*arguments),
            cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        if check and done.returncode != 0:
            pytest.fail(
                f"lamella {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-6000:]}", pytrace=False
            )
        return done

    def build(self, folder: Path, *arguments: str) -> dict[str, Any]:
        """A build's report."""
        done = self.run(folder, "build", "--format", "json", "--progress", "plain", *arguments)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def built(self, folder: Path, *arguments: str) -> set[str]:
        """Names of the vertices that a build really made."""
        rows = self.build(folder, *arguments)["vertices"]
        return {row["name"] for row in rows if row["outcome"] == "built"}

    def planned(self, folder: Path, *arguments: str) -> dict[str, str]:
        """Status by vertex name."""
        plan = json.loads(self.run(folder, "plan", "--format", "json", *arguments).stdout)
        return {row["name"]: row["status"] for row in plan["vertices"]}


def write_tree(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Writes files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def copy_store(store: Path, target: Path) -> None:
    """Copies a store that nobody writes to now: owners, devices and all."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(store), str(target)], check=True)


@pytest.fixture(scope="session")
def shared_store(run_folder: Path) -> Path:
    """A store with a bootstrapped Debian in it, the same for all test processes of a run."""
    require_program("bwrap", "bubblewrap")
    require_program("mmdebstrap")
    home = run_folder / "e2e"
    home.mkdir(exist_ok=True)
    with hold(home / "lock", timeout=900):
        if not (home / "ready").exists():
            Cli(home / "store").build(write_tree(home / "base", {"lamella.toml": BASE}))
            copy_store(home / "store", home / "pristine")
            (home / "ready").touch()
    return home / "store"


@pytest.fixture
def own_store(shared_store: Path, tmp_path: Path) -> Path:
    """A store of this test alone, with the same bootstrapped Debian in it and nothing else."""
    target = tmp_path / "own-store"
    copy_store(shared_store.parent / "pristine", target)
    return target


@pytest.fixture
def cli(shared_store: Path) -> Cli:
    """The command line over the shared store."""
    return Cli(shared_store)
