"""The stored scan never hides a change, and saves reading where nothing changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.sources import census
from lamella.sources import scan as scan_module
from lamella.sources.scan_cache import load_scan
from tests.unit.sources.conftest import Project

GIT = [False, pytest.param(True, marks=pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"))]
Settle = Callable[[Path], None]


class Reads:
    """Which files were hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        for name in ("hash_file", "hash_unchanged"):
            real = getattr(scan_module, name)
            monkeypatch.setattr(scan_module, name, self._noting(real))

    def _noting(self, real: Callable[..., object]) -> Callable[..., object]:
        def note(path: str, *rest: object) -> object:
            self.paths.append(Path(path).name)
            return real(path, *rest)

        return note

    def taken(self) -> list[str]:
        found, self.paths = sorted(set(self.paths)), []
        return found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture(params=GIT, ids=["plain", "git"])
def filled(request: pytest.FixtureRequest, project: Project) -> Project:
    for path in ("a.txt", "sub/b.txt", "sub/deep/c.txt", "other/d.txt"):
        project.write(path, f"content of {path}")
    if request.param:
        project.write(".gitignore", "*.log\n")
        project.commit_all()
    return project


def test_without_a_change_nothing_is_read(filled: Project, reads: Reads) -> None:
    first = filled.digests()
    assert "a.txt" in reads.taken()
    assert filled.digests() == first
    assert reads.taken() == []


def test_only_a_changed_file_is_read(filled: Project, reads: Reads) -> None:
    filled.digests()
    reads.taken()
    filled.write("sub/b.txt", "edited")
    assert filled.digests()["sub/b.txt"] == digest_bytes(b"edited")
    assert reads.taken() == ["b.txt"]
    assert filled.digests()["sub/b.txt"] == digest_bytes(b"edited")
    assert reads.taken() == []


@pytest.mark.parametrize("young", [False, True], ids=["settled", "young"])
def test_the_same_size_and_time_with_other_bytes_is_noticed(filled: Project, settle: Settle, young: bool) -> None:
    """RELIABILITY row 39: content decides, not the time a program may set."""
    filled.clock.ahead = 0 if young else 1000
    settle(filled.write("sub/b.txt", "one"))
    filled.digests()
    settle(filled.write("sub/b.txt", "two"))
    assert filled.digests()["sub/b.txt"] == digest_bytes(b"two")


def test_a_young_file_is_read_again_until_it_is_old(filled: Project, reads: Reads) -> None:
    filled.clock.ahead = 0
    filled.digests()
    reads.taken()
    filled.digests()
    assert "b.txt" in reads.taken()
    filled.clock.ahead = 1000
    filled.digests()
    filled.digests()
    reads.taken()
    filled.digests()
    assert reads.taken() == []


