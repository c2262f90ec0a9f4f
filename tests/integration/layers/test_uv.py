"""The same wheels by uv and by us: one tree, but for what installers write about themselves."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamella.graph.fileset import Entry, EntryType
from lamella.layers.snapshot import KEEP, scan_tree
from lamella.layers.wheels import install_wheels
from tests.integration.components.presence import require_program
from tests.unit.layers.wheelbox import make_wheel, rich_wheel

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
OWN = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
"""Files of metadata directories that differ between installers by their meaning."""


def wheels(folder: Path) -> list[Path]:
    return [
        rich_wheel(folder),
        make_wheel(folder, "plain_pkg", {"plain_pkg/__init__.py": b"x = 1\n", "space/part_b/__init__.py": b""}),
        make_wheel(
            folder,
            "native",
            {"native/_speed.so": b"\x7fELF", "native.libs/libx.so.1": b"\x7fELF", "native/run": b"#!/bin/sh\n"},
            entry_points="[console_scripts]\nnative = native:main\n",
            executables=("native/run",),
            pure=False,
        ),
    ]


@pytest.fixture
def by_uv(tmp_path: Path) -> Path:
    uv = require_program("uv") if not (own := Path(sys.executable).with_name("uv")).exists() else str(own)
    venv = tmp_path / "venv"
    environment = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_OFFLINE": "1", "UV_NO_CONFIG": "1"}
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(venv)], check=True, env=environment)
    box = tmp_path / "box"
    box.mkdir()
    command = [uv, "pip", "install", "-q", "--no-deps", "--link-mode", "copy", "-p", str(venv)]
    subprocess.run([*command, *map(str, wheels(box))], check=True, env=environment)
    return venv


def comparable(root: Path) -> dict[str, tuple[str, int, str]]:
    """Path → kind, mode and digest of what wheels bring; programs of entry points by name and mode alone."""
    out = {}
    for entry in scan_tree(root, KEEP):
        if entry.type is EntryType.DIRECTORY or _is_of_the_environment(entry) or entry.path.endswith(OWN):
            continue
        generated = entry.path in ("bin/demo", "bin/demo-x", "bin/demo-gui", "bin/native")
        out[entry.path] = (entry.type.value, entry.mode, "" if generated else entry.digest)
    return out


def _is_of_the_environment(entry: Entry) -> bool:
    top, _, rest = entry.path.partition("/")
    if top == "bin":
        return rest.startswith(("python", "activate", "deactivate", "pydoc"))
    names = ("_virtualenv.py", "_virtualenv.pth")
    return top in ("pyvenv.cfg", "lib64", "CACHEDIR.TAG", ".gitignore", ".lock") or entry.path.endswith(names)


def record(root: Path, name: str) -> dict[str, tuple[str, str]]:
    place = root / f"lib/python{PYTHON}/site-packages/{name}.dist-info/RECORD"
    with place.open(newline="") as stream:
        rows = {row[0]: (row[1], row[2]) for row in csv.reader(stream)}
    return {path: row for path, row in rows.items() if not path.endswith(OWN) and not path.startswith("../../../bin/")}


def test_the_trees_are_equal(tmp_path: Path, by_uv: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    warnings = install_wheels(wheels(tmp_path), ours, venv=str(by_uv), python=PYTHON)
    assert warnings == ()
    assert comparable(ours) == comparable(by_uv)
    for name in ("demo-1.0", "plain_pkg-1.0", "native-1.0"):
        assert record(ours, name) == record(by_uv, name)


def test_programs_of_entry_points_run_in_the_real_environment(tmp_path: Path, by_uv: Path) -> None:
    """Our tree in the place of uv's: the interpreter finds the packages, the programs find the interpreter."""
    install_root = tmp_path / "ours"
    install_root.mkdir()
    install_wheels(wheels(tmp_path), install_root, venv=str(by_uv), python=PYTHON)
    program = by_uv / "bin/demo"
    program.write_bytes((install_root / "bin/demo").read_bytes())
    assert subprocess.run([program], check=False, timeout=60).returncode == 0
