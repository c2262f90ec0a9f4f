"""A stage is the step's own copy: right bytes, right times, nothing of the original at risk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError, InternalError
from lamella.graph.fileset import Entry, EntryType, FileSet
from lamella.sources.staging import STABLE_BASE, Staged, Times, stable_time, stage_tree

NOW = 1_700_000_000_123_456_789


def entry(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, EntryType.FILE, mode, size=len(data), digest=digest_bytes(data))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for path, data in {"a.txt": b"alpha", "bin/tool": b"#!/bin/sh", "src/deep/c.rs": b"fn main() {}"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (root / "secret").write_bytes(b"not selected")
    return root


FILES = FileSet.of(
    [
        entry("a.txt", b"alpha"),
        entry("bin/tool", b"#!/bin/sh", 0o755),
        entry("src/deep/c.rs", b"fn main() {}"),
        Entry("link", EntryType.SYMLINK, 0o777, link="src/deep"),
    ]
)


@pytest.fixture
def stage(tmp_path: Path, source: Path) -> Callable[..., Staged]:
    def run(files: FileSet = FILES, *, times: Times | None = None, ledger: bool = True) -> Staged:
        place = tmp_path / "ledger" if ledger else None
        return stage_tree(files, source, tmp_path / "stage", times=times or Times(), ledger=place)

    return run


def found(root: Path) -> dict[str, tuple[str, object]]:
    """Every path below a directory with its mode and content or target."""
    seen: dict[str, tuple[str, object]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(root))
        if stat.S_ISLNK(status.st_mode):
            seen[name] = ("link", os.readlink(path))
        else:
            content = "directory" if path.is_dir() else path.read_bytes()
            seen[name] = (oct(stat.S_IMODE(status.st_mode)), content)
    return seen


EXPECTED = {
    "a.txt": ("0o644", b"alpha"),
    "bin": ("0o755", "directory"),
    "bin/tool": ("0o755", b"#!/bin/sh"),
    "link": ("link", "src/deep"),
    "src": ("0o755", "directory"),
    "src/deep": ("0o755", "directory"),
    "src/deep/c.rs": ("0o644", b"fn main() {}"),
}


def test_exactly_the_selected_files_are_there_whatever_the_umask(stage: Callable[..., Staged], tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert stage() == Staged(copied=3, bytes=26, removed=0)
    finally:
        os.umask(before)
    assert found(tmp_path / "stage") == EXPECTED


def test_a_copy_is_no_hard_link(stage: Callable[..., Staged], source: Path, tmp_path: Path) -> None:
    """DESIGN 7b.2: a chmod or touch inside a step would change the original."""
    stage()
    copy = tmp_path / "stage/a.txt"
    assert not os.path.samefile(copy, source / "a.txt")
    copy.chmod(0o600)
    copy.write_bytes(b"scribble")
    assert (source / "a.txt").read_bytes() == b"alpha"
    assert stat.S_IMODE((source / "a.txt").stat().st_mode) != 0o600


def times_below(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.lstat().st_mtime_ns for path in [root, *root.rglob("*")]}


def test_all_times_are_the_given_one(stage: Callable[..., Staged], tmp_path: Path) -> None:
    stage(times=Times(NOW))
    assert set(times_below(tmp_path / "stage").values()) == {NOW}


def test_stable_times_follow_from_the_content(stage: Callable[..., Staged], source: Path, tmp_path: Path) -> None:
    stage()
    first = times_below(tmp_path / "stage")
    assert first["a.txt"] == stable_time(digest_bytes(b"alpha"))
    assert len({first["a.txt"], first["bin/tool"], first["src/deep/c.rs"]}) == 3
    assert all(STABLE_BASE <= moment // 10**9 < STABLE_BASE + 2**29 for moment in first.values())
    (source / "a.txt").write_bytes(b"ALPHA")
    changed = FileSet.of([entry("a.txt", b"ALPHA"), *(one for one in FILES if one.path != "a.txt")])
    stage(changed)
    second = times_below(tmp_path / "stage")
    assert {path for path in first if first[path] != second[path]} == {"a.txt"}


def test_a_directory_has_another_time_when_its_names_are_others(stage: Callable[..., Staged], tmp_path: Path) -> None:
    stage()
    before = times_below(tmp_path / "stage")
    stage(FILES.where(lambda one: one.path != "src/deep/c.rs"))
    after = times_below(tmp_path / "stage")
    assert {path for path in after if after[path] != before[path]} == {"."}


@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "content"])
def test_an_unchanged_stage_is_left_alone(stage: Callable[..., Staged], tmp_path: Path, ledger: bool) -> None:
    stage(ledger=ledger)
    inode = (tmp_path / "stage/a.txt").stat().st_ino
    assert stage(ledger=ledger) == Staged(0, 0, 0)
    assert (tmp_path / "stage/a.txt").stat().st_ino == inode
    assert found(tmp_path / "stage") == EXPECTED


def test_new_times_need_no_new_copies(stage: Callable[..., Staged], tmp_path: Path) -> None:
    stage()
    assert stage(times=Times(NOW)) == Staged(0, 0, 0)
    assert set(times_below(tmp_path / "stage").values()) == {NOW}
    assert stage(times=Times(NOW)) == Staged(0, 0, 0)


def scribble_bytes(stage: Path) -> None:
    path = stage / "a.txt"
    before = path.stat()
    path.write_bytes(b"omega")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_directory(stage: Path) -> None:
    (stage / "a.txt").unlink()
    (stage / "a.txt").mkdir()
    (stage / "a.txt/x").write_text("x")


def replace_by_link_out(stage: Path) -> None:
    canary = stage.parent / "canary"
    canary.mkdir()
    (canary / "keep").write_text("keep")
    for name in ("src", "bin"):
        os.rename(stage / name, stage / f"{name}-moved")
        (stage / name).symlink_to(canary)


def hard_link_in(stage: Path) -> None:
    (stage / "a.txt").unlink()
    os.link(stage.parent / "source/a.txt", stage / "a.txt")


def extra(stage: Path) -> None:
    (stage / "new/dir").mkdir(parents=True)
    (stage / "new/dir/file").write_text("x")
    os.mkfifo(stage / "src/fifo")


def modes(stage: Path) -> None:
    (stage / "a.txt").chmod(0o4777)
    (stage / "src").chmod(0o700)


def retarget(stage: Path) -> None:
    (stage / "link").unlink()
    (stage / "link").symlink_to("/etc")


@pytest.mark.parametrize(
    "damage", [scribble_bytes, replace_by_directory, replace_by_link_out, hard_link_in, extra, modes, retarget]
)
@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "content"])
def test_what_a_step_did_to_its_stage_is_put_right(
    stage: Callable[..., Staged], source: Path, tmp_path: Path, damage: Callable[[Path], None], ledger: bool
) -> None:
    stage(ledger=ledger)
    damage(tmp_path / "stage")
    stage(ledger=ledger)
    assert found(tmp_path / "stage") == EXPECTED
    assert (source / "a.txt").read_bytes() == b"alpha"
    assert (source / "secret").exists()
    if (tmp_path / "canary").exists():
        assert found(tmp_path / "canary") == {"keep": (found(tmp_path / "canary")["keep"][0], b"keep")}


@pytest.mark.parametrize("data", [b"gamma", b"alphabet", b"al", b""], ids=["same size", "longer", "shorter", "empty"])
def test_a_file_that_is_not_what_was_keyed_is_an_error(
    stage: Callable[..., Staged], source: Path, tmp_path: Path, data: bytes
) -> None:
    (source / "a.txt").write_bytes(data)
    with pytest.raises(ConfigError, match=r"a\.txt changed after it was read"):
        stage()
    assert not (tmp_path / "stage/a.txt").exists()
    (source / "a.txt").write_bytes(b"alpha")
    stage()
    assert found(tmp_path / "stage") == EXPECTED


def test_a_source_that_became_a_link_is_not_followed(stage: Callable[..., Staged], source: Path) -> None:
    (source / "a.txt").unlink()
    (source / "other").write_bytes(b"alpha")
    (source / "a.txt").symlink_to("other")
    with pytest.raises(ConfigError, match=r"a\.txt changes while it is read"):
        stage()


def test_a_source_that_is_gone_is_named(stage: Callable[..., Staged], source: Path) -> None:
    (source / "a.txt").unlink()
    with pytest.raises(ConfigError, match=r"a\.txt vanished"):
        stage()


@pytest.mark.parametrize("ledger", [b"", b"{", b"[]", b'{"a.txt": 1}', b'{"a.txt": ["x", ["y"]]}'])
def test_a_torn_ledger_costs_time_only(stage: Callable[..., Staged], tmp_path: Path, ledger: bytes) -> None:
    stage()
    (tmp_path / "ledger").write_bytes(ledger)
    assert stage() == Staged(0, 0, 0)
    assert found(tmp_path / "stage") == EXPECTED


def test_other_kinds_of_entry_are_a_defect(stage: Callable[..., Staged]) -> None:
    with pytest.raises(InternalError, match="files and symlinks only"):
        stage(FileSet((Entry("x", EntryType.FIFO, 0o644),)))


def test_empty_directories_may_be_wanted(stage: Callable[..., Staged], tmp_path: Path) -> None:
    stage(FileSet((Entry("x/y", EntryType.DIRECTORY, 0o755),)))
    assert found(tmp_path / "stage") == {"x": ("0o755", "directory"), "x/y": ("0o755", "directory")}
