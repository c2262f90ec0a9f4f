"""What counts as an input without git, and how it is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError
from lamella.graph.fileset import Entry, EntryType
from lamella.sources import hashing
from tests.unit.sources.conftest import Project


def test_files_modes_and_links(project: Project) -> None:
    project.write("a/file.txt", "text").chmod(0o600)
    project.write("a/tool", "#!").chmod(0o711)
    project.write("group", "").chmod(0o670)
    (project.root / "link").symlink_to("a/file.txt")
    (project.root / "out").symlink_to("/etc/passwd")
    (project.root / "empty").mkdir()
    with project.tree() as tree:
        assert list(tree.fileset(("**",))) == [
            Entry("a/file.txt", EntryType.FILE, 0o644, size=4, digest=digest_bytes(b"text")),
            Entry("a/tool", EntryType.FILE, 0o755, size=2, digest=digest_bytes(b"#!")),
            Entry("group", EntryType.FILE, 0o644, size=0, digest=digest_bytes(b"")),
            Entry("link", EntryType.SYMLINK, 0o777, link="a/file.txt"),
            Entry("out", EntryType.SYMLINK, 0o777, link="/etc/passwd"),
        ]
        assert tree.exists("a")
        assert tree.exists("./a/file.txt")
        assert not tree.exists("empty")
        assert not tree.exists("nothing/here")
        assert tree.exists("")


def test_version_control_our_own_folder_and_special_files_are_no_inputs(project: Project) -> None:
    for path in (".git/HEAD", ".lamella/x", "sub/.git", "sub/.lamella/y", "keep"):
        project.write(path)
    os.mkfifo(project.root / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project.root / "sock"))
        assert project.paths() == ["keep"]


def test_docker_and_project_rules_cut(project: Project) -> None:
    project.write(".dockerignore", "**/*.log\n!keep.log\nvendor\n!vendor/keep\n")
    for path in ("a.log", "keep.log", "sub/b.log", "vendor/x", "vendor/keep/y", "secret.pem", "sub/key.pem", "doc/x"):
        project.write(path)
    assert project.paths(ignore=("**/*.pem", "doc")) == [".dockerignore", "keep.log", "vendor/keep/y"]


def test_project_rules_may_take_back(project: Project) -> None:
    for path in ("doc/a", "doc/keep/b"):
        project.write(path)
    assert project.paths(ignore=("doc", "!doc/keep/**")) == ["doc/keep/b"]


def test_a_broken_dockerignore_is_an_error_of_its_line(project: Project) -> None:
    project.write(".dockerignore", "ok\n[\n")
    with pytest.raises(ConfigError, match=r"\.dockerignore:2"):
        project.tree()


def test_an_ignore_file_may_be_a_link_inside_but_not_out(project: Project, tmp_path: Path) -> None:
    project.write("etc/ignore", "secret")
    project.write("secret")
    (project.root / ".dockerignore").symlink_to("etc/ignore")
    assert project.paths() == [".dockerignore", "etc/ignore"]
    (tmp_path / "elsewhere").write_text("x")
    (project.root / ".dockerignore").unlink()
    (project.root / ".dockerignore").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="leads out of the project"):
        project.tree()


def test_reading(project: Project) -> None:
    project.write("a/b.toml", "x = 1")
    (project.root / "c.toml").symlink_to("a/b.toml")
    (project.root / "d").symlink_to("a")
    with project.tree() as tree:
        assert tree.read("a/b.toml") == b"x = 1"
        assert tree.read("./a/../a/b.toml") == b"x = 1"
        assert tree.read("c.toml") == b"x = 1"
        assert tree.read("d/b.toml") == b"x = 1"


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("absent", "no such file in the project"),
        ("dir", "a directory, where a file is wanted"),
        ("ignored.log", r"ignored \(\.dockerignore:1: \*\.log\)"),
        ("cut.pem", "ignored by git or by `ignore`"),
        ("out", "leads out of the project"),
        ("loop", "no such file|cannot be read"),
        ("dir/../../x", "leads out of the project"),
        ("large", "larger than 16 MiB"),
    ],
)
def test_what_cannot_be_read_says_why(project: Project, path: str, match: str) -> None:
    project.write(".dockerignore", "*.log")
    project.write("ignored.log")
    project.write("cut.pem")
    project.write("dir/file")
    (project.root.parent / "x").write_text("outside")
    (project.root / "out").symlink_to("../x")
    (project.root / "loop").symlink_to("loop")
    os.truncate(project.write("large"), (16 << 20) + 1)
    with project.tree(ignore=("*.pem",)) as tree, pytest.raises(ConfigError, match=match) as caught:
        tree.read(path)
    assert caught.value.exit_code == 2


def test_contexts_are_trees_of_their_own(project: Project, tmp_path: Path) -> None:
    project.write("same", "project")
    other = tmp_path / "other"
    other.mkdir()
    (other / "same").write_text("context")
    (other / ".dockerignore").write_text("cut")
    (other / "cut").write_text("")
    with project.tree(contexts={"extra": other}) as tree:
        assert tree.read("same", context="extra") == b"context"
        assert tree.paths(("**",), context="extra") == (".dockerignore", "same")
        assert tree.root("extra") == other
        with pytest.raises(ConfigError, match="build context 'none' is not given"):
            tree.digest(("**",), context="none")


def test_a_root_that_is_no_directory(project: Project) -> None:
    with pytest.raises(ConfigError, match="is not a directory"):
        project.tree(contexts={"x": project.write("file")})


def test_an_unselected_file_is_never_read(project: Project) -> None:
    project.write("a/x", "1")
    project.write("b/y", "2").chmod(0o000)
    os.truncate(project.write("b/huge"), 1 << 40)
    with project.tree() as tree:
        assert tree.digest(("a/**",)) == tree.digest(("a",))
        assert tree.paths(("b/**",)) == ("b/huge", "b/y")


def test_a_file_that_is_gone_when_it_is_hashed(project: Project) -> None:
    place = project.write("a")
    with project.tree() as tree:
        tree.paths(("**",))
        place.unlink()
        with pytest.raises(ConfigError, match="a vanished while the project was read"):
            tree.digest(("**",))


def test_a_file_that_became_a_link_when_it_is_hashed(project: Project) -> None:
    place = project.write("a")
    with project.tree() as tree:
        tree.paths(("**",))
        place.unlink()
        place.symlink_to("/etc/passwd")
        with pytest.raises(ConfigError, match="changes while it is read"):
            tree.digest(("**",))


def test_a_file_that_changed_between_look_and_hash_is_hashed_as_it_is(project: Project) -> None:
    place = project.write("a", "old")
    with project.tree() as tree:
        tree.paths(("**",))
        place.write_text("newer")
        (entry,) = tree.fileset(("**",))
        assert (entry.digest, entry.size) == (digest_bytes(b"newer"), 5)


def edit_while_reading(place: Path, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Somebody writes the file each time that a piece of it was read, so often."""
    real = os.read
    left = times

    def read(fd: int, size: int) -> bytes:
        nonlocal left
        data = real(fd, size)
        if left:
            left -= 1
            with place.open("r+b") as file:
                file.write(b"edit %d" % left)
            os.utime(place, ns=(left, left))  # a time of its own, however coarse the clock
        return data

    monkeypatch.setattr(os, "read", read)


