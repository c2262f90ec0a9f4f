"""The tar writer: same file set, same bytes; ustar first, PAX only where it must be."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lamella.errors import ConfigError, HostileInputError, IntegrityError, InternalError
from lamella.graph.fileset import EMPTY_FILESET, Entry, EntryType, FileSet
from lamella.layers.content import KnownChunks, bytes_content, directory_content, open_content
from lamella.layers.snapshot import scan_tree
from lamella.layers.tar import write_layer
from tests.unit.layers.trees import directory, file, layer_bytes, make_tree, stdlib_members, symlink

PAX_FLAG = b"x"


def flags(archive: bytes) -> list[bytes]:
    """Type flags of all headers, PAX ones included."""
    found, at = [], 0
    while archive[at : at + 512].strip(b"\0"):
        size = int(archive[at + 124 : at + 135], 8)
        found.append(archive[at + 156 : at + 157])
        at += 512 + -(-size // 512) * 512
    return found


def test_an_independent_reader_sees_every_kind_of_entry() -> None:
    entries = [
        directory("etc", 0o750, 3, 4),
        file("etc/conf", b"data", 0o4755, 1000, 1001),
        symlink("etc/link", "../x"),
        Entry("etc/fifo", EntryType.FIFO, 0o600),
        Entry("etc/null", EntryType.CHAR_DEVICE, 0o666, device=(1, 3)),
        Entry("etc/disk", EntryType.BLOCK_DEVICE, 0o660, gid=6, device=(8, 1)),
        Entry("gone", EntryType.WHITEOUT, 0),
        Entry("hidden", EntryType.OPAQUE, 0o711, 5, 6),
        file("hidden/new", b"n"),
    ]
    members = stdlib_members(layer_bytes(entries, {"etc/conf": b"data", "hidden/new": b"n"}))
    assert [(m.name, m.type, m.mode, m.uid, m.gid, m.size, m.linkname) for m in members] == [
        ("etc", b"5", 0o750, 3, 4, 0, ""),
        ("etc/conf", b"0", 0o4755, 1000, 1001, 4, ""),
        ("etc/disk", b"4", 0o660, 0, 6, 0, ""),
        ("etc/fifo", b"6", 0o600, 0, 0, 0, ""),
        ("etc/link", b"2", 0o777, 0, 0, 0, "../x"),
        ("etc/null", b"3", 0o666, 0, 0, 0, ""),
        (".wh.gone", b"0", 0o600, 0, 0, 0, ""),
        ("hidden", b"5", 0o711, 5, 6, 0, ""),
        ("hidden/.wh..wh..opq", b"0", 0o600, 0, 0, 0, ""),
        ("hidden/new", b"0", 0o644, 0, 0, 1, ""),
    ]
    assert [(m.devmajor, m.devminor) for m in members if m.isdev()] == [(8, 1), (0, 0), (1, 3)]
    assert {(m.mtime, m.uname, m.gname) for m in members} == {(0, "", "")}


def test_the_result_names_the_bytes() -> None:
    out = io.BytesIO()
    result = write_layer(FileSet.of([directory("a"), file("a/b", b"x")]), bytes_content({"a/b": b"x"}), out)
    data = out.getvalue()
    assert (result.diff_id, result.size, result.entries) == (
        f"sha256:{hashlib.sha256(data).hexdigest()}",
        len(data),
        2,
    )


def test_a_layer_without_entries_is_two_zero_blocks() -> None:
    out = io.BytesIO()
    assert write_layer(EMPTY_FILESET, bytes_content({}), out).size == 1024
    assert out.getvalue() == bytes(1024)


def test_the_bytes_of_a_layer_never_change() -> None:
    archive = layer_bytes([directory("a"), file("a/b", b"hello", 0o755), symlink("a/c", "b")], {"a/b": b"hello"})
    assert hashlib.sha256(archive).hexdigest() == "ff588ffeed92e6b2ff94f0e6d93144cbdb2e2d53029160a66bcd2629d8c7d008"


@pytest.mark.parametrize(
    "name",
    [
        "n" * 100,
        "/".join(["d" * 55, "e" * 99, "n" * 100]),
        "/".join(["d" * 50, "e" * 50, "f" * 99]),
    ],
)
def test_a_name_that_ustar_can_hold_gets_no_pax_header(name: str) -> None:
    entries = [directory(name[:at]) for at in range(len(name)) if name[at] == "/"]
    archive = layer_bytes([*entries, file(name)])
    assert PAX_FLAG not in flags(archive)
    assert stdlib_members(archive)[-1].name == name


@pytest.mark.parametrize(
    "entry",
    [
        file("n" * 101),
        file("ünïcode"),
        file(os.fsdecode(b"latin-\xe9")),
        directory("x" * 100),
        symlink("link", "t" * 101),
        symlink("link", "zïel"),
        file("big-owner", uid=8**7),
        file("big-group", gid=8**7),
        file("cap", security__capability="0100000200040000000000000000000000000000"),
    ],
    ids=lambda entry: entry.path[:20],
)
def test_what_ustar_cannot_hold_goes_into_a_pax_header(entry: Entry) -> None:
    archive = layer_bytes([entry])
    assert flags(archive)[0] == PAX_FLAG
    (member,) = stdlib_members(archive)
    assert (member.name, member.linkname, member.uid, member.gid) == (entry.path, entry.link, entry.uid, entry.gid)
    for name, value in entry.xattrs.items():
        raw = member.pax_headers[f"SCHILY.xattr.{name}"].encode("utf-8", "surrogateescape")
        assert raw == bytes.fromhex(value)


def test_a_pax_record_counts_its_own_length_over_a_power_of_ten() -> None:
    for length in range(80, 110):
        name = "ü" + "n" * length
        assert stdlib_members(layer_bytes([file(name)]))[0].name == name


def test_a_file_of_eight_gibibytes_says_its_size_in_a_pax_header() -> None:
    class Hole:
        """Takes headers, forgets bytes."""

        def __init__(self) -> None:
            self.first = b""

        def write(self, data: bytes, /) -> int:
            self.first = self.first or data[:1536]
            return len(data)

    size, sink = 8**11, Hole()
    entry = replace(file("huge"), size=size)
    with pytest.raises(IntegrityError):
        write_layer(FileSet.of([entry]), lambda _: iter((bytes(1 << 20),)), sink)
    assert b"19 size=8589934592\n"[3:] in sink.first
    assert sink.first[1024 + 124 : 1024 + 135] == b"0" * 11


@pytest.mark.parametrize("data", [b"shorter", b"other bytes here", b"much longer than it was before"])
def test_a_file_that_changed_since_it_was_hashed_is_an_integrity_error(tmp_path: Path, data: bytes) -> None:
    make_tree(tmp_path, {"sub/f": b"first bytes here"})
    found = scan_tree(tmp_path)
    (tmp_path / "sub/f").write_bytes(data)
    with directory_content(tmp_path) as content, pytest.raises(IntegrityError, match="sub/f"):
        write_layer(found, content, io.BytesIO())


def test_a_file_that_vanished_or_became_a_link_is_an_integrity_error(tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", {"f": b"x"})
    (tmp_path / "outside").write_bytes(b"x")
    found = scan_tree(tmp_path / "tree")
    (tmp_path / "tree/f").unlink()
    with directory_content(tmp_path / "tree") as content, pytest.raises(IntegrityError, match="cannot be read"):
        write_layer(found, content, io.BytesIO())
    (tmp_path / "tree/f").symlink_to(tmp_path / "outside")
    with directory_content(tmp_path / "tree") as content, pytest.raises(IntegrityError, match="cannot be read"):
        write_layer(found, content, io.BytesIO())


def test_an_entry_without_its_parent_directory_is_refused() -> None:
    """The missing-parents trap: an unpacker would make /tmp anew as 0755 root (MECHANICS G)."""
    with pytest.raises(InternalError, match="'tmp' above it"):
        layer_bytes([file("tmp/x")])
    assert stdlib_members(layer_bytes([directory("tmp", 0o1777), file("tmp/x")]))[0].mode == 0o1777


def test_a_file_in_place_of_a_parent_directory_is_refused() -> None:
    with pytest.raises(InternalError, match="no directory entry"):
        layer_bytes([file("a"), file("a/b")])


def test_a_file_named_like_a_whiteout_is_refused() -> None:
    with pytest.raises(HostileInputError, match="mean removal"):
        layer_bytes([file(".wh.thing")])


def test_hard_links_only_where_they_are_asked_for() -> None:
    entries = [file("a", b"same"), file("b", b"same")]
    data = {"a": b"same", "b": b"same"}
    assert [m.type for m in stdlib_members(layer_bytes(entries, data))] == [b"0", b"0"]
    linked = stdlib_members(layer_bytes(entries, data, links=[("b", "a")]))
    assert [(m.name, m.type, m.linkname, m.size) for m in linked] == [("a", b"0", "", 4), ("b", b"1", "a", 0)]


@pytest.mark.parametrize("group", [("a", "c"), ("a", "missing"), ("a", "d")])
def test_a_hard_link_between_different_files_is_refused(group: tuple[str, ...]) -> None:
    entries = [file("a", b"same"), file("c", b"same", 0o755), file("d", b"other")]
    with pytest.raises(InternalError, match="no hard links"):
        layer_bytes(entries, {"a": b"same", "c": b"same", "d": b"other"}, links=[group])


@pytest.mark.parametrize("mtime", [-1, 8**11])
def test_a_time_that_no_header_holds_is_a_configuration_error(mtime: int) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        layer_bytes([], mtime=mtime)


def test_the_given_time_is_every_members_time() -> None:
    archive = layer_bytes([directory("a"), file("a/b"), Entry("c", EntryType.WHITEOUT, 0)], mtime=1_700_000_000)
    assert {m.mtime for m in stdlib_members(archive)} == {1_700_000_000}


def test_moved_files_are_found_by_their_digest(tmp_path: Path) -> None:
    make_tree(tmp_path, {"bin/tool": b"program", "big": b"z" * 3_000_000})
    product = scan_tree(tmp_path)
    moved = FileSet.of(
        [directory("opt"), *(replace(e, path="opt/" + e.path.rpartition("/")[2]) for e in product if e.digest)]
    )
    out = io.BytesIO()
    with directory_content(tmp_path, product) as content:
        write_layer(moved, content, out)
    assert [(m.name, m.size) for m in stdlib_members(out.getvalue())] == [
        ("opt", 0),
        ("opt/big", 3_000_000),
        ("opt/tool", 7),
    ]


def test_files_from_an_opener_are_closed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    out = io.BytesIO()
    content = open_content(lambda path: (tmp_path / path).open("rb"))
    assert write_layer(FileSet.of([file("f", b"data")]), content, out).entries == 1


def test_what_was_hashed_before_its_last_change_is_hashed_again_and_nothing_else(tmp_path: Path) -> None:
    make_tree(tmp_path, {"large": b"y" * 2_000_000, "small": b"first"})
    found = scan_tree(tmp_path)
    (tmp_path / "small").write_bytes(b"other")
    changed = (tmp_path / "small").stat().st_ctime_ns
    with directory_content(tmp_path, hashed_at=changed) as content, pytest.raises(IntegrityError, match="small"):
        write_layer(found, content, io.BytesIO())
    with directory_content(tmp_path, hashed_at=changed + 1) as content:
        assert isinstance(content(found.entries[0]), KnownChunks)
        assert write_layer(found, content, io.BytesIO()).entries == 2


def test_the_size_of_a_file_that_was_hashed_before_is_looked_at(tmp_path: Path) -> None:
    make_tree(tmp_path, {"f": b"first"})
    found = scan_tree(tmp_path)
    (tmp_path / "f").write_bytes(b"longer than that")
    hashed_at = (tmp_path / "f").stat().st_ctime_ns + 1
    with directory_content(tmp_path, hashed_at=hashed_at) as content, pytest.raises(IntegrityError, match="changed"):
        write_layer(found, content, io.BytesIO())
