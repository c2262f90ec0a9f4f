"""A layer that is kept without a tree means what the tree of an overlay's element means."""

from __future__ import annotations

import contextlib
import io
import os
import random
from pathlib import Path

import pytest

from lamella.errors import HostileInputError, LamellaError
from lamella.graph.fileset import EntryType
from lamella.host.rooted import Rooted
from lamella.layers.contents import kept_bytes, kept_root
from lamella.layers.facts import extract_facts, tree_facts
from lamella.layers.policy import ROOT_POLICY, UnpackMode
from lamella.layers.unpack import Unpacked, keep_layer, unpack_layer
from lamella.layers.view import TreeView
from lamella.oci.config import RuntimeConfig
from tests.unit.layers.archives import Piece, tar_bytes, tar_dir, tar_file, tar_link, tar_symlink
from tests.unit.layers.test_breakouts import CASES, hostile, snapshot
from tests.unit.layers.trees import make_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes whiteouts and owners on the disk to compare with")
ODD = {
    "case": [tar_file("usr/Readme", b"one"), tar_file("usr/README", b"two")],
    "setuid": [tar_file("bin/su", b"x", 0o4755), tar_dir("shut", 0o000), tar_file("shut/in", b"y", 0o000)],
    "twice": [tar_dir("d"), tar_file("d/x", b"1"), tar_symlink("e", "d"), tar_dir("e"), tar_file("d/y", b"2")],
    "gone": [tar_file(".wh.x"), tar_file("x/new", b"n"), tar_dir("o"), tar_file("o/.wh..wh..opq"), tar_file("o/f")],
    "long": [tar_dir("n" * 200), tar_file("n" * 256, b"x")],
    "links": [tar_file("a", b"1"), tar_link("a", "b"), tar_symlink("/a", "s"), tar_link("s", "t"), tar_file("a", b"2")],
}  # fmt: skip


def both(tmp_path: Path, archive: bytes) -> tuple[Unpacked | None, Unpacked | None]:
    """The archive as root's overlay element and kept; None for what refuses it."""
    results: list[Unpacked | None] = []
    for name in ("tree", "kept"):
        folder = tmp_path / name
        folder.mkdir()
        try:
            if name == "tree":
                done = unpack_layer(io.BytesIO(archive), folder, mode=UnpackMode.OVERLAY, policy=ROOT_POLICY)
            else:
                done = keep_layer(io.BytesIO(archive), folder)
            results.append(done)
        except HostileInputError:
            results.append(None)
    return results[0], results[1]


def check_same(tmp_path: Path, archive: bytes) -> None:
    """Both refuse the archive, or both have one file set and the same bytes."""
    tree, kept = both(tmp_path, archive)
    assert (tree is None) == (kept is None)
    if tree is None or kept is None:
        return
    assert kept.fileset.to_bytes() == tree.fileset.to_bytes()
    assert (kept.diff_id, kept.size, kept.warnings) == (tree.diff_id, tree.size, tree.warnings)
    for entry in kept.fileset:
        if entry.type is EntryType.FILE:
            assert b"".join(kept_bytes(tmp_path / "kept", entry)) == (tmp_path / "tree" / entry.path).read_bytes()
    status, root = (tmp_path / "tree").stat(), kept_root(tmp_path / "kept")
    assert (root.mode, root.uid, root.gid) == (status.st_mode & 0o7777, status.st_uid, status.st_gid)


@needs_root
@pytest.mark.parametrize("name", ODD)
def test_odd_archives_mean_the_same(name: str, tmp_path: Path) -> None:
    check_same(tmp_path, tar_bytes(ODD[name]))


@needs_root
@pytest.mark.parametrize("name", CASES)
def test_breakouts_mean_the_same(name: str, tmp_path: Path) -> None:
    check_same(tmp_path, tar_bytes(CASES[name].pieces))


@pytest.mark.parametrize("name", hostile(Path("/nowhere")))
def test_hostile_archives_touch_nothing_but_their_folder(name: str, tmp_path: Path) -> None:
    canary = make_tree(tmp_path / "canary", {"etc/passwd": b"host users", "file": b"host file", "dir/sub/x": b"x"})
    before, pieces = snapshot(canary), hostile(canary)[name]
    archive = pieces if isinstance(pieces, bytes) else tar_bytes(pieces)
    with contextlib.suppress(LamellaError):
        keep_layer(io.BytesIO(archive), make_tree(tmp_path / "kept", {}))
    assert snapshot(canary) == before
    assert {path.name for path in tmp_path.iterdir()} == {"canary", "kept"}


