"""Copies in and out of a step, and what it wrote into its inputs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lamella.engines.local.copying import copy_product, settle_times
from lamella.engines.local.jobs import InputMount
from lamella.engines.local.stage import fresh_time, stage_input
from lamella.engines.local.writes import written_paths
from lamella.errors import ConfigError, HostileInputError, StepError
from lamella.host.rooted import Rooted
from lamella.layers.snapshot import scan_tree
from lamella.sources.staging import stable_time


@pytest.fixture
def step(tmp_path: Path) -> Path:
    root = tmp_path / "step"
    (root / "out/sub").mkdir(parents=True)
    (root / "out/sub/file").write_bytes(b"content")
    (root / "out/sub/file").chmod(0o600)
    (root / "out/run").write_bytes(b"#!")
    (root / "out/run").chmod(0o700)
    (root / "out/link").symlink_to("/etc/shadow")
    (root / "via").symlink_to("out/run")
    return root


@pytest.fixture
def product(tmp_path: Path) -> Path:
    (tmp_path / "product").mkdir()
    return tmp_path / "product"


def copy(step: Path, product: Path, source: str, target: str) -> None:
    with Rooted(step) as inside, Rooted(product, links=False) as out:
        copy_product(inside, source, out, target, source)


def test_a_tree_is_copied_with_the_modes_of_products(step: Path, product: Path) -> None:
    copy(step, product, "/out", "")
    assert (product / "sub/file").read_bytes() == b"content"
    modes = {name: (product / name).stat().st_mode & 0o777 for name in ("sub", "sub/file", "run")}
    assert modes == {"sub": 0o755, "sub/file": 0o644, "run": 0o755}
    assert os.readlink(product / "link") == "/etc/shadow"
    assert (step / "out/run").stat().st_nlink == 1


def test_a_file_is_placed_under_its_own_or_another_name(step: Path, product: Path) -> None:
    copy(step, product, "/out/run", "")
    copy(step, product, "/via", "bin/tool")
    assert sorted(str(path.relative_to(product)) for path in product.rglob("*")) == ["bin", "bin/tool", "run"]


def test_two_outputs_share_directories(step: Path, product: Path) -> None:
    copy(step, product, "/out/sub", "d")
    copy(step, product, "/out/run", "d/run")
    assert sorted(path.name for path in (product / "d").iterdir()) == ["file", "run"]


@pytest.mark.parametrize("source", ["/nothing", "/out/link", "/../etc/hostname/x"])
def test_what_is_not_inside_is_not_there(step: Path, product: Path, source: str) -> None:
    with pytest.raises(StepError, match="the step made no"):
        copy(step, product, source, "x")


def test_pipes_and_devices_are_no_product(step: Path, product: Path) -> None:
    os.mkfifo(step / "out/pipe")
    with pytest.raises(StepError, match="device or FIFO"):
        copy(step, product, "/out", "")
    with pytest.raises(StepError, match="neither a file nor a directory"):
        copy(step, product, "/out/pipe", "p")


def test_times_follow_from_content(step: Path, product: Path) -> None:
    copy(step, product, "/out", "")
    fileset = scan_tree(product)
    settle_times(str(product), fileset)
    entry = fileset.get("sub/file")
    assert entry is not None
    assert (product / "sub/file").stat().st_mtime_ns == stable_time(entry.digest)
    before = {path: path.lstat().st_mtime_ns for path in product.rglob("*")}
    settle_times(str(product), fileset)
    assert {path: path.lstat().st_mtime_ns for path in product.rglob("*")} == before


def test_a_fresh_time_is_newer_than_the_last_and_not_newer_than_what_comes() -> None:
    last = time.time_ns()
    fresh = fresh_time(last)
    assert last < fresh <= time.time_ns()


def test_a_fresh_time_lies_ahead_when_the_clock_was_set_back() -> None:
    ahead = time.time_ns() + 86_400 * 10**9
    assert fresh_time(ahead) > ahead


def sources(tmp_path: Path) -> InputMount:
    root = tmp_path / "project"
    (root / "a").mkdir(parents=True)
    (root / "a/one").write_bytes(b"1")
    (root / "two").write_bytes(b"2")
    (tmp_path / "fileset").write_bytes(scan_tree(root).to_bytes())
    return InputMount("/src", str(root), fileset=str(tmp_path / "fileset"))


def folder(tmp_path: Path) -> Path:
    path = tmp_path / "stage"
    path.mkdir()
    return path


def test_sources_are_copied_not_linked(tmp_path: Path) -> None:
    job = sources(tmp_path)
    staged = stage_input(job, folder(tmp_path))
    assert (Path(staged.path) / "a/one").read_bytes() == b"1"
    assert (Path(staged.path) / "a/one").stat().st_ino != (tmp_path / "project/a/one").stat().st_ino
    assert not staged.file


def test_a_directory_or_a_file_of_the_sources(tmp_path: Path) -> None:
    job = sources(tmp_path)
    below = stage_input(InputMount("/s", job.tree, "a", job.fileset), folder(tmp_path))
    assert os.listdir(below.path) == ["one"]
    (tmp_path / "f").mkdir()
    one = stage_input(InputMount("/s", job.tree, "a/one", job.fileset), tmp_path / "f")
    assert one.file
    assert Path(one.path).read_bytes() == b"1"


def test_a_changed_source_is_an_error(tmp_path: Path) -> None:
    job = sources(tmp_path)
    (tmp_path / "project/two").write_bytes(b"X")
    with pytest.raises(ConfigError, match="two"):
        stage_input(job, folder(tmp_path))


def test_a_product_is_mounted_as_it_lies_and_a_file_of_it_copied(tmp_path: Path) -> None:
    root = tmp_path / "project"
    sources(tmp_path)
    assert stage_input(InputMount("/p", str(root)), folder(tmp_path)).path == str(root)
    (tmp_path / "f").mkdir()
    one = stage_input(InputMount("/p", str(root), "a/one"), tmp_path / "f")
    assert one.file
    assert Path(one.path).read_bytes() == b"1"
    with pytest.raises(HostileInputError, match="has no nothing"):
        stage_input(InputMount("/p", str(root), "nothing"), tmp_path / "f")


def test_writes_are_told_from_touches_and_copies(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for root in (lower, upper):
        (root / "d").mkdir(parents=True)
        for name in ("same", "changed", "longer", "mode", "d/kept"):
            (root / name).write_bytes(b"abc")
        (root / "link").symlink_to("same")
    (upper / "changed").write_bytes(b"abd")
    (upper / "longer").write_bytes(b"abcd")
    (upper / "mode").chmod(0o755)
    (upper / "link").unlink()
    (upper / "link").symlink_to("changed")
    (upper / "new").mkdir()
    (upper / "new/file").write_bytes(b"")
    (upper / "d/scratch").write_bytes(b"")
    os.utime(upper / "same", (1, 1))
    found = written_paths(str(upper), str(lower), lambda path: path == "d/scratch")
    assert found == ("changed", "link", "longer", "mode", "new/file")
