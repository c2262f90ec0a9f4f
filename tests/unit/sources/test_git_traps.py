"""Ways in which git hides an edit (MECHANICS G). Each fails when git's word is taken for more than it is."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from lamella.canonical import digest_bytes
from tests.unit.sources.conftest import OLD, Project

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def tracked(project: Project) -> Project:
    project.write("a.txt", "one")
    project.write("sub/b.txt", "two")
    os.utime(project.root / "a.txt", (OLD, OLD))
    os.utime(project.root / "sub/b.txt", (OLD, OLD))
    project.commit_all()
    project.git("update-index", "--refresh")
    assert project.digests()["a.txt"] == digest_bytes(b"one")
    return project


def next_second() -> None:
    """Git compares whole seconds; nobody edits a file in the second of the last look and lets us believe it is old."""
    time.sleep(1.01 - time.time() % 1)


def edit_unseen(project: Project, path: str, data: str) -> None:
    """Other bytes of the same size and modification time."""
    place = project.write(path, data)
    os.utime(place, (OLD, OLD))


def test_keys_hash_bytes_on_disk_and_no_object_ids(project: Project) -> None:
    """A smudge filter: two checkouts of one commit with different bytes, both clean for git."""
    project.write(".gitattributes", "*.txt filter=rot\n")
    project.git("init", "-q")
    project.git("config", "filter.rot.clean", "tr a-z A-Z")
    project.git("config", "filter.rot.smudge", "cat")
    project.write("a.txt", "lower")
    project.commit_all()
    assert project.digests()["a.txt"] == digest_bytes(b"lower")
    project.write("a.txt", "LOWER")
    project.git("add", "a.txt")
    assert project.git("status", "--porcelain") == ""
    assert project.digests()["a.txt"] == digest_bytes(b"LOWER")


def test_a_filtered_file_that_git_compares_by_content(project: Project) -> None:
    """As young as the index, so git compares content, filtered: still clean for it, other bytes for us."""
    project.write(".gitattributes", "* text eol=lf\n")
    project.write("a.txt", "x\r\ny\r\n")
    project.commit_all()
    assert project.digests()["a.txt"] == digest_bytes(b"x\r\ny\r\n")
    project.write("a.txt", "x\ny\nzz")
    project.git("add", "a.txt")
    project.digests()
    project.write("a.txt", "x\r\ny\nz")
    assert project.digests()["a.txt"] == digest_bytes(b"x\r\ny\nz")


def test_line_endings_that_git_calls_equal_are_different_bytes(project: Project) -> None:
    project.write(".gitattributes", "*.txt text\n")
    project.write("a.txt", "x\ny\n")
    project.commit_all()
    project.digests()
    project.write("a.txt", "x\r\ny\r\n")
    project.git("update-index", "-q", "--refresh")
    assert project.digests()["a.txt"] == digest_bytes(b"x\r\ny\r\n")


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_files_that_git_was_told_not_to_look_at(tracked: Project, flag: str) -> None:
    tracked.git("update-index", flag, "a.txt")
    assert tracked.digests()["a.txt"] == digest_bytes(b"one")
    tracked.write("a.txt", "edited")
    assert tracked.git("status", "--porcelain") == ""
    assert tracked.digests()["a.txt"] == digest_bytes(b"edited")
    tracked.write("a.txt", "again")
    assert tracked.digests()["a.txt"] == digest_bytes(b"again")


@pytest.mark.parametrize(
    "settings",
    [("core.trustctime", "false"), ("core.checkStat", "minimal")],
    ids=lambda pair: pair[0],
)
def test_weak_stat_settings_hide_nothing(tracked: Project, settings: tuple[str, str]) -> None:
    tracked.git("config", *settings)
    tracked.digests()
    next_second()
    edit_unseen(tracked, "a.txt", "own")
    assert tracked.git("status", "--porcelain") == ""
    assert tracked.digests()["a.txt"] == digest_bytes(b"own")


def test_a_file_mode_that_git_ignores_is_an_input(tracked: Project) -> None:
    tracked.git("config", "core.fileMode", "false")
    tracked.digests()
    (tracked.root / "a.txt").chmod(0o755)
    with tracked.tree() as tree:
        assert [entry.mode for entry in tree.fileset(("a.txt",))] == [0o755]


def test_a_file_system_monitor_is_not_asked(tracked: Project) -> None:
    hook = tracked.write(".git/hook", "#!/bin/sh\nprintf 'token\\0'\n")
    hook.chmod(0o755)
    tracked.git("config", "core.fsmonitor", str(hook))
    tracked.git("status")
    tracked.digests()
    tracked.write("a.txt", "edited")
    assert tracked.digests()["a.txt"] == digest_bytes(b"edited")


def test_a_changed_ignore_file_is_a_new_listing(tracked: Project) -> None:
    tracked.write("x.log")
    assert "x.log" in tracked.paths()
    tracked.write("sub/.gitignore", "")
    tracked.paths()
    tracked.write(".gitignore", "*.log\n")
    assert "x.log" not in tracked.paths()
    tracked.write(".gitignore", "*.lag\n")
    assert "x.log" in tracked.paths()
    tracked.write(".git/info/exclude", "*.log\n")
    assert "x.log" not in tracked.paths()


def test_an_ignore_file_that_is_cut_itself_still_counts(tracked: Project) -> None:
    tracked.write(".dockerignore", "**/.gitignore\n")
    tracked.write("sub/.gitignore", "*.log\n")
    tracked.write("sub/x.log")
    assert "sub/x.log" not in tracked.paths()
    tracked.write("sub/.gitignore", "*.lag\n")
    assert "sub/x.log" in tracked.paths()


def test_commits_checkouts_and_a_new_repository_are_noticed(tracked: Project) -> None:
    tracked.git("checkout", "-q", "-b", "side")
    tracked.write("a.txt", "side")
    tracked.commit_all()
    assert tracked.digests()["a.txt"] == digest_bytes(b"side")
    tracked.git("checkout", "-q", "main")
    assert tracked.digests()["a.txt"] == digest_bytes(b"one")
    tracked.write(".gitignore", "sub\n")
    tracked.git("rm", "-q", "--cached", "sub/b.txt")
    assert "sub/b.txt" not in tracked.paths()
    shutil.rmtree(tracked.root / ".git")
    assert "sub/b.txt" in tracked.paths()


def test_git_writes_nothing(tracked: Project) -> None:
    os.utime(tracked.root / "a.txt", (OLD + 5, OLD + 5))  # git would like to refresh its index now
    before = (tracked.root / ".git/index").stat()
    tracked.digests()
    tracked.digests()
    after = (tracked.root / ".git/index").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
