"""Rows 24 to 26: archives that try to get out. Each is applied both ways and must stay inside or be refused.

The names of the first table are those of containerd's test of the same kind; the archives are rebuilt here.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lamella.errors import HostileInputError
from lamella.layers.policy import MERGED_POLICY, Devices, UnpackMode, UnpackPolicy
from lamella.layers.unpack import unpack_layer
from tests.unit.layers.archives import (
    END,
    Piece,
    extension,
    pax_record,
    raw_header,
    tar_bytes,
    tar_dir,
    tar_file,
    tar_link,
    tar_symlink,
)
from tests.unit.layers.trees import make_tree

POLICY = UnpackPolicy(Devices.SKIP, owners=False, overlay=MERGED_POLICY.overlay)
ETC = [tar_dir("etc", 0o770), tar_file("/etc/passwd", b"inside")]

Check = Callable[[Path], bool]


def content(path: str, data: bytes) -> Check:
    return lambda root: (root / path).read_bytes() == data


def gone(path: str) -> Check:
    return lambda root: not os.path.lexists(root / path)


def same(first: str, second: str) -> Check:
    return lambda root: (root / first).samefile(root / second)


def link_to(path: str, target: str) -> Check:
    return lambda root: (root / path).is_symlink() and str((root / path).readlink()) == target


@dataclass(frozen=True)
class Case:
    """``pieces`` onto ``before``; ``checks`` of the merged result, or none when it must be refused."""

    pieces: list[Piece]
    before: dict[str, bytes | str | None] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)


UNBROKEN = [content("etc/unbroken", b"unbroken")]
PASSWD: dict[str, bytes | str | None] = {"etc/passwd": b"all users"}

CASES = {
    "SymlinkAbsolute": Case(
        [tar_dir("etc"), tar_symlink("/etc", "localetc"), tar_file("/localetc/unbroken", b"unbroken")], checks=UNBROKEN
    ),
    "SymlinkUpAndOut": Case(
        [
            tar_dir("etc"),
            tar_dir("dummy"),
            tar_symlink("/dummy/../etc", "localetc"),
            tar_file("/localetc/unbroken", b"unbroken"),
        ],
        checks=UNBROKEN,
    ),
    "SymlinkMultipleAbsolute": Case(
        [
            tar_dir("etc"),
            tar_dir("dummy"),
            tar_symlink("/etc", "/dummy/etc"),
            tar_symlink("/dummy/etc", "localetc"),
            tar_file("/dummy/etc/unbroken", b"unbroken"),
        ],
        checks=UNBROKEN,
    ),
    "SymlinkMultipleRelative": Case(
        [
            tar_dir("etc"),
            tar_dir("dummy"),
            tar_symlink("/etc", "/dummy/etc"),
            tar_symlink("./dummy/etc", "localetc"),
            tar_file("/localetc/unbroken", b"unbroken"),
        ],
        checks=UNBROKEN,
    ),
    "SymlinkEmptyFile": Case(
        [
            tar_dir("etc"),
            tar_file("etc/emptied", b"notempty"),
            tar_symlink("/etc", "localetc"),
            tar_file("/localetc/emptied"),
        ],
        checks=[content("etc/emptied", b"")],
    ),
    "HardlinkRelative": Case(
        [
            *ETC,
            tar_dir("breakouts"),
            tar_symlink("../../etc", "breakouts/d1"),
            tar_link("/breakouts/d1/passwd", "breakouts/mypasswd"),
        ],
        checks=[same("breakouts/mypasswd", "etc/passwd")],
    ),
    "HardlinkDownAndOut": Case(
        [
            *ETC,
            tar_dir("breakouts"),
            tar_dir("downandout"),
            tar_symlink("../downandout/../../etc", "breakouts/d1"),
            tar_link("/breakouts/d1/passwd", "breakouts/mypasswd"),
        ],
        checks=[same("breakouts/mypasswd", "etc/passwd")],
    ),
    "HardlinkAbsolute": Case(
        [*ETC, tar_symlink("/etc", "localetc"), tar_link("/localetc/passwd", "localpasswd")],
        checks=[same("localpasswd", "etc/passwd")],
    ),
    "HardlinkRelativeLong": Case(
        [*ETC, tar_symlink("../../../../../../../etc", "localetc"), tar_link("/localetc/passwd", "localpasswd")],
        checks=[same("localpasswd", "etc/passwd")],
    ),
    "HardlinkRelativeUpAndOut": Case(
        [
            *ETC,
            tar_dir("upandout"),
            tar_symlink("upandout/../../../etc", "localetc"),
            tar_link("/localetc/passwd", "lp"),
        ],
        checks=[same("lp", "etc/passwd")],
    ),
    "HardlinkDirectRelative": Case([*ETC, tar_link("../../../../../etc/passwd", "localpasswd")]),
    "HardlinkDirectAbsolute": Case(
        [*ETC, tar_link("/etc/passwd", "localpasswd")], checks=[same("localpasswd", "etc/passwd")]
    ),
    "HardlinkSymlinkBeforeCreateTarget": Case(
        [
            tar_dir("etc", 0o770),
            tar_symlink("/etc/passwd", "localpasswd"),
            tar_link("localpasswd", "localpasswd-dup"),
            tar_file("/etc/passwd", b"after"),
        ],
        checks=[link_to("localpasswd-dup", "/etc/passwd"), content("etc/passwd", b"after")],
    ),
    "HardlinkSymlinkRelative": Case(
        [*ETC, tar_symlink("../../../../../etc/passwd", "passwdlink"), tar_link("/passwdlink", "localpasswd")],
        checks=[link_to("localpasswd", "../../../../../etc/passwd")],
    ),
    "HardlinkSymlinkAbsolute": Case(
        [*ETC, tar_symlink("/etc/passwd", "passwdlink"), tar_link("/passwdlink", "localpasswd")],
        checks=[link_to("localpasswd", "/etc/passwd")],
    ),
    "SymlinkParentDirectory": Case([*ETC, tar_symlink("/etc/", ".."), tar_link("/etc/passwd", "localpasswd")]),
    "SymlinkEmptyFilename": Case([*ETC, tar_symlink("/etc/", ""), tar_link("/etc/passwd", "localpasswd")]),
    "SymlinkParentRelative": Case([*ETC, tar_symlink("/etc/", "localetc/sub/.."), tar_link("/etc/passwd", "lp")]),
    "SymlinkSlashEnded": Case(
        [*ETC, tar_dir("localetc/", 0o770), tar_link("/etc/passwd", "/localetc/localpasswd")],
        checks=[same("localetc/localpasswd", "etc/passwd")],
    ),
    "SymlinkOverrideDirectory": Case(
        [tar_symlink("/etc", "localetc"), tar_file("/localetc/unbroken", b"unbroken")],
        {**PASSWD, "localetc": None},
        UNBROKEN,
    ),
    "SymlinkOverrideDirectoryRelative": Case(
        [tar_symlink("../../etc", "localetc"), tar_file("/localetc/unbroken", b"unbroken")],
        {**PASSWD, "localetc": None},
        UNBROKEN,
    ),
    "DirectoryOverrideSymlink": Case(
        [tar_dir("/localetc/"), tar_file("/localetc/new", b"n")],
        {**PASSWD, "localetc": "/etc"},
        [gone("etc/new"), content("localetc/new", b"n")],
    ),
    "DirectoryOverrideRelativeSymlink": Case(
        [tar_dir("/localetc/"), tar_file("/localetc/new", b"n")],
        {**PASSWD, "localetc": "etc"},
        [gone("etc/new"), content("localetc/new", b"n")],
    ),
    "DirectoryOverrideSymlinkAndHardlink": Case(
        [tar_dir("/localetc/"), tar_file("/localetc/passwd", b"different")],
        {**PASSWD, "localetc": "etc"},
        [content("etc/passwd", b"all users"), content("localetc/passwd", b"different")],
    ),
    "WhiteoutRootParent": Case([tar_file(".wh...")], PASSWD),
    "WhiteoutParent": Case([tar_file("etc/.wh...")], PASSWD),
    "WhiteoutRoot": Case([tar_file(".wh..")], PASSWD),
    "WhiteoutCurrentDirectory": Case([tar_file("etc/.wh..")], PASSWD),
    "WhiteoutSymlink": Case(
        [tar_file(".wh.localetc")],
        {**PASSWD, "localetc": "/etc"},
        [gone("localetc"), content("etc/passwd", b"all users")],
    ),
    "WhiteoutSymlinkPath": Case(
        [tar_file("localetc/.wh.whitedout")],
        {**PASSWD, "etc/whitedout": b"x", "localetc": "/etc"},
        [gone("etc/whitedout"), content("etc/passwd", b"all users")],
    ),
    "WhiteoutDirectoryName": Case([tar_file(".wh.etc/somefile", b"non-empty")], PASSWD),
    "WhiteoutDeadSymlinkParent": Case([tar_file("localetc/.wh.etc")], {**PASSWD, "localetc": "/absent"}),
    "WhiteoutRelativePath": Case([tar_file("absent/../.wh.etc")], PASSWD),
    "HardlinkSymlinkChmod": Case(
        [tar_symlink("/canary-of-the-host", "outside"), tar_link("outside", "sketchylink", 0o777)],
        checks=[link_to("sketchylink", "/canary-of-the-host")],
    ),
}


def apply(pieces: list[Piece] | bytes, root: Path, mode: UnpackMode = UnpackMode.MERGED) -> None:
    archive = pieces if isinstance(pieces, bytes) else tar_bytes(pieces)
    unpack_layer(io.BytesIO(archive), root, mode=mode, policy=POLICY)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Everything below a folder with modes and contents, links not followed."""
    out: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        body = str(path.readlink()) if path.is_symlink() else path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        out[str(path.relative_to(folder))] = (status.st_mode, body)
    return out


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A folder beside the root that must never change."""
    return make_tree(tmp_path / "canary", {"etc/passwd": b"host users", "file": b"host file", "dir/sub/x": b"x"})


def test_the_table_has_all_34_cases() -> None:
    assert len(CASES) == 34


@pytest.mark.parametrize("name", CASES)
def test_row24_breakouts_stay_inside_or_are_refused(name: str, tmp_path: Path, canary: Path) -> None:
    case, before = CASES[name], snapshot(canary)
    root = make_tree(tmp_path / "root", case.before)
    try:
        apply(case.pieces, root)
    except HostileInputError:
        assert not case.checks, "this archive has a meaning inside the root"
    else:
        assert case.checks, "this archive has to be refused"
        assert all(check(root) for check in case.checks)
    assert snapshot(canary) == before


@pytest.mark.parametrize("name", CASES)
def test_row24_breakouts_into_an_overlay_element_touch_nothing_else(name: str, tmp_path: Path, canary: Path) -> None:
    before = snapshot(canary)
    root = make_tree(tmp_path / "root", {})
    with contextlib.suppress(HostileInputError):
        apply(CASES[name].pieces, root, UnpackMode.OVERLAY)
    assert snapshot(canary) == before
    assert {path.name for path in tmp_path.iterdir()} == {"root", "canary"}


def hostile(canary: Path) -> dict[str, list[Piece] | bytes]:
    """Rows 24 to 26 beyond the table: archives made against a canary that is really there."""
    outside = str(canary)
    up = "../" * 20 + outside.lstrip("/")
    return {
        "row24 entry . as symlink (CVE-2021-29136)": [tar_symlink(outside, "."), tar_file("file", b"owned")],
        "row24 entry ./ as symlink": [tar_symlink(outside, "./"), tar_file("file", b"owned")],
        "row24 empty name as symlink": raw_header(b"", flag=b"2", link=outside.encode()[:100]) + END,
        "row24 entry / as a file": [tar_file("/", b"")],
        "row24 absolute name": [tar_file(f"{outside}/file", b"owned")],
        "row24 name that climbs": [tar_file(f"{up}/file", b"owned")],
        "row24 name that climbs inside": [tar_file(f"a/b/../../{up}/file", b"owned")],
        "row24 NUL in the name": raw_header(b"a\0/../../canary/file") + END,
        "row24 name of 5,000 characters": extension(b"x", pax_record(b"path", b"n/" * 2500)) + raw_header() + END,
        "row24 part of 300 characters": [tar_file("n" * 300, b"x")],
        "row25 file through a symlink": [tar_symlink(outside, "d"), tar_file("d/file", b"owned")],
        "row25 file through a relative symlink": [tar_symlink(up, "d"), tar_file("d/file", b"owned")],
        "row25 file over a symlink": [tar_symlink(f"{outside}/file", "f"), tar_file("f", b"owned")],
        "row25 directory through a symlink": [tar_symlink(outside, "d"), tar_dir("d/dir", 0o777)],
        "row25 directory over a symlink": [tar_symlink(f"{outside}/dir", "d"), tar_dir("d", 0o777)],
        "row25 whiteout through a symlink": [tar_symlink(outside, "d"), tar_file("d/.wh.file")],
        "row25 opaque through a symlink": [tar_symlink(outside, "d"), tar_file("d/.wh..wh..opq")],
        "row25 hard link through a symlink": [tar_symlink(outside, "d"), tar_link("d/file", "h")],
        "row25 hard link to a symlink, then written": [
            tar_symlink(f"{outside}/file", "s"),
            tar_link("s", "h"),
            tar_file("h", b"owned"),
        ],
        "row26 hard link to a symlink and chmod": [tar_symlink(f"{outside}/file", "s"), tar_link("s", "h", 0o777)],
        "row26 long chain of links (class of CVE-2025-4517)": _long_chain(outside),
        "row26 links in a loop": [tar_symlink("b", "a"), tar_symlink("a", "b"), tar_file("a/x", b"owned")],
    }


def _long_chain(outside: str) -> list[Piece]:
    """Links whose resolved path grows past PATH_MAX, where a resolver that gives up follows the rest unresolved."""
    pieces: list[Piece] = []
    step = "d" * 247
    path = ""
    for letter in "abcdefghijklmnop":
        pieces += [tar_dir(f"{path}{step}"), tar_symlink(step, f"{path}{letter}")]
        path += f"{letter}/"
    up = "../" * 16
    pieces += [tar_symlink(up, f"{path}{'l' * 254}"), tar_symlink(f"{path}{'l' * 254}/{up}{outside}", "escape")]
    return [*pieces, tar_link("escape/file", "flaglink"), tar_file("escape/file", b"owned")]


HOSTILE_NAMES = tuple(hostile(Path("/nowhere")))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("mode", UnpackMode)
def test_rows_24_to_26_leave_the_canary_alone(name: str, mode: UnpackMode, tmp_path: Path, canary: Path) -> None:
    before = snapshot(canary)
    root = make_tree(tmp_path / "root", {})
    with contextlib.suppress(HostileInputError):
        apply(hostile(canary)[name], root, mode)
    assert snapshot(canary) == before


@pytest.mark.parametrize(
    "second",
    [
        [tar_file("d/file", b"owned")],
        [tar_file("d/.wh.file")],
        [tar_file("d/.wh..wh..opq")],
        [tar_link("d/file", "h")],
        [tar_dir("d/dir", 0o777), tar_file("d/dir/new", b"owned")],
        [tar_file("f", b"owned")],
        [tar_dir("d", 0o777)],
        [tar_file(".wh.d")],
    ],
    ids=["write", "whiteout", "opaque", "hard-link", "directory", "over-link", "replace", "remove-link"],
)
def test_row25_a_link_in_layer_1_does_not_lead_layer_2_out(second: list[Piece], tmp_path: Path, canary: Path) -> None:
    before = snapshot(canary)
    root = make_tree(tmp_path / "root", {})
    apply([tar_symlink(str(canary), "d"), tar_symlink(f"{canary}/file", "f")], root)
    with contextlib.suppress(HostileInputError):
        apply(second, root)
    assert snapshot(canary) == before
