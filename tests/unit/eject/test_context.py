"""What stages take of the project, and the ignore file that lets in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.eject.context import Context, Found, ignore_file
from lamella.sources.dockerignore import parse_dockerignore
from lamella.testing.tree import MemoryTree

FILES: dict[str, bytes | str] = {
    "a.txt": "",
    "src/one.py": "",
    "src/deep/two.py": "",
    "conf/a.ini": "",
    "conf/b.txt": "",
    "crates/x/Cargo.toml": "",
    "crates/y/Cargo.toml": "",
    "Cargo.toml": "",
}


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (("src",), [("src", True)]),
        (("src/**",), [("src", True)]),
        (("src/deep/two.py",), [("src/deep/two.py", False)]),
        (("conf/*.ini",), [("conf/a.ini", False)]),
        (("conf/*",), [("conf/a.ini", False), ("conf/b.txt", False)]),
        (("**",), [(".", True)]),
        (("conf/**", "!conf/b.txt", "src"), [("conf/a.ini", False), ("src", True)]),
    ],
)
def test_folders_stand_for_all_their_files(patterns: tuple[str, ...], found: list[tuple[str, bool]]) -> None:
    """A glob names files; only a folder, or everything below one, is a folder that new files belong to."""
    assert Context(MemoryTree(FILES)).cover(patterns) == tuple(Found(*item) for item in found)


def test_a_compile_gets_the_top_folders() -> None:
    found = Context(MemoryTree(FILES)).tops(("crates/x/Cargo.toml", "Cargo.toml"))
    assert found == (Found("Cargo.toml", folder=False), Found("crates", folder=True))


def test_a_mount_shows_the_folders_that_globs_begin_with() -> None:
    context = Context(MemoryTree(FILES))
    assert context.folders(("conf/*.ini", "src/deep/**", "src/**", "!src/x")) == (
        Found("conf", True),
        Found("src", True),
    )
    assert context.folders(("**/*.py",)) == (Found(".", True),)


def ignored(text: str, path: str) -> bool:
    """What Docker's own rules say of a file; our reader of them is held against Docker elsewhere."""
    return parse_dockerignore(text.encode()).ignored(path)


def test_only_what_is_taken_comes_in(tmp_path: Path) -> None:
    tree = MemoryTree({**FILES, ".gitignore": "/build/\n*.log\n!keep.log\n", "src/.gitignore": "tmp\n/gen\n"})
    context = Context(tree)
    context.take("src", "conf/a.ini")
    context.leave_out("src/deep")
    text = ignore_file(context, "# mine\n**/*.bak\n", ("**/.env",), "Dockerfile")
    comes = ("src/one.py", "conf/a.ini", "src/keep.log", "src/x/gen")
    stays = (
        "a.txt",
        "conf/b.txt",
        "src/deep/two.py",
        "src/x.bak",
        "src/.env",
        "src/a/b.log",
        "src/a/tmp/x",
        "src/gen/x",
    )
    assert [path for path in comes if ignored(text, path)] == []
    assert [path for path in stays if not ignored(text, path)] == []


def test_a_name_with_wildcards_lets_in_only_itself() -> None:
    context = Context(MemoryTree({"a[b].txt": "", "ab.txt": ""}))
    context.take("a[b].txt")
    text = ignore_file(context, "", (), "Dockerfile")
    assert not ignored(text, "a[b].txt")
    assert ignored(text, "ab.txt")


def test_a_folder_that_was_asked_for_is_no_left_over() -> None:
    context = Context(MemoryTree({"vendor/node_modules/x.js": ""}))
    context.take("vendor/node_modules")
    assert not ignored(ignore_file(context, "", (), "Dockerfile"), "vendor/node_modules/x.js")