def test_a_file_that_is_rewritten_all_the_time_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_PAUSE", 0.0)
    place = project.write("a", "x" * (2 << 20))
    with project.tree() as tree:
        tree.paths(("**",))
        edit_while_reading(place, monkeypatch, times=1000)
        with pytest.raises(ConfigError, match="changes while it is read") as caught:
            tree.digest(("**",))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("size", [100, 2 << 20], ids=["small", "large"])
def test_an_edit_that_was_noticed_is_read_again(project: Project, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    place = project.write("a", "x" * size)
    with project.tree() as tree:
        tree.paths(("**",))
        edit_while_reading(place, monkeypatch, times=1)
        (entry,) = tree.fileset(("**",))
    assert entry.digest == digest_bytes(place.read_bytes())


def test_names_that_are_no_text(project: Project) -> None:
    Path(os.fsdecode(os.fsencode(project.root) + b"/caf\xe9")).write_text("x")
    Path(project.root / "new\nline").write_text("y")
    assert len(project.digests()) == 2
    assert len(project.digests()) == 2


def test_an_unreadable_directory_and_file_are_named(project: Project) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything; tests/integration/sources has this as another user")
    project.write("a/b").chmod(0)
    with project.tree() as tree, pytest.raises(ConfigError, match=r"a/b cannot be read: permission denied"):
        tree.digest(("**",))


def test_links_are_the_selected_symlinks_with_their_targets(project: Project) -> None:
    for path in ("a/file", "b/file"):
        project.write(path)
    (project.root / "a/link").symlink_to("../b/file")
    (project.root / "b/other").symlink_to("nowhere")
    with project.tree() as tree:
        assert tree.links(("a/**",)) == {"a/link": "../b/file"}
        assert tree.links(("**",)) == {"a/link": "../b/file", "b/other": "nowhere"}
        assert tree.links(("**/file",)) == {}
