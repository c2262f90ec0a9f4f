"""Scans of directories: what becomes a file set, and that nothing else does."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lamella.errors import HostileInputError, IntegrityError
from lamella.graph.fileset import EntryType
from lamella.layers.snapshot import KEEP, PRODUCT, ScanOptions, hard_links, scan_tree
from tests.unit.layers.trees import directory, file, make_tree, symlink


def test_a_product_has_normal_owners_and_modes(tmp_path: Path) -> None:
    make_tree(tmp_path, {"d/f": b"x", "d/run": b"#!", "l": "d/f", "empty": None})
    (tmp_path / "d/f").chmod(0o664)
    (tmp_path / "d/run").chmod(0o700)
    (tmp_path / "d").chmod(0o2770)
    assert scan_tree(tmp_path).entries == (
        directory("d"),
        file("d/f", b"x"),
        file("d/run", b"#!", 0o755),
        directory("empty"),
        symlink("l", "d/f"),
    )


def test_keep_takes_modes_as_they_are(tmp_path: Path) -> None:
    make_tree(tmp_path, {"f": b""})
    (tmp_path / "f").chmod(0o4711)
    entry = scan_tree(tmp_path, KEEP).entries[0]
    assert (entry.mode, entry.uid, entry.gid) == (0o4711, os.getuid(), os.getgid())


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_product_is_the_same_under_every_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_tree(tmp_path, {"a/b": b"x", "a/c/d": b"y"})
    finally:
        os.umask(before)
    assert scan_tree(tmp_path).digest == "sha256:5c7814f203d4b6a421cc135ff9da5e45d092490b48c743858b89fe46f8b36560"


def test_times_do_not_matter(tmp_path: Path) -> None:
    make_tree(tmp_path, {"f": b"x"})
    first = scan_tree(tmp_path)
    os.utime(tmp_path / "f", (1, 1))
    assert scan_tree(tmp_path) == first


def test_a_part_of_a_tree_has_relative_paths(tmp_path: Path) -> None:
    make_tree(tmp_path, {"out/bin/x": b"x", "other": b"o"})
    assert scan_tree(tmp_path, below="out").entries == (directory("bin"), file("bin/x", b"x"))


def test_links_are_never_followed(tmp_path: Path) -> None:
    make_tree(tmp_path / "outside", {"secret": b"s"})
    make_tree(tmp_path / "tree", {"dir": "../outside", "file": "../outside/secret", "dead": "nowhere"})
    assert {entry.type for entry in scan_tree(tmp_path / "tree")} == {EntryType.SYMLINK}


def test_sockets_are_left_out_and_fifos_kept(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert [(entry.path, entry.type) for entry in scan_tree(tmp_path)] == [("fifo", EntryType.FIFO)]


@pytest.mark.parametrize("threads", [1, 4])
def test_large_files_are_hashed_the_same_with_and_without_threads(tmp_path: Path, threads: int) -> None:
    data = {f"big{number}": bytes([number]) * 400_000 for number in range(70)}
    make_tree(tmp_path, data)
    options = ScanOptions(owners=True, modes=True, threads=threads)
    assert scan_tree(tmp_path, options).entries == tuple(file(name, data[name]) for name in sorted(data))


@pytest.mark.parametrize("size", [10, 400_000])
def test_a_file_that_changes_while_it_is_read_is_an_integrity_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    place = tmp_path / "f"
    place.write_bytes(bytes(size))
    real = os.read

    def read_and_grow(handle: int, count: int) -> bytes:
        data = real(handle, count)
        if not data:
            with place.open("ab") as stream:
                stream.write(b"more")
        return data

    monkeypatch.setattr("lamella.layers.snapshot.os.read", read_and_grow)
    with pytest.raises(IntegrityError, match="changed while it was read"):
        scan_tree(tmp_path)


def test_a_tree_of_endless_depth_is_refused(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    with pytest.raises(HostileInputError, match="deeper than"):
        scan_tree(tmp_path)


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"gr\xfcn")).write_bytes(b"x")
    assert scan_tree(tmp_path).entries == (file(os.fsdecode(b"gr\xfcn"), b"x"),)


def test_hard_links_are_found_where_their_entries_agree(tmp_path: Path) -> None:
    make_tree(tmp_path, {"a": b"x", "sub/f": b"y"})
    os.link(tmp_path / "a", tmp_path / "b")
    os.link(tmp_path / "a", tmp_path / "sub/c")
    os.link(tmp_path / "sub/f", tmp_path / "sub/g")
    found = scan_tree(tmp_path, PRODUCT)
    assert hard_links(tmp_path, found) == (("a", "b", "sub/c"), ("sub/f", "sub/g"))
    assert hard_links(tmp_path, found.where(lambda entry: entry.path != "b")) == (("a", "sub/c"), ("sub/f", "sub/g"))
