"""Unpacking: rows 27, 28 and 31, and that an honest layer becomes what it says."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from lamella.errors import HostileInputError, IntegrityError, ResourceError
from lamella.graph.fileset import EntryType
from lamella.host.rooted import Rooted
from lamella.layers.overlay import OverlayXattrs, is_opaque, is_whiteout
from lamella.layers.policy import Devices, UnpackMode, UnpackPolicy
from lamella.layers.unpack import Unpacked, unpack_layer
from tests.unit.layers.archives import Piece, tar_bytes, tar_device, tar_dir, tar_file, tar_link, tar_symlink
from tests.unit.layers.trees import make_tree

USER = UnpackPolicy(Devices.SKIP, owners=False, overlay=OverlayXattrs.USER)


def overlay(root: Path, pieces: list[Piece], policy: UnpackPolicy = USER) -> Unpacked:
    root.mkdir(exist_ok=True)
    return unpack_layer(io.BytesIO(tar_bytes(pieces)), root, mode=UnpackMode.OVERLAY, policy=policy)


def merge(root: Path, pieces: list[Piece], policy: UnpackPolicy = USER) -> Unpacked:
    root.mkdir(exist_ok=True)
    return unpack_layer(io.BytesIO(tar_bytes(pieces)), root, mode=UnpackMode.MERGED, policy=policy)


def test_an_honest_layer_becomes_files_and_a_file_set(tmp_path: Path) -> None:
    done = overlay(
        tmp_path / "r",
        [
            tar_dir("./", 0o755),
            tar_dir("d", 0o750, mtime=1_600_000_000),
            tar_file("d/f", b"data", 0o640),
            tar_symlink("f", "d/s"),
            tar_link("d/f", "d/h"),
        ],
    )
    root = tmp_path / "r"
    assert (root / "d/f").read_bytes() == b"data"
    assert (root / "d/h").samefile(root / "d/f")
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750
    assert (root / "d").stat().st_mtime == 1_600_000_000
    assert [(entry.path, entry.type, entry.size) for entry in done.fileset] == [
        ("d", EntryType.DIRECTORY, 0),
        ("d/f", EntryType.FILE, 4),
        ("d/h", EntryType.FILE, 4),
        ("d/s", EntryType.SYMLINK, 0),
    ]
    assert done.warnings == ()


def test_row31_a_wrong_diff_id_is_an_integrity_error(tmp_path: Path) -> None:
    archive = tar_bytes([tar_file("f", b"x")])
    right = unpack_layer(io.BytesIO(archive), tmp_path, mode=UnpackMode.OVERLAY, policy=USER).diff_id
    (tmp_path / "f").unlink()
    unpack_layer(io.BytesIO(archive), tmp_path, mode=UnpackMode.OVERLAY, policy=USER, diff_id=right)
    (tmp_path / "f").unlink()
    with pytest.raises(IntegrityError, match="promises sha256:0000"):
        unpack_layer(io.BytesIO(archive), tmp_path, mode=UnpackMode.OVERLAY, policy=USER, diff_id=f"sha256:{'0' * 64}")


def test_bytes_behind_the_end_marker_count_for_the_diff_id(tmp_path: Path) -> None:
    archive = tar_bytes([tar_file("f", b"x")])
    padded = archive + bytes(10240)
    results = {
        unpack_layer(io.BytesIO(data), make_tree(tmp_path / name, {}), mode=UnpackMode.OVERLAY, policy=USER).diff_id
        for name, data in (("a", archive), ("b", padded))
    }
    assert len(results) == 2


def test_parents_that_are_not_mentioned_are_0755(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        done = overlay(tmp_path / "r", [tar_file("a/b/c", b"x")])
    finally:
        os.umask(before)
    assert [(e.path, e.mode, e.uid, e.gid) for e in done.fileset][:2] == [("a", 0o755, 0, 0), ("a/b", 0o755, 0, 0)]
    assert stat.S_IMODE((tmp_path / "r/a/b").stat().st_mode) == 0o755


def test_a_directory_that_forbids_writing_is_filled_first(tmp_path: Path) -> None:
    overlay(tmp_path / "r", [tar_dir("d", 0o555), tar_file("d/f", b"x", 0o444)])
    assert (tmp_path / "r/d/f").read_bytes() == b"x"


def test_entries_below_a_link_land_where_it_leads(tmp_path: Path) -> None:
    done = overlay(tmp_path / "r", [tar_dir("usr/bin"), tar_symlink("usr/bin", "bin"), tar_file("bin/tool", b"t")])
    assert [entry.path for entry in done.fileset] == ["bin", "usr", "usr/bin", "usr/bin/tool"]


def test_the_last_of_two_equal_names_wins(tmp_path: Path) -> None:
    done = overlay(
        tmp_path / "r",
        [tar_file("f", b"1"), tar_file("f", b"22"), tar_dir("d"), tar_file("d/x", b"x"), tar_symlink("f", "d")],
    )
    assert [(entry.path, entry.size, entry.link) for entry in done.fileset] == [("d", 0, "f"), ("f", 2, "")]


def test_what_was_replaced_is_forgotten_whatever_was_below_it(tmp_path: Path) -> None:
    pieces = [
        tar_dir("d"),
        tar_file("d/sub/x", b"x"),
        tar_file("d", b"now a file"),
        tar_dir("d"),
        tar_file("d/y", b"y"),
    ]
    done = overlay(tmp_path / "r", [*pieces, tar_file("other", b"o")])
    assert [entry.path for entry in done.fileset] == ["d", "d/y", "other"]
    with pytest.raises(HostileInputError, match="no file of this layer"):
        overlay(tmp_path / "s", [*pieces, tar_link("d/sub/x", "h")])


def test_the_root_of_an_element_is_0755_unless_the_archive_says_otherwise(tmp_path: Path) -> None:
    for name, pieces, mode in (("a", [tar_file("f")], 0o755), ("b", [tar_dir("./", 0o700), tar_file("f")], 0o700)):
        (tmp_path / name).mkdir(mode=0o711)
        overlay(tmp_path / name, pieces)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    (tmp_path / "m").mkdir(mode=0o711)
    merge(tmp_path / "m", [tar_file("f")])
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o711


def test_a_hard_link_into_another_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostileInputError, match="no file of this layer"):
        overlay(tmp_path / "r", [tar_link("lower/file", "h")])


@pytest.mark.parametrize("target", ["d", "gone"])
def test_a_hard_link_to_a_directory_or_a_whiteout_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(HostileInputError, match="no file of this layer"):
        overlay(tmp_path / "r", [tar_dir("d"), tar_file(".wh.gone"), tar_link(target, "h")])


# -- row 27: whiteouts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        [tar_file(".wh.")],
        [tar_file(".wh..")],
        [tar_file(".wh...")],
        [tar_file("d/.wh.")],
        [tar_file("d/.wh..wh.x")],
        [tar_file(".wh..wh.plnk")],
        [tar_file(".wh..wh..opq")],
        [tar_dir(".wh.d")],
        [tar_file(".wh.f", b"not empty")],
        [tar_symlink("x", ".wh.f")],
        [tar_file("d/.wh.x/y")],
        [tar_file(".wh.a"), tar_file(".wh.a/b")],
    ],
    ids=lambda pieces: pieces[-1][0].name,
)
def test_row27_whiteouts_that_mean_nothing_are_refused(tmp_path: Path, pieces: list[Piece]) -> None:
    with pytest.raises(HostileInputError):
        overlay(tmp_path / "r", pieces)


def test_row27_a_whiteout_is_a_device_0_0(tmp_path: Path) -> None:
    done = overlay(tmp_path / "r", [tar_dir("d"), tar_file("d/.wh.x"), tar_file("d/.wh.x"), tar_file(".wh.y")])
    assert is_whiteout((tmp_path / "r/d/x").lstat())
    assert is_whiteout((tmp_path / "r/y").lstat())
    assert [(entry.path, entry.type.name) for entry in done.fileset] == [
        ("d", "DIRECTORY"),
        ("d/x", "WHITEOUT"),
        ("y", "WHITEOUT"),
    ]


@pytest.mark.parametrize("first", ["marker", "file"])
def test_row27_opaque_and_a_file_in_one_layer_in_both_orders(tmp_path: Path, first: str) -> None:
    pieces = [tar_file("d/.wh..wh..opq"), tar_file("d/f", b"new")]
    done = overlay(tmp_path / "o", [tar_dir("d", 0o711), *(pieces if first == "marker" else reversed(pieces))])
    assert [(e.path, e.type.name, e.mode) for e in done.fileset] == [("d", "OPAQUE", 0o711), ("d/f", "FILE", 0o644)]
    assert is_opaque(str(tmp_path / "o/d"))
    lower = make_tree(tmp_path / "m", {"d/old": b"old", "d/f": b"old", "d/sub/deep": b"old"})
    merge(lower, [tar_dir("d", 0o711), *(pieces if first == "marker" else reversed(pieces))])
    assert sorted(path.name for path in (lower / "d").iterdir()) == ["f"]
    assert (lower / "d/f").read_bytes() == b"new"


@pytest.mark.parametrize("first", ["marker", "file"])
def test_row27_a_whiteout_concerns_lower_layers_only_whatever_the_order(tmp_path: Path, first: str) -> None:
    marker, pieces = tar_file(".wh.x"), [tar_dir("x"), tar_file("x/new", b"n")]
    ordered = [marker, *pieces] if first == "marker" else [*pieces, marker]
    done = overlay(tmp_path / "o", ordered)
    assert [(e.path, e.type.name) for e in done.fileset] == [("x", "OPAQUE"), ("x/new", "FILE")]
    lower = make_tree(tmp_path / "m", {"x/old": b"old"})
    merge(lower, ordered)
    assert [path.name for path in (lower / "x").iterdir()] == ["new"]


@pytest.mark.parametrize("first", ["marker", "file"])
def test_row27_a_whiteout_and_a_file_of_one_name(tmp_path: Path, first: str) -> None:
    pieces = [tar_file(".wh.f"), tar_file("f", b"new")]
    ordered = pieces if first == "marker" else pieces[::-1]
    assert [(e.path, e.type.name) for e in overlay(tmp_path / "o", ordered).fileset] == [("f", "FILE")]
    lower = make_tree(tmp_path / "m", {"f/old": b"old"})
    merge(lower, ordered)
    assert (lower / "f").read_bytes() == b"new"


def test_row27_entries_below_a_name_that_was_removed_make_an_opaque_directory(tmp_path: Path) -> None:
    done = overlay(tmp_path / "o", [tar_file(".wh.x"), tar_file("x/new", b"n")])
    assert [(e.path, e.type.name) for e in done.fileset] == [("x", "OPAQUE"), ("x/new", "FILE")]


def test_row27_a_whiteout_of_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    merge(tmp_path / "m", [tar_file(".wh.absent"), tar_file("d/.wh.absent")])
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["d"]


def test_merging_hides_everything_below_the_root(tmp_path: Path) -> None:
    lower = make_tree(tmp_path / "m", {"a/b": b"x", "c": b"y"})
    merge(lower, [tar_file("new", b"n"), tar_file(".wh..wh..opq")])
    assert [path.name for path in lower.iterdir()] == ["new"]


def test_merging_removes_by_handle_and_keeps_what_this_layer_brought(tmp_path: Path) -> None:
    lower = make_tree(tmp_path / "m", {"d/keep/old": b"o", "d/drop/deep/x": b"o", "e": b"o"})
    merge(lower, [tar_file("d/keep/new", b"n"), tar_file(".wh.d"), tar_file(".wh.e")])
    assert sorted(str(path.relative_to(lower)) for path in lower.rglob("*")) == ["d", "d/keep", "d/keep/new"]


# -- row 28: devices, setuid, capabilities, attributes --------------------------------------------------------------

CAP_V2 = bytes.fromhex("0100000200040000000000000000000000000000")


def with_pax(key: str, value: bytes, name: str = "f") -> Piece:
    return tar_file(name, b"", 0o755, pax={f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape")})


def test_row28_devices_are_left_out_or_refused_by_policy(tmp_path: Path) -> None:
    pieces = [tar_device("dev/null", tarfile.CHRTYPE, (1, 3)), tar_device("dev/fifo", tarfile.FIFOTYPE, (0, 0))]
    done = overlay(tmp_path / "r", pieces)
    assert [entry.path for entry in done.fileset] == ["dev", "dev/fifo"]
    assert done.warnings == ("device node dev/null was left out",)
    with pytest.raises(HostileInputError, match="dev/null"):
        overlay(tmp_path / "s", pieces, UnpackPolicy(Devices.REFUSE, owners=False))


def test_row28_a_device_that_is_a_whiteout_in_disguise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostileInputError, match="0/0"):
        overlay(tmp_path / "r", [tar_device("etc/passwd", tarfile.CHRTYPE, (0, 0))])


@pytest.mark.parametrize("name", ["trusted.overlay.opaque", "user.overlay.redirect", "trusted.overlay.metacopy"])
def test_row28_overlay_attributes_are_dropped_with_a_warning(tmp_path: Path, name: str) -> None:
    done = overlay(tmp_path / "r", [with_pax(name, b"y")])
    assert done.warnings == (f"attribute {name} of f was dropped: it belongs to overlay mounts",)
    assert os.listxattr(tmp_path / "r/f") == []


def test_row28_capabilities_are_kept_only_when_allowed(tmp_path: Path) -> None:
    refusing = UnpackPolicy(Devices.SKIP, owners=False, capabilities=False)
    done = overlay(tmp_path / "r", [with_pax("security.capability", CAP_V2)], refusing)
    assert done.warnings == ("attribute security.capability of f was dropped",)
    assert not done.fileset.entries[0].xattrs
    with pytest.raises(HostileInputError, match="malformed"):
        overlay(tmp_path / "s", [with_pax("security.capability", b"\x01\x02")])


def test_row28_without_the_images_owners_setuid_is_not_kept_on_disk(tmp_path: Path) -> None:
    done = overlay(tmp_path / "r", [tar_file("su", b"", 0o4755)])
    assert done.fileset.entries[0].mode == 0o4755
    assert stat.S_IMODE((tmp_path / "r/su").stat().st_mode) == 0o755


def test_user_attributes_are_kept(tmp_path: Path) -> None:
    done = overlay(tmp_path / "r", [with_pax("user.note", b"kept")])
    assert dict(done.fileset.entries[0].xattrs) == {"user.note": b"kept".hex()}
    assert os.getxattr(tmp_path / "r/f", "user.note") == b"kept"


# -- when the system says no -----------------------------------------------------------------------------------------


def test_a_full_disk_is_a_resource_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lamella.layers.targets.os.write", full)
    with pytest.raises(ResourceError, match="No space left"):
        overlay(tmp_path / "r", [tar_file("f", b"x")])


def test_a_path_with_a_file_in_the_middle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostileInputError, match="no directory"):
        overlay(tmp_path / "r", [tar_file("a", b"x"), tar_file("a/b", b"y")])


def test_an_open_root_handle_is_enough(tmp_path: Path) -> None:
    with Rooted(tmp_path) as root:
        unpack_layer(io.BytesIO(tar_bytes([tar_file("f", b"x")])), root.fd, mode=UnpackMode.OVERLAY, policy=USER)
        os.fstat(root.fd)
    assert (tmp_path / "f").exists()