@needs_root
@pytest.mark.parametrize("seed", range(40))
def test_random_archives_mean_the_same(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    names = ("a", "b", "a/b", "a/c", "b/a", "a/b/c", "../a", "/b/c", "c/../a")

    def piece() -> Piece:
        name, other = chance.choice(names), chance.choice(names)
        parent, _, last = name.rpartition("/")
        kinds = (
            lambda: tar_file(name, other.encode(), chance.choice((0o644, 0o4755))),
            lambda: tar_dir(name, chance.choice((0o755, 0o1777)), chance.choice((0, 7))),
            lambda: tar_symlink(other, name),
            lambda: tar_link(other, name),
            lambda: tar_file(f"{parent}/.wh.{last}".lstrip("/")),
            lambda: tar_file(f"{name}/.wh..wh..opq"),
        )
        return chance.choice((*kinds, *kinds[:3]))()

    check_same(tmp_path, tar_bytes([piece() for _ in range(chance.randrange(1, 9))]))


def test_facts_of_a_kept_layer_are_those_of_its_tree(tmp_path: Path) -> None:
    me = {"uid": os.getuid(), "gid": os.getgid()}
    pieces = [
        tar_dir("./", 0o755, **me),
        *(tar_dir(name, 0o755, **me) for name in ("usr", "usr/bin", "usr/lib", "etc", "proc", "proc/1", "var")),
        tar_dir("tmp", 0o1777, **me),
        tar_symlink("usr/bin", "bin"),
        tar_symlink("/usr/lib", "lib"),
        tar_file("usr/bin/python3.12", b"#!", 0o755),
        tar_symlink("python3.12", "usr/bin/python3"),
        tar_symlink("nowhere", "usr/bin/dangling"),
        tar_symlink("loop", "usr/bin/loop"),
        tar_file("usr/bin/notes", b""),
        tar_file("usr/lib/os-release", b'ID=debian\nVERSION_ID="12"\n'),
        tar_symlink("../usr/lib/os-release", "etc/os-release"),
        tar_file("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        tar_file("usr/lib/ld-musl-x86_64.so.1", b"\0musl\0" + b"1.2.5\0", 0o755),
        *(tar_dir(name, 0o755, **me) for name in ("usr/lib/apk", "usr/lib/apk/db")),
        tar_file("usr/lib/apk/db/installed", b"P:busybox\nV:1.36\nA:x86_64\n"),
        tar_file("proc/1/status", b""),
    ]
    tree, kept = both(tmp_path, tar_bytes(pieces))
    assert kept is not None
    entries = {entry.path: entry for entry in kept.fileset}
    view = TreeView(entries, lambda entry: kept_bytes(tmp_path / "kept", entry), kept_root(tmp_path / "kept"))
    found = tree_facts(view, platform="linux/amd64", runtime=RuntimeConfig())
    assert found == extract_facts(tmp_path / "tree", platform="linux/amd64", runtime=RuntimeConfig())
    assert (found.libc_version, found.tools, dict(found.packages)) == (
        "1.2.5",
        ("python3", "python3.12"),
        {"busybox": "1.36"},
    )
    assert tree is not None


@pytest.mark.parametrize("path", ["loop", "gone", "usr/bin/tool/x", "dir", "fifo", "big", "usr/../usr/bin/tool"])
def test_a_view_refuses_what_a_root_refuses(path: str, tmp_path: Path) -> None:
    pieces = [tar_file("usr/bin/tool", b"t"), tar_symlink("loop", "loop"), tar_dir("dir"), tar_file("big", b"12345")]
    _, kept = both(tmp_path, tar_bytes(pieces))
    assert kept is not None
    entries = {entry.path: entry for entry in kept.fileset}
    view = TreeView(entries, lambda entry: kept_bytes(tmp_path / "kept", entry), kept_root(tmp_path / "kept"))
    outcomes: list[object] = []
    with Rooted(tmp_path / "tree") as root:
        for one in (root, view):
            try:
                outcomes.append((one.read_bytes(path, limit=4), one.real_name(path)))
            except OSError as error:
                outcomes.append((type(error), error.errno))
            except HostileInputError as error:
                outcomes.append(error.message)
    assert outcomes[0] == outcomes[1]