def test_directories_are_listed_again_only_while_they_are_young(
    filled: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings: list[int] = []
    real = census.take_census

    def counted(*args: object) -> object:
        listings.append(1)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(census, "take_census", counted)
    counts = []
    for ahead in (0, 0, 1000, 1000, 1000):
        filled.clock.ahead = ahead
        filled.digests()
        counts.append(len(listings))
    assert counts == [1, 2, 3, 3, 3]


def test_a_clock_that_was_set_back_costs_reading_and_nothing_else(filled: Project, reads: Reads) -> None:
    filled.clock.ahead = -86_400
    first = filled.digests()
    reads.taken()
    assert filled.digests() == first
    assert "a.txt" in reads.taken()


@pytest.mark.parametrize("when", [2**32 - 1, 4_300_000_000, 1, 315_532_800 - 86_400])
def test_strange_times_do_not_matter(filled: Project, when: int) -> None:
    place = filled.write("a.txt", "strange")
    os.utime(place, (when, when))
    assert filled.digests()["a.txt"] == digest_bytes(b"strange")
    assert filled.digests()["a.txt"] == digest_bytes(b"strange")


def test_added_removed_renamed_and_replaced_files_are_noticed(filled: Project) -> None:
    filled.digests()
    filled.write("sub/new.txt", "new")
    (filled.root / "sub/b.txt").unlink()
    (filled.root / "sub/deep").rename(filled.root / "moved")
    (filled.root / "a.txt").unlink()
    (filled.root / "a.txt").symlink_to("other/d.txt")
    found = filled.digests()
    found.pop(".gitignore", None)
    assert found == {
        "a.txt": "other/d.txt",
        "moved/c.txt": digest_bytes(b"content of sub/deep/c.txt"),
        "other/d.txt": digest_bytes(b"content of other/d.txt"),
        "sub/new.txt": digest_bytes(b"new"),
    }


def test_a_link_with_another_target_is_noticed(filled: Project) -> None:
    link = filled.root / "link"
    link.symlink_to("a.txt")
    assert filled.digests()["link"] == "a.txt"
    link.unlink()
    link.symlink_to("b.txt")
    assert filled.digests()["link"] == "b.txt"


def test_a_changed_execute_bit_is_noticed(filled: Project) -> None:
    def modes() -> dict[str, int]:
        with filled.tree() as tree:
            return {entry.path: entry.mode for entry in tree.fileset(("**",))}

    assert modes()["a.txt"] == 0o644
    (filled.root / "a.txt").chmod(0o755)
    assert modes()["a.txt"] == 0o755


def test_a_file_in_a_directory_that_was_empty_is_noticed(filled: Project) -> None:
    (filled.root / "empty/deeper").mkdir(parents=True)
    filled.digests()
    filled.write("empty/deeper/x")
    assert "empty/deeper/x" in filled.digests()


def test_a_selection_is_digested_anew_after_a_change_only(filled: Project) -> None:
    def digests() -> tuple[str, str]:
        with filled.tree() as tree:
            return tree.digest(("sub/**", "!sub/deep")), tree.digest(("**/*.txt",))

    first = digests()
    assert digests() == first
    filled.write("sub/deep/c.txt", "edited")
    second = digests()
    assert second[0] == first[0]
    assert second[1] != first[1]


def test_other_settings_are_another_listing_and_what_both_have_is_not_read_again(filled: Project, reads: Reads) -> None:
    filled.digests()
    reads.taken()
    with filled.tree(ignore=("sub",)) as tree:
        assert "sub/b.txt" not in {entry.path for entry in tree.fileset(("**",))}
    assert reads.taken() == []
    filled.digests()
    assert reads.taken() == ["b.txt", "c.txt"]
    filled.write(".dockerignore", "other\n")
    assert "other/d.txt" not in filled.digests()


def test_answers_hold_until_refreshed(filled: Project) -> None:
    with filled.tree() as tree:
        before = tree.digest(("**",))
        filled.write("a.txt", "edited")
        assert tree.digest(("**",)) == before
        tree.refresh()
        assert tree.digest(("**",)) != before


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty", "directory"])
def test_a_damaged_cache_costs_time_only(filled: Project, damage: str) -> None:
    first = filled.digests()
    (path,) = (filled.cache / "scan").iterdir()
    data = path.read_bytes()
    if damage == "directory":
        path.unlink()
        path.mkdir()
        with filled.tree() as tree:
            assert tree.digest(("**",))
            path.rmdir()
        return
    middle = len(data) // 2
    damaged = {
        "cut": data[:middle],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "foreign": b"something else",
        "empty": b"",
    }
    path.write_bytes(damaged[damage])
    assert load_scan(path) is None
    assert filled.digests() == first
    assert load_scan(path) is not None


def test_two_projects_do_not_share_a_cache_file(project: Project, tmp_path: Path) -> None:
    project.write("a", "1")
    project.digests()
    project.root = tmp_path / "second"
    project.write("a", "2")
    assert project.digests() == {"a": digest_bytes(b"2")}
    assert len(list((project.cache / "scan").iterdir())) == 2
