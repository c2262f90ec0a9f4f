"""Bad input: a clear error, the right exit code, nothing half-written, and the next run works."""

# ruff: noqa: E501  rows of a table read better on one line
from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.components.presence import missing, require_root
from tests.integration.e2e.conftest import Cli, write_tree

GOOD = """
[project]
schema = 1
name = "bad-input"

[layer.base]
bootstrap = "debian/bookworm"

[layer.app]
files = [{ from = "src", to = "/app" }]

[image.bad]
layers = ["base", "app"]
"""

CARGO = GOOD + '\n[layer.bin]\non = "host"\ncargo = { bin = "x" }\n[layer.host]\nhost = true\n'
CARGO = CARGO.replace('"app"]', '"app", "bin"]')
MANIFEST = '[package]\nname = "x"\nversion = "0.1.0"\nedition = "2021"\n'


@dataclass(frozen=True)
class Row:
    """A project that is wrong: its file, further files, what the message must hold, the exit code."""

    name: str
    toml: str
    says: tuple[str, ...]
    code: int = 2
    files: tuple[tuple[str, str], ...] = ()


ROWS = (
    Row("unknown key", GOOD.replace("name =", "nmae =", 1), ("lamella.toml:4:1", "unknown key 'nmae'", "did you mean 'name'")),
    Row("duplicate key", GOOD.replace('name = "bad-input"', 'name = "a"\nname = "b"'), ("lamella.toml:5:1", "set twice")),
    Row("wrong type", GOOD.replace('"debian/bookworm"', "12"), ("lamella.toml:7:13", "is expected, not an integer")),
    Row("cycle", GOOD + '\n[layer.a]\nneeds = { b = "/x" }\n[layer.b]\nneeds = { a = "/y" }\n', ("lamella.toml:", "a", "b")),
    Row("several at once", GOOD.replace("name =", "nmae =", 1).replace("layers =", "lyers ="), ("problems in the configuration", "nmae", "lyers")),
    Row("no such file", GOOD.replace('"src"', '"sources"'), ("layer 'app'", "no file matches 'sources'")),
    Row("no such user", GOOD + 'user = "nobody-here"\n', ("user 'nobody-here' is not in the base", "hint: the base's users are root")),
    Row("no lock", CARGO, ("Cargo.lock",), files=(("Cargo.toml", MANIFEST), ("src/main.rs", "fn main() {}\n"))),
    Row("stale lock", CARGO, ("the lock is stale", "hint: run: cargo "),
        files=(("Cargo.toml", MANIFEST + '[dependencies]\nitoa = "1"\n'), ("src/main.rs", "fn main() {}\n"),
               ("Cargo.lock", 'version = 4\n\n[[package]]\nname = "x"\nversion = "0.1.0"\n'))),
    Row("damaged lamella.lock", GOOD, ("lamella.lock:1:", "hint: run: lamella lock"), files=(("lamella.lock", "{bad"),)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_wrong_project_is_explained(row: Row, cli: Cli, tmp_path: Path) -> None:
    """What, where, why and what to do; no traceback; a corrected project builds."""
    write_tree(tmp_path, {"src/a": "a\n", "lamella.toml": row.toml, **dict(row.files)})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = cli.run(tmp_path, "build", check=False)
    assert done.returncode == row.code, done.stderr
    assert "Traceback" not in done.stderr
    assert all(text in done.stderr for text in row.says), done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    (tmp_path / "lamella.lock").unlink(missing_ok=True)
    write_tree(tmp_path, {"lamella.toml": GOOD})
    assert cli.build(tmp_path)["images"]


def test_a_link_out_of_the_project_stays_a_link(cli: Cli, tmp_path: Path) -> None:
    """It is copied as what it is and never followed (RELIABILITY row 38)."""
    write_tree(tmp_path, {"src/a": "a\n", "lamella.toml": GOOD})
    (tmp_path / "src" / "out").symlink_to("/etc/shadow")
    cli.build(tmp_path)
    target = tmp_path / "copied"
    cli.run(tmp_path, "build", "--output", f"type=dir,dest={target}")
    assert os.readlink(target / "app" / "out") == "/etc/shadow"


def test_an_unreadable_file_is_named(cli: Cli, tmp_path: Path) -> None:
    """A file that vanishes behind a broken folder of links is an error with its path, not a crash."""
    write_tree(tmp_path, {"src/a": "a\n", "lamella.toml": GOOD.replace('"src"', '"src/link/b"')})
    (tmp_path / "src" / "link").symlink_to("nowhere")
    done = cli.run(tmp_path, "build", check=False)
    assert done.returncode == 2
    assert "src/link/b" in done.stderr


def test_a_full_disk_is_exit_5_and_the_next_run_works(tmp_path: Path) -> None:
    """A store on a small tmpfs: needed and free bytes are named, nothing is left behind (row 8)."""
    require_root()
    store = tmp_path / "store"
    store.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(store)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        missing(f"cannot mount a tmpfs: {mounted.stderr}")
    try:
        project = write_tree(tmp_path / "project", {"src/a": "a\n"})
        big = project / "src" / "big"
        big.write_bytes(os.urandom(40 << 20))
        small = Cli(store / "lamella")
        toml = GOOD.replace('[layer.base]\nbootstrap = "debian/bookworm"', '[layer.base]\nfrom = "scratch"')
        write_tree(project, {"lamella.toml": toml})
        done = small.run(project, "build", check=False)
        assert done.returncode == 5, done.stderr
        assert "free" in done.stderr
        big.unlink()
        assert small.build(project)["images"]
        assert small.run(project, "cache", "verify").returncode == 0
    finally:
        subprocess.run(["umount", "-l", str(store)], check=False)


def test_a_step_that_takes_more_than_its_share_of_the_memory_is_exit_5(cli: Cli, tmp_path: Path) -> None:
    """``--memory`` is for all steps together: with two at a time each has half. Only that step ends."""
    require_root()
    script = "head -c 300000000 /dev/zero | tail > /dev/null"  # tail keeps the last line, and there is but one
    step = f'\n[layer.big]\nrun = [["sh", "-c", "{script} # {os.getpid()}"]]\n'
    toml = GOOD.replace('"app"]', '"app", "big"]') + step
    folder = write_tree(tmp_path, {"lamella.toml": toml, "src/a": "a\n"})
    done = cli.run(folder, "build", "--memory", "200MB", "--jobs", "2", check=False)
    assert done.returncode == 5, done.stderr
    assert "used up the memory that a step may have" in done.stderr
    assert "hint: raise --memory" in done.stderr
    assert cli.run(folder, "build", "--memory", "2GB", "--jobs", "2").returncode == 0
