"""Benches with the real Cargo; downloads are shared by the whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.project.spec import CargoSpec
from tests.integration.components.presence import require_program
from tests.integration.stacks_cargo.bench import CargoBench
from tests.unit.stacks.cargo.harness import Layer

MakeBench = Callable[..., CargoBench]


@pytest.fixture(scope="session")
def downloads(run_folder: Path) -> Path:
    """Cargo's home of the run."""
    return run_folder / "cargo-home"


@pytest.fixture
def make_bench(tmp_path: Path, downloads: Path) -> MakeBench:
    """Makes a bench over files; the lock is resolved unless it is among them."""
    require_program("cargo")
    require_program("bwrap", "bubblewrap")

    def make(files: dict[str, str], spec: CargoSpec | None = None, *, root: str = "", **options: object) -> CargoBench:
        layer = Layer(spec or CargoSpec(), **options)  # type: ignore[arg-type]
        bench = CargoBench(tmp_path, dict(files), layer, downloads=downloads, root=root)
        if not any(path.endswith("Cargo.lock") for path in files):
            bench.lock()
        return bench

    return make
