"""Projects and what is ejected of them, as texts in ``tests/golden/eject``. As a program it writes those anew.

python -m tests.unit.eject.projects
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lamella.api.eject import eject_parts
from lamella.build.lock import lock_project
from lamella.build.selection import Selection
from lamella.canonical import FrozenMap
from lamella.eject.files import EjectedFile
from lamella.project.lock import Lock, ModelPin
from lamella.testing.engine import MemoryLookup
from lamella.testing.resolvers import FakeResolvers
from lamella.testing.scenarios import Scenario
from tests.unit.planning.example_trees import TREES

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "eject"
SCHEMA_EXAMPLES = ROOT / "tests" / "data" / "schema-examples"
EXAMPLES = ("python-ml", "service-ui")

BOTH = Selection(only=FrozenMap({"profile": ("dev", "prod")}))
"""What a bare ``lamella eject`` takes: the default cell of each image in both profiles."""

EVERYTHING = Selection(all=True)

KINDS_WRITTEN = ("makefile", "script")
"""Between them they write every kind of file."""

SMALL = ("A-rust-workspace", "C-service-ui", "D-python-ml")
"""Schema examples whose whole matrix is little enough to read."""

_BUILT = ("target", "node_modules", "dist", "__pycache__", ".venv", ".pytest_cache")


def schema_example(name: str) -> Scenario:
    """One of the five files of the schema with a small tree, locked."""
    pins = Lock(models=FrozenMap({"acme/small-encoder": ModelPin("c" * 40, "main")}))
    return locked(Scenario((SCHEMA_EXAMPLES / f"{name}.toml").read_text(), TREES[name], lock=pins))


def example(name: str) -> Scenario:
    """One of the examples as it is in the repository, locked."""
    folder = ROOT / "examples" / name
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(path.relative_to(folder).parts) & {*_BUILT}
    }
    return locked(Scenario((folder / "lamella.toml").read_text(), files))


def locked(given: Scenario) -> Scenario:
    """The scenario with a lock of made-up answers."""
    lock, _ = lock_project(given.parts(MemoryLookup()), FakeResolvers(tools={"cargo-deny": "0.18.0"}))
    return replace(given, lock=lock)


def project(toml: str, files: Mapping[str, bytes | str]) -> Scenario:
    """A small project, locked."""
    return locked(Scenario(toml, files))


def ejected(
    given: Scenario,
    kind: str = "dockerfile",
    selection: Selection = BOTH,
    *,
    place: str = ".",
    monolithic: bool = False,
) -> dict[str, EjectedFile]:
    """The files of a kind by name."""
    parts = given.parts(MemoryLookup())
    files, _ = eject_parts(parts, kind, selection, place, monolithic=monolithic)
    return {file.name: file for file in files}


def texts(given: Scenario, selection: Selection = BOTH) -> dict[str, str]:
    """The text of every file that can be ejected."""
    return {name: file.text for kind in KINDS_WRITTEN for name, file in ejected(given, kind, selection).items()}


def golden_cases() -> dict[str, tuple[Scenario, Selection]]:
    """Each folder of golden texts: a project and a selection."""
    cases = {name: (example(name), BOTH) for name in EXAMPLES}
    return cases | {name: (schema_example(name), EVERYTHING if name in SMALL else BOTH) for name in sorted(TREES)}


def _write() -> None:
    for case, (given, selection) in golden_cases().items():
        folder = GOLDEN / case
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for name, text in texts(given, selection).items():
            (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
